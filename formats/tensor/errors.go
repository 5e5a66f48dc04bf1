package tensor

import (
	"errors"
	"fmt"
	"strings"
)

// FormatError says that an input is broken, hostile or not supported. The command line maps it to
// exit status 3.
type FormatError struct {
	File    string // path of the file or directory, "" if not known yet
	Record  string // member, key or node within it
	Offset  int64  // bytes from the start of File (or of Record where one is named), -1 for none
	Tensor  string // full name of the tensor
	Problem string // what is wrong: lower case, no full stop
	Hint    string // what to do about it, "" for nothing
	Err     error  // the cause, if there is one
}

// Bad returns a FormatError with no place yet; In, At, Of and Advise add what is known.
func Bad(format string, args ...any) *FormatError {
	err := fmt.Errorf(format, args...)
	e := &FormatError{Offset: -1, Problem: err.Error()}
	if u, ok := err.(interface{ Unwrap() error }); ok {
		e.Err = u.Unwrap()
	}
	return e
}

// In names the file, unless one is named already.
func (e *FormatError) In(file string) *FormatError {
	if e.File == "" {
		e.File = file
	}
	return e
}

// Within names the member, key or node of the file, unless one is named already.
func (e *FormatError) Within(record string) *FormatError {
	if e.Record == "" {
		e.Record = record
	}
	return e
}

// At sets the byte offset, unless one is set already.
func (e *FormatError) At(offset int64) *FormatError {
	if e.Offset < 0 {
		e.Offset = offset
	}
	return e
}

// Of names the tensor, unless one is named already.
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
	if e := (*FormatError)(nil); errors.As(err, &e) {
		e.In(where.File).Within(where.Record).Of(where.Tensor)
	}
	return err
}
