package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/griffin-ckpt/griffin/cmd/internal/nearest"
	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/names"
	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/convert/run"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/quantized"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/formats/torch/zero"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/reference/generate"
	"github.com/griffin-ckpt/griffin/reference/perplexity"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/golden"
)

// Exit statuses. They are an interface that scripts rely on.
const (
	exitOK          = 0
	exitDiffers     = 1
	exitUsage       = 2
	exitBadInput    = 3
	exitIO          = 4
	exitInternal    = 5
	exitInterrupted = 130
)

// usageError reports a wrong command line.
type usageError struct{ problem, hint string }

func usagef(format string, args ...any) *usageError {
	return &usageError{problem: fmt.Sprintf(format, args...)}
}

// advise sets the hint that is printed below the error.
func (e *usageError) advise(format string, args ...any) *usageError {
	e.hint = fmt.Sprintf(format, args...)
	return e
}

func (e *usageError) Error() string { return e.problem }

// errDifferent ends a command that has printed a result that is not equal, or not the same model.
var errDifferent = errors.New("different")

// reportError prints an error and its hint, as text or as JSON, and returns the exit status.
func reportError(w io.Writer, err error, asJSON bool) int {
	if err == nil || err == errDifferent { // the results are printed
		return exitCode(err)
	}
	f := failureOf(err)
	f.show(w, asJSON)
	return f.ExitStatus
}

// message returns the text of an error for a user: errors of files name the path and neither the system call nor a
// temporary path, and sizes are readable.
func message(err error) string {
	text := err.Error()
	visit(err, func(err error) {
		var shown string
		switch e := err.(type) {
		case *model.OptionError:
			flag := flagOf(e.Option)
			if flag == "" || strings.Contains(e.Error(), flag) {
				return
			}
			shown = flag + ": " + e.Error()
		case *tensor.FormatError:
			flag := choosing[e.Reason]
			if flag == "" {
				return
			}
			shown = flag + ": " + e.Error()
		case *diff.OptionError:
			shown = fmt.Sprintf("--%s: %v", strings.ToLower(string(e.Option)), e)
		case *fs.PathError:
			shown = fmt.Sprintf("%s: %v", shownPath(e.Path), e.Err)
			if file := fileAbove(e.Path); errors.Is(e.Err, syscall.ENOTDIR) && file != "" {
				shown = fmt.Sprintf("%s: %s is a file, not a directory", shownPath(e.Path), shownPath(file))
			}
		case *os.LinkError:
			shown = fmt.Sprintf("%s: %v", shownPath(e.New), e.Err)
		case *publish.OutputError:
			shown = strings.Replace(e.Error(), e.Path, shownPath(e.Path), 1)
		case *publish.SpaceError:
			shown = fmt.Sprintf("%s: the output needs %s, but only %s are free", shownPath(e.Dir), size(e.Need), size(e.Free))
		default:
			return
		}
		text = strings.ReplaceAll(text, err.Error(), shown)
	})
	if errors.Is(err, fs.ErrExist) { // what exists may be a directory
		text = strings.ReplaceAll(text, fs.ErrExist.Error(), "already exists")
	}
	return text
}

// fileAbove returns the nearest path above one that is there and is not a directory; "" for none, or for the path itself.
func fileAbove(path string) string {
	for dir := filepath.Dir(path); dir != path; path, dir = dir, filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil {
			if info.IsDir() {
				return ""
			}
			return dir
		}
	}
	return ""
}

// shownPath returns the path that stands for a path in the text of an error.
func shownPath(path string) string {
	if path == "" {
		return `""`
	}
	return text.Printable(asGiven(publish.Destination(path), os.Args[1:]))
}

// asGiven returns an absolute path as the longest of the arguments that lead to it names it: that of the path itself, of a directory above
// it, of the file that it lies beside with a longer name, or of one directly in it.
func asGiven(path string, args []string) string {
	shown, longest := path, 1
	for _, arg := range args {
		if flag, value, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(flag, "-") {
			arg = value
		}
		absolute, err := filepath.Abs(arg)
		if err != nil || arg == "" || len(absolute) <= longest {
			continue
		}
		if rest, ok := strings.CutPrefix(path, absolute); ok && (rest == "" || rest[0] == '.' || os.IsPathSeparator(rest[0])) {
			shown, longest = strings.TrimRight(arg, "/")+rest, len(absolute)
		} else if filepath.Dir(absolute) == path && len(path) > longest {
			shown, longest = filepath.Dir(filepath.Clean(arg)), len(path)
		}
	}
	return shown
}

