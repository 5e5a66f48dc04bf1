package tensor

import (
	"errors"
	"fmt"
	"strings"
)

// FormatError reports input that is corrupt, hostile or not supported.
type FormatError struct {
	File    string // path of the file or directory, "" if not known yet
	Record  string // member, key or node within it
	Offset  int64  // bytes from the start of File (or of Record if one is named), -1 for none
	Tensor  string // full name of the tensor
	Problem string // what is wrong: lower case, no full stop
	Hint    string // what to do about it, "" for nothing
	Reason  Reason // the class of the problem, "" for none
	Err     error  // the cause, or nil
}

// Reason classifies a FormatError for callers that do not treat all of them alike, such as a
// command that knows which of its options helps. A package that gives reasons declares them.
type Reason string

// NoStep is the reason for refusing a step that is asked for and not there. The problem lists the steps that are.
const NoStep Reason = "no step"

// SeveralFiles is the reason for refusing a directory because its files or directories are no one checkpoint.
const SeveralFiles Reason = "several files"

// Bad returns a FormatError without a location; In, Within, At and Of add what is known. The verb
// %w in format sets Err.
func Bad(format string, args ...any) *FormatError {
	err := fmt.Errorf(format, args...)
	return &FormatError{Offset: -1, Problem: err.Error(), Err: errors.Unwrap(err)}
}

// In sets the file, unless it is set already.
func (e *FormatError) In(file string) *FormatError {
	if e.File == "" {
		e.File = file
	}
	return e
}

// Within sets the member, key or node of the file, unless it is set already.
func (e *FormatError) Within(record string) *FormatError {
	if e.Record == "" {
		e.Record = record
	}
	return e
}

// At sets the byte offset, unless it is set already.
func (e *FormatError) At(offset int64) *FormatError {
	if e.Offset < 0 {
		e.Offset = offset
	}
	return e
}

// Of sets the name of the tensor, unless it is set already.
func (e *FormatError) Of(tensor string) *FormatError {
	if e.Tensor == "" {
		e.Tensor = tensor
	}
	return e
}

// Advise sets the hint.
func (e *FormatError) Advise(format string, args ...any) *FormatError {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// AdviseIfSilent gives a *FormatError that err is or wraps a hint, unless it has a hint or a reason, which say what to do.
func AdviseIfSilent(err error, hint string) error {
	var bad *FormatError
	if errors.As(err, &bad) && bad.Hint == "" && bad.Reason == "" {
		bad.Hint = hint
	}
	return err
}

// Because sets the reason.
func (e *FormatError) Because(reason Reason) *FormatError {
	e.Reason = reason
	return e
}

// Error returns the location and the problem: "model.safetensors: offset 8: tensor \"x\": …".
func (e *FormatError) Error() string {
	var parts []string
	if e.File != "" {
		parts = append(parts, e.File)
	}
	if e.Record != "" {
		parts = append(parts, e.Record)
	}
	if e.Offset >= 0 {
		parts = append(parts, fmt.Sprintf("offset %d", e.Offset))
	}
	if e.Tensor != "" {
		parts = append(parts, fmt.Sprintf("tensor %q", e.Tensor))
	}
	return strings.Join(append(parts, e.Problem), ": ")
}

// Unwrap returns Err.
func (e *FormatError) Unwrap() error { return e.Err }

// Location is where in an input an error occurred. Empty fields are unknown.
type Location struct {
	File   string
	Record string // member, key or node of the file
	Tensor string // full name
}

// Annotate adds a location to err if err is or wraps a *FormatError. What the FormatError already
// names is kept. It returns err.
func Annotate(err error, where Location) error {
	if err == nil {
		return nil
	}
	var e *FormatError
	if errors.As(err, &e) {
		e.In(where.File).Within(where.Record).Of(where.Tensor)
	}
	return err
}

// ReasonOf returns the reason of the *FormatError that err is or wraps, "" if there is none.
func ReasonOf(err error) Reason {
	var e *FormatError
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}
