package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/golden"
)

// Exit statuses, part of the interface for scripts.
const (
	exitOK          = 0
	exitDiffers     = 1
	exitUsage       = 2
	exitBadInput    = 3
	exitIO          = 4
	exitInternal    = 5
	exitInterrupted = 130
)

// usageError says that the command line is wrong.
type usageError struct{ problem, hint string }

func usagef(format string, args ...any) *usageError {
	return &usageError{problem: fmt.Sprintf(format, args...)}
}

func (e *usageError) advise(format string, args ...any) *usageError {
	e.hint = fmt.Sprintf(format, args...)
	return e
}

func (e *usageError) Error() string { return e.problem }

// errNotSame ends a command whose printed result says that something differs.
var errNotSame = errors.New("not the same model")

// reportError prints what went wrong, with its hint, and returns the exit status for it.
func reportError(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	code := exitCode(err)
	if err == errNotSame {
		return code // the result said so
	}
	if code == exitInterrupted {
		fmt.Fprintln(w, "griffin: interrupted, nothing was left behind")
		return code
	}
	fmt.Fprintf(w, "griffin: %v\n", err)
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
	return code
}

// exitCode maps an error to its class.
func exitCode(err error) int {
	var (
		usage  *usageError
		format *tensor.FormatError
		path   *fs.PathError
		link   *os.LinkError
		system *os.SyscallError
		errno  syscall.Errno
		choice *model.OptionError
		proof  *proof.Error
		chat   *huggingface.ChatError
		option *diff.OptionError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage), errors.As(err, &choice), errors.As(err, &chat), errors.As(err, &option), errors.Is(err, fs.ErrExist):
		return exitUsage
	case errors.Is(err, errNotSame), errors.As(err, &proof):
		return exitDiffers
	case errors.As(err, &format):
		return exitBadInput
	case errors.As(err, &path), errors.As(err, &link), errors.As(err, &system), errors.As(err, &errno):
		return exitIO
	}
	return exitInternal
}

// hintOf returns what the error advises to do, if it does.
func hintOf(err error) string {
	var usage *usageError
	var format *tensor.FormatError
	var choice *model.OptionError
	var chat *huggingface.ChatError
	var option *diff.OptionError
	switch {
	case errors.As(err, &chat) && chat.Tokenizer == "":
		return "give the tokenizer: --tokenizer FILE"
	case errors.As(err, &usage):
		return usage.hint
	case errors.As(err, &option):
		return diffHint(option.Option)
	case errors.As(err, &choice):
		return optionHint(choice)
	case errors.Is(err, golden.ErrNotFixture):
		return "griffin golden writes fixtures, and griffin golden --capture-script prints scripts that do"
	case errors.Is(err, fs.ErrExist):
		return "--overwrite replaces it, at the end"
	case errors.As(err, &format):
		return formatHint(format)
	}
	return ""
}

// formatHint returns what to do about a checkpoint.
func formatHint(e *tensor.FormatError) string {
	switch e.Reason {
	case model.ReasonAdapter:
		return fmt.Sprintf("griffin convert --adapter %s BASE DST merges it into its base", e.File)
	case model.ReasonNotOfFamily:
		return "griffin inspect shows the names; " + e.Hint
	}
	if hint, ok := hints[e.Reason]; ok {
		return hint
	}
	return e.Hint
}

// hints says what to do on the command line about errors whose library names only their reason.
var hints = map[tensor.Reason]string{
	formats.ReasonTokenizer:    "give the weights; --tokenizer takes this file",
	model.ReasonSeveralModels:  "--model NAME selects one of them",
	model.ReasonExtraTensors:   "--extra keep keeps tensors that are not parameters of the family",
	convert.ReasonInexact:      "--allow-inexact writes the nearest there is",
	convert.ReasonInexactF16:   "--dtype bfloat16 or float32 has an exact form; --allow-inexact writes this one",
	convert.ReasonUnderflow:    "another --dtype has room for them; --allow-inexact writes it so",
	convert.ReasonDivideF64:    "use --dtype float32",
	convert.ReasonSeparateHead: "--extra keep writes it beside the model, where they do not look for it",
}

// optionFlags are the flags for the options of the library that an error may name.
var optionFlags = map[string]string{
	"Name": "--model", "Preset": "--preset", "To": "--to", "DType": "--dtype", "MatchRuntime": "--match-runtime",
	"AttentionWindow": "--attention-window N", "LogitsSoftCap": "--logits-soft-cap X", "EmbeddingScale": "--embedding-scale=true|false",
}

// optionHint returns what to do about an option of the library.
func optionHint(e *model.OptionError) string {
	switch {
	case len(e.Missing) > 0:
		var flags []string
		for _, name := range e.Missing {
			flags = append(flags, optionFlags[name])
		}
		return "give " + strings.Join(flags, " ") + "; RecurrentGemma has a window of 2048, a soft cap of 30 and scaled embeddings, the paper's models have a window of 1024 and neither cap nor scale"
	case len(e.Accepted) > 0 && optionFlags[e.Option] != "":
		return optionFlags[e.Option] + " takes " + tensor.JoinNames(e.Accepted)
	}
	return e.Hint
}