// visit calls f for an error and for every error that it wraps.
func visit(err error, f func(error)) {
	if err == nil {
		return
	}
	f(err)
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		visit(e.Unwrap(), f)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			visit(one, f)
		}
	}
}

// exitCode returns the exit status for an error.
func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case is[*task.PanicError](err): // whatever else went wrong because of it
		return exitInternal
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case is[*run.Error](err):
		return exitCodeOfSteps(err)
	case isUnusable(err):
		return exitUsage
	case isNetwork(err):
		return exitIO
	case is[*usageError](err), is[*run.TaskError](err), is[*model.OptionError](err), is[*diff.OptionError](err), is[*names.Error](err), is[*huggingface.ChatError](err), is[*publish.OutputError](err), is[*storage.AddressError](err), errors.Is(err, fs.ErrExist):
		return exitUsage
	case errors.Is(err, errDifferent), is[*proof.Error](err):
		return exitDiffers
	case isOfChoice(err):
		return exitUsage
	case is[*tensor.FormatError](err):
		return exitBadInput
	case is[*fs.PathError](err), is[*os.LinkError](err), is[*os.SyscallError](err), is[syscall.Errno](err), errors.Is(err, reference.ErrMapping):
		return exitIO
	}
	return exitInternal
}

// is reports whether err is or wraps an error of type E.
func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// choosing are the reasons for errors about what a command is to read of a checkpoint, not about the checkpoint itself, with the flag that asked for
// what is not there, "" where a flag or a longer path is missing.
var choosing = map[tensor.Reason]string{
	tensor.NoStep:               "--step",
	formats.ReasonNoSteps:       "--all-steps",
	formats.ReasonOneKind:       "--weights",
	zero.ReasonNoComputeWeights: "--weights",
	model.ReasonSeveralModels:   "",
	formats.ReasonSteps:         "",
	tensor.SeveralFiles:         "",
}

func isOfChoice(err error) bool {
	_, ok := choosing[tensor.ReasonOf(err)]
	return ok
}

// ofFlag makes the error about steps that are not there one of a flag other than --step and --all-steps.
func ofFlag(flag string, err error) error {
	if reason := tensor.ReasonOf(err); reason == tensor.NoStep || reason == formats.ReasonNoSteps {
		hint := hintOf(err)
		if reason == formats.ReasonNoSteps {
			hint = "griffin diff A B compares two checkpoints"
		}
		return usagef("--%s: %v", flag, err).advise("%s", hint)
	}
	return err
}

// hintOf returns what the user can do about an error, "" for nothing. Only hints name flags.
func hintOf(err error) string {
	var usage *usageError
	var chat *huggingface.ChatError
	var option *model.OptionError
	var diffOption *diff.OptionError
	var format *tensor.FormatError
	var fault *task.PanicError
	var output *publish.OutputError
	var shared *run.TaskError
	var input *inputError
	var other *otherError
	var mismatch *model.MismatchError
	switch {
	case errors.As(err, &input) && input.hint() != "":
		return input.hint()
	case is[*run.Error](err): // the hints are below the errors of the steps
		return ""
	case errors.As(err, &other):
		return other.hint
	case errors.As(err, &shared):
		return taskHints[shared.Reason]
	case isNetwork(err):
		return networkHint(err)
	case errors.As(err, &fault):
		return "please report this, with the command that led to it"
	case errors.As(err, &usage):
		return usage.hint
	case errors.As(err, &chat) && chat.Tokenizer == "":
		return "give the tokenizer with --tokenizer FILE"
	case errors.As(err, &option):
		return optionHint(option)
	case errors.As(err, &diffOption):
		return patternHint(diffOption.Given, diffOption.Names, diffOption.Option)
	case is[*names.Error](err):
		return "a rule is a line PATTERN -> NAME; the n-th * of NAME is replaced by what the n-th * of PATTERN matched"
	case errors.Is(err, golden.ErrNotFixture):
		return "griffin golden writes fixtures; griffin golden --capture-script prints a Python script that writes them"
	case errors.Is(err, golden.ErrNotFinite), errors.Is(err, generate.ErrNotFinite), is[*perplexity.NotFiniteError](err):
		return "griffin inspect --stats names the tensors that hold NaN or infinities; if there are none, numbers become too large on the way"
	case errors.As(err, &output):
		hint := outputHints[output.Reason]
		if output.Err != nil {
			hint = existingHints[output.Reason]
		}
		if _, fact := targetOf(output.Path); output.Reason == publish.OutputIsFile && fact != "" {
			hint += "; --to " + fact
		}
		return hint
	case errors.Is(err, fs.ErrExist):
		return "use --overwrite to replace it (only on success)"
	case errors.As(err, &mismatch) && formats.IsShard(mismatch.Path):
		return "it is one of several files of a checkpoint: give the directory that holds them"
	case errors.As(err, &format):
		return formatHint(format)
	}
	return ""
}

