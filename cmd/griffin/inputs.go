package main

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/nearest"
	"github.com/griffin-ckpt/griffin/convert/names"
	"github.com/griffin-ckpt/griffin/convert/run"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// inputFiles are the flags that name a file to read.
var inputFiles = []string{"golden", "text", "prompt-file", "state-in", "tokens", "tokenizer", "rename", "map"}

// checkInputs returns an error for the first path of a command line that is to be read and is not there, or is a directory where a file is
// meant. Commands call it before they read anything, so that what is missing comes before what is wrong in another. Addresses but those of
// local files are not looked at.
func checkInputs(c *cli.Context) error {
	for _, path := range readPaths(c) {
		path = localPath(path)
		if _, isAddress := storage.Scheme(path); !isAddress {
			if _, err := os.Stat(path); err != nil {
				return &inputError{path: path, err: err, args: c.Args().Slice(), swapped: c.Command.Name == "convert" && c.NArg() == 2 && isCheckpoint(c.Args().Get(1))}
			}
		}
	}
	for _, flag := range append(inputFiles, "adapter") {
		path := localPath(c.String(flag))
		_, isAddress := storage.Scheme(path)
		switch {
		case path == "", isAddress, path == "-" && (flag == "text" || flag == "prompt-file"):
			continue
		}
		if _, isList, err := tokenList(path); flag == "tokens" && (isList || err != nil) {
			continue
		}
		info, err := os.Stat(path)
		switch {
		case flag == "tokens" && err != nil && strings.Contains(path, ","):
			continue // neither
		case err != nil:
			return &inputError{flag: flag, path: path, err: err}
		case flag == "adapter" && !info.IsDir():
			return usagef("--adapter: %s is a file", path).advise("give the directory of the adapter, which has its %s", peft.ConfigName)
		case flag == "adapter" && !peft.Detect(storage.Local(path), "."):
			return usagef("--adapter: %s holds no %s", path, peft.ConfigName).advise("give the directory of an adapter of the PEFT library")
		case flag != "adapter" && info.IsDir():
			return usagef("--%s: %s is a directory", flag, path).advise("%s", filesFor(flag, path))
		case tensorFiles[flag] != "" && info.Mode().IsRegular():
			if err := checkTensorFile(path, info.Size()); err != nil {
				return &inputError{flag: flag, path: path, err: err}
			}
		}
	}
	return nil
}

// localPath returns the path that an address of a local file stands for, and any other path or address as it is.
func localPath(path string) string {
	if local, err := storage.LocalDestination(path); err == nil {
		return local
	}
	return path
}

// openText opens a file of any kind, such as a FIFO, or the file at an address. It returns what errors call the file, and its size in
// bytes, -1 if that is not known.
func openText(path string) (f fs.File, name string, size int64, err error) {
	path = localPath(path)
	if _, isAddress := storage.Scheme(path); isAddress {
		source, within, err := storage.Locate(path)
		if err != nil {
			return nil, "", 0, err
		}
		f, size, err := storage.Open(source, within)
		return f, storage.WithoutQuery(path), size, err
	}
	if f, err = os.Open(path); err != nil {
		return nil, "", 0, err
	}
	size = -1
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, path, size, nil
}

// located names the only checkpoint of a command line in an error that names no file, and the flag that gave the file of an error.
func located(c *cli.Context, err error) error {
	if c.NArg() == 1 {
		err = tensor.Annotate(err, tensor.Location{File: c.Args().First()})
	}
	return ofPathFlag(c, err)
}

// flagError is an error about the path that a flag gives.
type flagError struct {
	flag string
	err  error
}

func (e *flagError) Error() string { return "--" + e.flag + ": " + e.err.Error() }

func (e *flagError) Unwrap() error { return e.err }

// outputFiles are the flags that name a file to write.
var outputFiles = []string{"report", "card", "out", "state-out"}

// ofPathFlag makes an error about a path that a flag gives, or that lies in the directory that one gives, one of that flag. Errors that name
// their flag, or a path that is an argument, stay as they are.
func ofPathFlag(c *cli.Context, err error) error {
	if is[*inputError](err) || is[*flagError](err) || is[*run.Error](err) {
		return err
	}
	for _, path := range pathsOf(err) {
		flag, nearest := "", 0
		for _, name := range slices.Concat(inputFiles, outputFiles, []string{"adapter"}) {
			if n := leadsTo(c.String(name), path); c.IsSet(name) && n > nearest {
				flag, nearest = name, n
			}
		}
		if flag != "" && !slices.ContainsFunc(c.Args().Slice(), func(given string) bool { return leadsTo(given, path) > nearest }) {
			return &flagError{flag, err}
		}
	}
	return err
}

// pathsOf returns the paths that an error is about.
func pathsOf(err error) (paths []string) {
	visit(err, func(err error) {
		switch e := err.(type) {
		case *tensor.FormatError:
			paths = append(paths, e.File)
		case *names.Error:
			paths = append(paths, e.File)
		case *fs.PathError:
			paths = append(paths, e.Path)
		case *os.LinkError:
			paths = append(paths, e.New)
		case *publish.OutputError:
			paths = append(paths, e.Path)
		case *publish.SpaceError:
			paths = append(paths, e.Dir)
		case *remote.Error:
			paths = append(paths, e.Address)
		}
	})
	return paths
}

