package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/nearest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/names"
	"github.com/griffin-ckpt/griffin/convert/run"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// settingsFlags declare what the shapes of an original checkpoint do not show. Every command that
// needs a complete model has them.
func settingsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "preset", Usage: "take the settings of model `NAME`: " + strings.Join(model.Griffin.PresetNames(), ", "), DefaultText: "recognised by its shapes"},
		&cli.Int64Flag{Name: "attention-window", Usage: "attention window of the original: a token attends to itself and the last `N` tokens", DefaultText: "from the preset"},
		&cli.Float64Flag{Name: "logits-soft-cap", Usage: "logits are tanh(x/`X`)*X; 0 means no cap", DefaultText: "from the preset"},
		&cli.BoolFlag{Name: "embedding-scale", Usage: "whether embeddings are multiplied by sqrt(width): =true or =false", DefaultText: "from the preset"},
	}
}

// settings returns what settingsFlags were given. A flag that was not given is nil.
func settings(c *cli.Context) model.Settings {
	s := model.Settings{Preset: c.String("preset")}
	if c.IsSet("attention-window") {
		n := c.Int64("attention-window")
		s.AttentionWindow = &n
	}
	if c.IsSet("logits-soft-cap") {
		x := c.Float64("logits-soft-cap")
		s.LogitsSoftCap = &x
	}
	if c.IsSet("embedding-scale") {
		b := c.Bool("embedding-scale")
		s.EmbeddingScale = &b
	}
	return s
}

func stepFlag() cli.Flag {
	return &cli.Int64Flag{Name: "step", Value: -1, DefaultText: "newest, but a Trainer's run and numbered files need N", Usage: "open step `N` of a training run's directory"}
}

func weightsFlag() cli.Flag {
	return &cli.StringFlag{Name: "weights", DefaultText: "master", Usage: "DeepSpeed: read the weights of `KIND`: master (of the optimizer, float32) or compute (of the model)"}
}

func skipFlag() cli.Flag {
	return &cli.BoolFlag{Name: "skip-unreadable", Usage: "leave out the tensors of PyTorch files that griffin cannot read, such as sparse and quantized ones"}
}

func modelFlag() cli.Flag {
	return &cli.StringFlag{Name: "model", Usage: "select the model under `NAME` of several in the checkpoint, such as ema_params (. for the top level)"}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print the result as JSON"}
}

// digestFlag chooses the hash function of the digests that a command records.
func digestFlag(where string) cli.Flag {
	return &cli.StringFlag{Name: "digest", Value: digest.Default.String(), Usage: where + " with `ALGORITHM`: " + strings.Join(digest.Names(), ", ")}
}

// digestOption returns the hash function that digestFlag names.
func digestOption(c *cli.Context) (digest.Algorithms, error) {
	a, err := digest.Parse(c.String("digest"))
	if err != nil {
		return 0, usagef("--digest: %v", err)
	}
	return a, nil
}

// stepOption returns the step that a flag selects, nil if it is not set.
func stepOption(c *cli.Context, flag string) (*int64, error) {
	if !c.IsSet(flag) {
		return nil, nil
	}
	n := c.Int64(flag)
	if n < 0 {
		return nil, usagef("--%s %d: a step is not negative", flag, n)
	}
	return &n, nil
}

// openOptions returns what stepFlag, weightsFlag and skipFlag select.
func openOptions(c *cli.Context) (formats.Options, error) {
	o := formats.Options{SkipUnreadable: c.Bool("skip-unreadable")}
	switch kind := c.String("weights"); {
	case !c.IsSet("weights"):
	case kind == "master":
		o.Weights = formats.MasterWeights
	case kind == "compute":
		o.Weights = formats.ComputeWeights
	default:
		return o, usagef("--weights %s: there are master and compute", kind)
	}
	var err error
	o.Step, err = stepOption(c, "step")
	return o, err
}

// openSource opens a checkpoint of any format, as the flags of openOptions select.
func openSource(c *cli.Context, path string) (*tensor.Checkpoint, error) {
	o, err := openOptions(c)
	if err != nil {
		return nil, err
	}
	if err := checkInputs(c); err != nil {
		return nil, err
	}
	return formats.Open(path, o)
}

// openOther opens the checkpoint at the second path of a command whose --step is for the first.
func openOther(c *cli.Context, path string) (*tensor.Checkpoint, error) {
	checkpoint, err := formats.Open(path, formats.Options{SkipUnreadable: c.Bool("skip-unreadable")})
	if bad := (*tensor.FormatError)(nil); errors.As(err, &bad) && bad.Reason == formats.ReasonSteps {
		err = &otherError{err, bad.Hint}
		if step, _ := stepOption(c, "step"); step != nil {
			if same, openErr := formats.Open(path, formats.Options{Step: step}); openErr == nil {
				defer same.Close()
				err = &otherError{err, "--step is for the first path; give that step of the second, " + text.Printable(same.Path)}
			}
		}
	}
	return checkpoint, err
}

