package main

import (
	"errors"
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
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/report"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// checkOutputFile refuses to write to a file that is read, to a file of a checkpoint, and to a name
// that programs would take for a file of the checkpoint. Cards, reports and fixtures that griffin wrote
// may be replaced.
func checkOutputFile(out string, reads ...string) error {
	if err := publish.CheckOutput(out, reads...); err != nil {
		return err
	}
	existing, err := os.Stat(out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && !existing.Mode().IsRegular() {
		return nil // a device or FIFO, which is written to
	}
	replaced := publish.Target(out)
	for _, path := range reads {
		if path == "" {
			continue
		}
		below, ok := within(replaced, path)
		switch {
		case !ok:
		case below == "." && isModelFile(filepath.Base(replaced)):
			return usagef("%s has the name of a file of the checkpoint %s", out, path).advise("choose another name or another directory")
		case existing != nil && !isOwnFile(out):
			return usagef("%s is a file of the checkpoint %s and would be replaced", out, path).advise("write to another file")
		}
	}
	return nil
}

// checkOutputFlag refuses a flag that names a file that cannot be written, or that the command reads, before anything is read.
func checkOutputFlag(c *cli.Context, flag string) error {
	if !c.IsSet(flag) {
		return nil
	}
	path := c.String(flag)
	switch path {
	case "":
		return usagef("--%s needs the name of a file", flag)
	case "-":
		return usagef("--%s writes a file, and not to standard output, where the result is printed", flag).
			advise("name a file, such as %s.%s; ./- is a file of that name", flag, extensionOf(flag))
	}
	dir := filepath.Dir(publish.Target(path))
	if _, err := os.Stat(dir); err != nil {
		return &inputError{"--" + flag + ": ", dir, err, nil}
	}
	if err := checkOutputFile(path, inputPaths(c)...); err != nil {
		return &inputError{"--" + flag + ": ", path, err, nil}
	}
	return nil
}

// inputPaths returns the paths that a command which writes only to files of flags reads: its arguments and those of its flags.
func inputPaths(c *cli.Context) []string {
	all := c.Args().Slice()
	for _, flag := range append(inputFiles, "adapter") {
		if path := c.String(flag); path != "" {
			all = append(all, path)
		}
	}
	return all
}

// extensionOf returns that of the file that a flag names.
func extensionOf(flag string) string {
	switch flag {
	case "report":
		return "html"
	case "card":
		return "json"
	}
	return "safetensors"
}

// commandLine returns the command line, for reports.
func commandLine() []string { return append([]string{"griffin"}, os.Args[1:]...) }

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

// isOwnFile reports whether a file is a card, a report or a fixture that griffin wrote.
func isOwnFile(path string) bool {
	if fixture, err := golden.Open(path); err == nil {
		defer fixture.Close()
		return fixture.Meta.Implementation == golden.Griffin
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	start, err := io.ReadAll(io.LimitReader(f, 4096))
	return err == nil && report.IsReport(start)
}