// patternHint names the pattern that was meant, if one of the names shows it, or else says how to use the option.
func patternHint(given string, names []string, option diff.Option) string {
	if near := nearest.Pattern(given, names); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return diffHints[option]
}

// optionFlags are the flags that set the options of the libraries.
var optionFlags = map[string]string{
	"Name": "--model", "Only": "--only", "Preset": "--preset", "To": "--to", "DType": "--dtype", "MatchRuntime": "--match-runtime",
	"Rename": "--rename", "Tokenizer": "--tokenizer", "InstructionTuned": "--instruction-tuned", "MaxShardSize": "--max-shard-size", "AllowInexact": "--allow-inexact",
	"OrbaxFormat": "--orbax-format", "Model": "--model", "Extra": "--extra", "Adapter": "--adapter",
	"AttentionWindow": "--attention-window N", "LogitsSoftCap": "--logits-soft-cap X", "EmbeddingScale": "--embedding-scale=true|false", "Golden": "--golden FILE",
}

// flagOf returns the flag that sets an option, without its value; "" if none does.
func flagOf(option string) string {
	flag := optionFlags[option]
	if i := strings.IndexAny(flag, " ="); i >= 0 {
		flag = flag[:i]
	}
	return flag
}

// optionHint returns what to do about an option of the library.
func optionHint(e *model.OptionError) string {
	switch {
	case len(e.Targets) > 0:
		return fmt.Sprintf("leave out %s, or give another target: --to %s", flagOf(e.Option), strings.Join(e.Targets, ", --to "))
	case e.Option == "Only" && len(e.Accepted) > 0:
		return patternHint(e.Given, e.Accepted, diff.OptionOnly)
	case e.Option == "Name" && len(e.Accepted) == 1 && e.Accepted[0] == ".":
		return "leave out --model: the checkpoint has one model, at the top level, without a name"
	case e.Option == "Name" && len(e.Accepted) == 1:
		return "leave out --model: the checkpoint has one model, " + e.Accepted[0]
	case e.Option == "Verify":
		return "convert without --verify, or download the file first, for example with curl -O"
	case e.Option == "Preset" && len(e.Accepted) == 0 && e.Hint == "":
		return "give the settings one by one: --attention-window N --logits-soft-cap X --embedding-scale=true|false"
	case len(e.Missing) > 0:
		var flags []string
		for _, name := range e.Missing {
			flags = append(flags, optionFlags[name])
		}
		if stated := statedFlags(e.Stated); stated != nil {
			hint := "add them; the conversion has " + strings.Join(stated, " ")
			if len(stated) < len(flags) {
				hint = "add " + strings.Join(flags, " ") + "; the conversion has " + strings.Join(stated, " ")
			}
			if e.StatedAssumed && e.Stated.AttentionWindow != nil {
				hint += fmt.Sprintf(", or --attention-window %d if it was written to match transformers 5", *e.Stated.AttentionWindow-1)
			}
			return hint
		}
		if !slices.Contains(e.Missing, "AttentionWindow") { // a Hawk has no attention blocks
			return "add " + strings.Join(flags, " ") + "; RecurrentGemma has a soft cap of 30 and scaled embeddings, the models of the paper have no cap and no scale"
		}
		return "add " + strings.Join(flags, " ") + "; RecurrentGemma has a window of 2048, a soft cap of 30 and scaled embeddings, the models of the paper have a window of 1024, no cap and no scale"
	case len(e.Accepted) > 0 && optionFlags[e.Option] != "":
		takes := optionFlags[e.Option] + " takes " + tensor.JoinNames(e.Accepted)
		near := cmp.Or(meant(e.Given, e.Accepted), nearest.Name(e.Given, e.Accepted))
		if near != "" {
			return "did you mean " + near + "? " + takes
		}
		return takes
	}
	return e.Hint
}