// leadsTo returns the length of a path that was given if it is another path or a directory above it, as an absolute path, and else 0.
func leadsTo(given, path string) int {
	if given == "" || path == "" {
		return 0
	}
	given, path = localPath(given), publish.Destination(path)
	if _, isAddress := storage.Scheme(given); isAddress {
		given, path = storage.WithoutQuery(given), storage.WithoutQuery(path)
	} else {
		var errs [2]error
		given, errs[0] = filepath.Abs(given)
		path, errs[1] = filepath.Abs(path)
		if errors.Join(errs[:]...) != nil {
			return 0
		}
	}
	rest, ok := strings.CutPrefix(path, strings.TrimRight(given, "/"))
	if !ok || rest != "" && rest[0] != '/' && !os.IsPathSeparator(rest[0]) {
		return 0
	}
	return len(given)
}

// inputError reports a path of the command line that cannot be read, or written.
type inputError struct {
	flag   string // "" for an argument
	path   string
	err    error
	writes bool     // path is a file to write, or the directory for it
	args   []string // of the command line; none of them is what path could be meant for

	swapped bool // path is to be converted, to where a checkpoint is
}

// isCheckpoint reports whether there is a local checkpoint.
func isCheckpoint(path string) bool {
	if _, isAddress := storage.Scheme(path); isAddress {
		return false
	}
	checkpoint, err := formats.Open(path, formats.Options{})
	if err == nil {
		checkpoint.Close()
	}
	return err == nil
}

func (e *inputError) Error() string {
	if e.flag == "" {
		return e.err.Error()
	}
	return "--" + e.flag + ": " + e.err.Error()
}

func (e *inputError) Unwrap() error { return e.err }

// oneSlash is an address that lacks a slash.
var oneSlash = regexp.MustCompile(`^(gs|s3|hf|https|http):/?([^/].*)$`)

// hubName is ORG/NAME, as the Hugging Face Hub names repositories.
var hubName = regexp.MustCompile(`^[\w-][\w.-]*/[\w.-]+$`)

// hint says which path could be meant, or what to do, "" if nothing is known.
func (e *inputError) hint() string {
	if !errors.Is(e.err, fs.ErrNotExist) {
		var format *tensor.FormatError
		if errors.As(e.err, &format) && format.Hint != "" {
			return format.Hint
		}
		return tensorFiles[e.flag]
	}
	kind := nearest.FileOrDirectory
	switch {
	case e.writes, e.flag == "adapter": // of a file to write, the directory is missing
		kind = nearest.Directory
	case e.flag != "":
		kind = nearest.File
	}
	if near := nearest.Path(e.path, kind, isModelFile); near != "" && !slices.Contains(e.args, near) {
		return "did you mean " + text.Printable(near) + "?"
	}
	if e.swapped {
		return "the destination, " + text.Printable(e.args[1]) + ", is a checkpoint; the source comes first"
	}
	if e.writes {
		return "create the directory first"
	}
	dir, name := filepath.Split(e.path)
	if _, err := os.Stat(cmp.Or(dir, ".")); err == nil {
		return ""
	}
	if m := oneSlash.FindStringSubmatch(e.path); m != nil {
		return "an address has two slashes: " + text.Printable(m[1]+"://"+m[2])
	}
	if takesRepository := e.flag == "" || e.flag == "adapter"; takesRepository && hubName.MatchString(e.path) && !isModelFile(name) {
		return "hf://" + e.path + " reads it from the Hugging Face Hub"
	}
	return ""
}

// mostPaths are the numbers of paths that commands take at most.
var mostPaths = map[string]int{"inspect": 1, "golden": 1, "generate": 1, "convert": 2, "verify": 2, "diff": 2, "perplexity": 2}

// readPaths returns the paths of a command line that are read. If there are too many, nothing says which those are.
func readPaths(c *cli.Context) []string {
	paths := c.Args().Slice()
	switch {
	case len(paths) > mostPaths[c.Command.Name]:
		return nil
	case c.Command.Name == "convert" && len(paths) == 2:
		return paths[:1]
	}
	return paths
}

// tensorFiles are the flags that name a safetensors file, and how to come by one.
var tensorFiles = map[string]string{
	"golden":   "griffin golden writes fixtures; griffin golden --capture-script prints a Python script that writes them",
	"state-in": "griffin generate --state-out writes states",
	"tokens":   "give numbers with commas between them, such as 2,651,37, or a safetensors file with a tensor tokens",
}

// checkTensorFile returns an error if a file is of another format than safetensors.
func checkTensorFile(path string, size int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, min(size, 512))
	if _, err := io.ReadFull(f, head); err != nil {
		return err
	}
	if !safetensors.Detect(head, size) {
		if err := formats.Foreign(path, head); err != nil {
			return err
		}
		return tensor.Bad("not a safetensors file").In(path)
	}
	return nil
}

// filesFor says which files of a directory a flag could mean.
func filesFor(flag, dir string) string {
	pattern := map[string]string{"golden": "*.safetensors", "tokens": "*.safetensors", "state-in": "*.safetensors", "tokenizer": "*.model"}[flag]
	names, err := filepath.Glob(filepath.Join(dir, cmp.Or(pattern, "*.txt")))
	if tensorFiles[flag] != "" { // weights are not meant
		names = slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(filepath.Base(name), "model") })
	}
	if err != nil || len(names) == 0 {
		return cmp.Or(tensorFiles[flag], "name a file")
	}
	return "name a file, such as " + tensor.JoinNames(names)
}