// otherError reports that something has to be chosen in the second checkpoint of a command whose flags choose in the first.
type otherError struct {
	error
	hint string
}

func (e *otherError) Unwrap() error { return e.error }

// ofOther says of an error about several models in the second checkpoint of a command that --model is for the first.
func ofOther(err error) error {
	if tensor.ReasonOf(err) != model.ReasonSeveralModels {
		return err
	}
	return &otherError{err, "--model is for the first path: give this one first, or what griffin convert --model NAME makes of it"}
}

// openModel opens a checkpoint and the model in it, with the settings that the flags give.
func openModel(c *cli.Context, path string) (*runtime.Model, error) {
	checkpoint, err := openSource(c, path)
	if err != nil {
		return nil, err
	}
	m, err := runtime.Open(c.Context, checkpoint, runtime.Options{Settings: settings(c), Name: c.String("model")})
	if err != nil {
		checkpoint.Close()
		return nil, err
	}
	noteOverruled(c, m)
	return m, nil
}

// noteOverruled says which of the given settings are not those that the conversion.json of a checkpoint records.
func noteOverruled(c *cli.Context, m *runtime.Model) {
	if m.Overruled != "" {
		note(c, "%s: %s", storage.WithoutQuery(m.Checkpoint.Path), m.Overruled)
	}
}

// noteLogits says if all logits of a model are zero as they are computed, or if the attention window may be another.
func noteLogits(c *cli.Context, m *runtime.Model, s reference.Semantics) {
	path := storage.WithoutQuery(m.Checkpoint.Path)
	if why := runtime.ZeroLogits(m, s); why != "" {
		note(c, "%s: %s; --semantics original computes without a cap", path, why)
	}
	if m.WindowDoubt != "" && s == reference.Original {
		note(c, "%s: %s", path, withWindowFlag(m.WindowDoubt))
	}
}

// withWindowFlag names the flag in what says that an attention window may not be the original's.
func withWindowFlag(doubt string) string {
	return strings.Replace(doubt, "; if it was, give attention window ", "; if it was, give --attention-window ", 1)
}

// quantizedText says what a quantised copy is; "" for a model that is none.
func quantizedText(m *runtime.Model) string {
	if m.Quantized == nil {
		return ""
	}
	return m.Quantized.String()
}

// printQuantized says of a model at a path what quantizedText says, if it is a quantised copy.
func printQuantized(w io.Writer, path, form string) error {
	if form == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "%s is a quantised copy, run dequantised: %s\n", text.Printable(storage.WithoutQuery(path)), form)
	return err
}

// inputFiles are the flags that name a file to read.
var inputFiles = []string{"golden", "text", "prompt-file", "state-in", "tokens", "tokenizer", "rename", "map"}