// statedFlags writes settings as flags.
func statedFlags(s model.Settings) (flags []string) {
	if w := s.AttentionWindow; w != nil {
		flags = append(flags, fmt.Sprintf("--attention-window %d", *w))
	}
	if x := s.LogitsSoftCap; x != nil {
		flags = append(flags, "--logits-soft-cap "+hfconfig.Decimal(*x))
	}
	if is := s.EmbeddingScale; is != nil {
		flags = append(flags, fmt.Sprintf("--embedding-scale=%t", *is))
	}
	return flags
}

// formatHints say what to do on the command line about checkpoints that were refused for a reason.
var formatHints = map[tensor.Reason]string{
	formats.ReasonUnreadable:     "--skip-unreadable leaves such tensors out",
	formats.ReasonNoSteps:        "without --all-steps, a path is one checkpoint",
	formats.ReasonTokenizer:      "give the weights; the tokenizer goes to --tokenizer",
	quantized.ReasonMismatch:     "griffin diff --raw compares the tensors as they are stored",
	quantized.ReasonDamaged:      "griffin diff --raw compares the tensors as they are stored",
	quantized.ReasonQuantized:    "take the original; griffin diff ORIGINAL COPY says how good the copy is",
	model.ReasonSeveralModels:    "--model NAME selects one of them",
	model.ReasonPartialAdapter:   "save the adapter again, complete; --partial-adapter merges it as it is",
	model.ReasonExtraTensors:     "--extra keep copies tensors that are not parameters of the family",
	convert.ReasonInexact:        "--allow-inexact writes the nearest form",
	convert.ReasonInexactF16:     "--dtype bfloat16 and --dtype float32 have an exact form; --allow-inexact writes this one",
	convert.ReasonUnderflow:      "use another --dtype; --allow-inexact writes them rounded",
	convert.ReasonOverflow:       "without --dtype they keep their values; --allow-inexact writes infinities in their place",
	convert.ReasonOverflowF16:    "--dtype bfloat16 and --dtype float32 have room for them; --allow-inexact writes infinities in their place",
	convert.ReasonDivideF64:      "use --dtype float32",
	generate.ReasonOtherModel:    "a state continues with the checkpoint and the settings that it was written with",
	generate.ReasonNotState:      "griffin generate --state-out writes states",
	convert.ReasonName:           "--rename FILE gives tensors other names",
	convert.ReasonType:           "--only PATTERN takes a part of the tensors",
	convert.ReasonSeparateHead:   "--extra keep writes the head beside the model, where the original implementations ignore it",
	convert.ReasonBeyondOriginal: "the Hugging Face layout expresses it: --to hf",
}

// formatHint returns what to do about a checkpoint.
func formatHint(e *tensor.FormatError) string {
	switch e.Reason {
	case model.ReasonAdapter:
		return fmt.Sprintf("griffin convert --adapter %s BASE DST merges it into its base", e.File)
	case formats.ReasonSteps:
		return e.Hint + "; --step N selects one, and --all-steps, where a command has it, takes all"
	case model.ReasonNotOfFamily:
		return "griffin inspect shows the names; " + e.Hint
	}
	if hint, ok := formatHints[e.Reason]; ok {
		return hint
	}
	return e.Hint
}

// diffHints say how to use the options of diff.
var diffHints = map[diff.Option]string{
	diff.OptionOnly:      "--only takes a pattern for whole names; * matches any characters, dots included",
	diff.OptionTolerance: "--tolerance takes abs=NUMBER, rel=NUMBER, ulp=COUNT, or several of them with commas: abs=1e-6,rel=1e-3",
}

// outputHints say where else an output can go.
var outputHints = map[publish.OutputReason]string{
	publish.OutputIsSource:     "write to another file",
	publish.OutputIsDirectory:  "name a file",
	publish.OutputIsFile:       "name a directory",
	publish.OutputIsSpecial:    "use a destination that can be renamed into place",
	publish.OutputIsMountPoint: "name a file or directory below it",
	publish.OutputHasOthers:    "move it elsewhere, or use another destination",
	publish.OutputNoCheckpoint: "remove it yourself, or use another destination",
}

// existingHints are outputHints without --overwrite.
var existingHints = map[publish.OutputReason]string{
	publish.OutputHasOthers:    "move it elsewhere and use --overwrite, or use another destination",
	publish.OutputNoCheckpoint: outputHints[publish.OutputNoCheckpoint],
}
