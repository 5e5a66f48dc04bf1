package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/terminal"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference/generate"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/report"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// outputKind is a kind of file that a flag names to write.
type outputKind struct{ name, extension string }

var (
	outputPage    = outputKind{"a page of griffin", "html"}
	outputCard    = outputKind{"a verification card", "json"}
	outputState   = outputKind{"a state of griffin generate", "safetensors"}
	outputFixture = outputKind{recordedBy(golden.Griffin), "safetensors"}
	outputArray   = outputKind{"a .npy file", "npy"}
)

// takes reports whether an extension, such as .html, is one of this kind of file.
func (k outputKind) takes(extension string) bool {
	return strings.EqualFold(extension, "."+k.extension) || k == outputPage && strings.EqualFold(extension, ".htm")
}

// foreignExtensions are extensions that name a format. A file to write may have one only if that format is written; any other extension, such as
// .tmp or .1, names no format and is accepted.
var foreignExtensions = []string{".html", ".htm", ".json", ".safetensors", ".npy", ".npz", ".pdf", ".md", ".txt", ".csv", ".png", ".svg", ".pt", ".pth", ".bin"}

// outputKinds has what each of outputFiles writes, by the flag or by the command and the flag. An existing file of another kind is not replaced.
var outputKinds = map[string]outputKind{
	"report": outputPage, "card": outputCard, "state-out": outputState, "golden out": outputFixture, "inspect out": outputArray,
}

// kindOfOutput returns what a flag of a command writes.
func kindOfOutput(command, flag string) outputKind {
	if kind, ok := outputKinds[command+" "+flag]; ok {
		return kind
	}
	return outputKinds[flag]
}

// checkOutputFile refuses to write to a file that is read, to a name that programs would take for a file of the checkpoint, to an existing file
// that is neither empty nor of that kind, and to a name with the extension of another format.
func checkOutputFile(out string, kind outputKind, reads ...string) error {
	if err := publish.CheckOutput(out, reads...); err != nil {
		return err
	}
	existing, err := os.Stat(out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && !publish.Replaces(out, existing) {
		return nil // a device, a FIFO or an open file, which is written to
	}
	replaced := publish.Target(out)
	found := ""
	if existing != nil && existing.Size() > 0 {
		found = kindOfFile(out)
	}
	for _, path := range reads {
		if path == "" {
			continue
		}
		below, ok := within(replaced, path)
		switch {
		case !ok:
		case below == "." && isModelFile(filepath.Base(replaced)):
			return usagef("%s has the name of a file of the checkpoint %s", out, path).advise("choose another name or another directory")
		case existing != nil && found != kind.name:
			return usagef("%s is a file of the checkpoint %s and would be replaced", out, path).advise("write to another file")
		}
	}
	if found != "" && found != kind.name {
		return usagef("%s exists, and is %s: only an empty file or %s is replaced", out, found, kind.name).advise("give another name, or remove the file if it is not needed")
	}
	if extension := filepath.Ext(out); slices.Contains(foreignExtensions, strings.ToLower(extension)) && !kind.takes(extension) {
		return usagef("%s has the extension of another format: .%s is written", out, kind.extension).advise("name it %s.%s", strings.TrimSuffix(out, extension), kind.extension)
	}
	return nil
}

// checkOutputFlag refuses a flag that names a file that cannot be written, or that the command reads, before anything is read.
func checkOutputFlag(c *cli.Context, flag string) error {
	if !c.IsSet(flag) {
		return nil
	}
	path, kind := c.String(flag), kindOfOutput(c.Command.Name, flag)
	switch path {
	case "-":
		return usagef("--%s writes a file, and not to standard output, where the result is printed", flag).
			advise("name a file, such as %s.%s; ./- is a file of that name", flag, kind.extension)
	}
	if _, isAddress := storage.Scheme(path); isAddress {
		return usagef("--%s: %s is an address, and a file of this machine is written", flag, text.Printable(storage.WithoutQuery(path))).
			advise("name a file, such as %s.%s", flag, kind.extension)
	}
	dir := filepath.Dir(publish.Target(path))
	if _, err := os.Stat(dir); err != nil {
		return &inputError{flag: flag, path: dir, err: err, writes: true}
	}
	if err := checkOutputFile(path, kind, inputPaths(c)...); err != nil {
		return &inputError{flag: flag, path: path, err: err, writes: true}
	}
	return nil
}

// inputPaths returns the paths that a command which writes only to files of flags reads: its arguments and those of its flags.
func inputPaths(c *cli.Context) []string {
	var all []string
	for _, path := range c.Args().Slice() {
		all = append(all, localPath(path))
	}
	for _, flag := range append(inputFiles, "adapter") {
		if path := c.String(flag); path != "" {
			all = append(all, localPath(path))
		}
	}
	return all
}

// commandLine returns the command line, for pages and cards: without the queries of addresses, which may hold credentials.
func commandLine() []string {
	line := []string{"griffin"}
	for _, arg := range os.Args[1:] {
		if flag, value, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(flag, "-") {
			line = append(line, flag+"="+storage.WithoutQuery(value))
		} else {
			line = append(line, storage.WithoutQuery(arg))
		}
	}
	return line
}

// weightsDigest returns the digest of the weights of a checkpoint, for a page. known has digests of its tensors, or is nil.
func weightsDigest(c *cli.Context, of *tensor.Checkpoint, model string, known map[string]digest.Sum) (string, error) {
	total := int64(0)
	for _, t := range of.Tensors() {
		total += t.Bytes()
	}
	bar := terminal.NewProgress(c.App.ErrWriter, "digests", total)
	defer bar.Done()
	return runtime.DigestOf(c.Context, of, model, digest.Default, known, bar.Add)
}

// configDigest returns the digest of the config.json beside a checkpoint, for a page; "" if there is none.
func configDigest(of *tensor.Checkpoint) string {
	config, err := storage.ReadFile(of.Source, of.Beside(hfconfig.Name), hfconfig.MaxSize)
	if err != nil {
		return ""
	}
	return digest.Of(digest.Default, config).Named()
}

// origin returns what pages say about how they were made. The environment variable SOURCE_DATE_EPOCH sets their time, so that
// they can be made again.
func origin() report.Origin {
	o := report.Origin{Command: commandLine(), Time: time.Now()}
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		o.Time = time.Unix(seconds, 0)
	}
	return o
}