// checkInputs returns an error for the first path of a command line that is to be read and is not there, or is a directory where a file is
// meant. Commands call it before they read anything, so that what is missing comes before what is wrong in another. Addresses are not
// looked at.
func checkInputs(c *cli.Context) error {
	for _, path := range readPaths(c) {
		if _, isAddress := storage.Scheme(path); !isAddress {
			if _, err := os.Stat(path); err != nil {
				return &inputError{"", path, err, c.Args().Slice()}
			}
		}
	}
	for _, flag := range append(inputFiles, "adapter") {
		path := c.String(flag)
		_, isAddress := storage.Scheme(path)
		switch {
		case path == "" && c.IsSet(flag): // such as a variable of the shell that is not set
			return usagef("--%s is empty", flag).advise("a variable of the shell may not be set")
		case path == "", isAddress, flag == "text" && path == "-":
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
			return &inputError{"--" + flag + ": ", path, err, nil}
		case flag == "adapter" && !info.IsDir():
			return usagef("--adapter: %s is a file", path).advise("give the directory of the adapter, which has its %s", peft.ConfigName)
		case flag == "adapter" && !peft.Detect(storage.Local(path), "."):
			return usagef("--adapter: %s holds no %s", path, peft.ConfigName).advise("give the directory of an adapter of the PEFT library")
		case flag != "adapter" && info.IsDir():
			return usagef("--%s: %s is a directory", flag, path).advise("%s", filesFor(flag, path))
		case tensorFiles[flag] != "" && info.Mode().IsRegular():
			if err := checkTensorFile(path, info.Size()); err != nil {
				return &inputError{"--" + flag + ": ", path, err, nil}
			}
		}
	}
	return nil
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
	path = publish.Destination(path)
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

// inputError reports a path of the command line that cannot be read.
type inputError struct {
	flag string // "--golden: ", or "" for an argument
	path string
	err  error
	args []string // of the command line; none of them is what path could be meant for
}

func (e *inputError) Error() string { return e.flag + e.err.Error() }

func (e *inputError) Unwrap() error { return e.err }

// oneSlash is an address that lacks a slash.
var oneSlash = regexp.MustCompile(`^(gs|s3|https|http):/?([^/].*)$`)

var hubName = regexp.MustCompile(`^(hf:/?)?[\w-][\w.-]*/[\w.-]+$`)

// hint says which path could be meant, "" if none could.
func (e *inputError) hint() string {
	if !errors.Is(e.err, fs.ErrNotExist) {
		var format *tensor.FormatError
		if errors.As(e.err, &format) && format.Hint != "" {
			return format.Hint
		}
		return tensorFiles[strings.Trim(e.flag, "-: ")]
	}
	if near := nearPath(e.path); near != "" && !slices.Contains(e.args, near) {
		return "did you mean " + text.Printable(near) + "?"
	}
	dir, _ := filepath.Split(e.path)
	if _, err := os.Stat(cmp.Or(dir, ".")); err == nil {
		return ""
	}
	if name, ok := strings.CutPrefix(e.path, "hf:"); ok || hubName.MatchString(e.path) {
		return "hf://" + strings.TrimLeft(name, "/") + " reads it from the Hugging Face Hub"
	}
	if m := oneSlash.FindStringSubmatch(e.path); m != nil {
		return "an address has two slashes: " + text.Printable(m[1]+"://"+m[2])
	}
	return ""
}

// nearPath returns the path that a misspelt one most likely stands for, or "". Each of its parts may be misspelt.
func nearPath(path string) string {
	if _, err := os.Lstat(path); err == nil {
		return path
	}
	dir, name := filepath.Split(path)
	if name == "" || strings.Contains(dir, "://") {
		return ""
	}
	if trimmed := strings.TrimRight(dir, string(filepath.Separator)); trimmed != "" {
		near := nearPath(trimmed)
		if near == "" {
			return ""
		}
		dir = near + dir[len(trimmed):]
	}
	if _, err := os.Lstat(dir + name); err == nil {
		return dir + name
	}
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return ""
	}
	var names, stems []string
	extension := filepath.Ext(name)
	for _, entry := range entries {
		if stem, ok := strings.CutSuffix(entry.Name(), extension); ok && extension != "" {
			stems = append(stems, stem)
		} else if entry.IsDir() || isLikeExtension(extension, filepath.Ext(entry.Name())) {
			names = append(names, entry.Name())
		}
	}
	if near := nearest.Name(strings.TrimSuffix(name, extension), stems); near != "" {
		return dir + near + extension
	}
	if near := nearest.Name(name, names); near != "" {
		return dir + near
	}
	return ""
}

// isLikeExtension reports whether a misspelt path may stand for a file of another extension than its own: one that is misspelt, or that is not there.
func isLikeExtension(typed, extension string) bool {
	return typed == extension || typed == "" && isModelFile(extension) || nearest.Name(typed, []string{extension}) != ""
}

// readPaths returns the paths of a command line that are read. If there are too many, nothing says which those are.
func readPaths(c *cli.Context) []string {
	most := map[string]int{"inspect": 1, "golden": 1, "generate": 1, "convert": 2, "verify": 2, "diff": 2, "perplexity": 2}[c.Command.Name]
	paths := c.Args().Slice()
	switch {
	case len(paths) > most:
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
	pattern := map[string]string{"golden": "*.safetensors", "tokens": "*.safetensors", "state-in": "*.safetensors", "tokenizer": "*.model", "text": "*.txt", "prompt-file": "*.txt"}[flag]
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if tensorFiles[flag] != "" { // weights are not meant
		names = slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(filepath.Base(name), "model") })
	}
	if err != nil || len(names) == 0 {
		return cmp.Or(tensorFiles[flag], "name a file")
	}
	return "name a file, such as " + tensor.JoinNames(names)
}

func partialFlag() cli.Flag {
	return &cli.BoolFlag{Name: "partial-adapter", Usage: "with --adapter: accept an adapter that lacks tensors of some of its target modules"}
}

// openAdapter opens the adapter that --adapter names, nil if it is not set.
func openAdapter(c *cli.Context) (*peft.Adapter, error) {
	path := c.String("adapter")
	if path == "" {
		if c.Bool("partial-adapter") {
			return nil, usagef("--partial-adapter is for --adapter")
		}
		return nil, nil
	}
	if err := checkInputs(c); err != nil {
		return nil, err
	}
	source, dir, err := storage.Locate(path)
	if err != nil {
		return nil, err
	}
	return peft.Read(source, dir)
}
