package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/diff"
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

// reportError prints an error and its hint, and returns the exit status.
func reportError(w io.Writer, err error) int {
	code := exitCode(err)
	switch {
	case err == nil || err == errDifferent: // the result is printed
	case code == exitInterrupted:
		fmt.Fprintln(w, "griffin: interrupted")
	default:
		fmt.Fprintf(w, "griffin: %v\n", err)
		var fault *task.PanicError
		if errors.As(err, &fault) {
			fmt.Fprintf(w, "%s\n", fault.Stack)
		}
		if hint := hintOf(err); hint != "" {
			fmt.Fprintf(w, "hint: %s\n", hint)
		}
	}
	return code
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
	case isNetwork(err):
		return exitIO
	case is[*usageError](err), is[*model.OptionError](err), is[*diff.OptionError](err), is[*huggingface.ChatError](err), is[*storage.OutputError](err), errors.Is(err, fs.ErrExist):
		return exitUsage
	case errors.Is(err, errDifferent), is[*proof.Error](err):
		return exitDiffers
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