// within reports whether a file is, or would be, inside a directory, and in which folder of it.
func within(file, dir string) (folder string, ok bool) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", false
	}
	root, err := realPath(dir)
	if err != nil {
		return "", false
	}
	parent, err := realPath(filepath.Dir(file))
	if err != nil {
		return "", false
	}
	folder, err = filepath.Rel(root, parent)
	return folder, err == nil && folder != ".." && !strings.HasPrefix(folder, ".."+string(filepath.Separator))
}

func realPath(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(absolute)
}

// modelFiles are names of files in which programs expect a part of a checkpoint.
var modelFiles = []string{
	"config.json", "generation_config.json", "conversion.json", "model.safetensors.index.json", "pytorch_model.bin.index.json",
	"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json", "adapter_config.json",
	"preprocessor_config.json", "checkpoint", "_METADATA", "_CHECKPOINT_METADATA", "_sharding", "manifest.ocdbt", "commit_success.txt",
}

// isModelFile reports whether programs would take a file of that name for a part of a checkpoint.
func isModelFile(name string) bool {
	return slices.Contains(modelFiles, name) || slices.Contains([]string{".safetensors", ".bin", ".pt", ".pth", ".model"}, filepath.Ext(name))
}

func recordedBy(by golden.Implementation) string { return "a fixture recorded by " + string(by) }

// kindOfFile says what a file is: the name of an outputKind if griffin wrote it, or else as much as is known.
func kindOfFile(path string) string {
	if fixture, err := golden.Open(path); err == nil {
		defer fixture.Close()
		return recordedBy(fixture.Meta.Implementation)
	}
	if c, err := formats.Open(path, formats.Options{}); err == nil {
		defer c.Close()
		if generate.IsState(c.Metadata) {
			return outputState.name
		}
		return fmt.Sprintf("a checkpoint (%s, %s)", c.Format, text.Count(int64(len(c.Tensors())), "tensor"))
	}
	f, err := os.Open(path)
	if err != nil {
		return "a file that cannot be read"
	}
	defer f.Close()
	start, err := io.ReadAll(io.LimitReader(f, 4096))
	switch {
	case err != nil:
		return "a file that cannot be read"
	case report.IsPage(start):
		return outputPage.name
	case report.IsCard(start):
		return outputCard.name
	case bytes.HasPrefix(start, []byte("\x93NUMPY")):
		return outputArray.name
	}
	return "a file of another kind"
}
