// Package terminal shows colours and progress: colours if a terminal is written to, progress on one line of a terminal or as lines
// of a log.
package terminal

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"

	"golang.org/x/term"
)

// Mode says how progress is shown.
type Mode string

const (
	Auto  Mode = "auto"  // a line that changes if a terminal is written to, otherwise nothing
	Plain Mode = "plain" // a new line every ten seconds
	None  Mode = "none"
)

// Output is standard error with a way of showing progress.
type Output struct {
	io.Writer
	Mode Mode
}

// Unwrap returns what is written to.
func (o *Output) Unwrap() io.Writer { return o.Writer }

// Is reports whether w, or what it wraps, writes to a terminal.
func Is(w io.Writer) bool {
	_, ok := width(w)
	return ok
}

// width returns the columns of the terminal to which w writes.
func width(w io.Writer) (columns int, ok bool) {
	switch w := w.(type) {
	case interface{ Unwrap() io.Writer }:
		return width(w.Unwrap())
	case *os.File:
		if fd := int(w.Fd()); term.IsTerminal(fd) {
			columns, _, err := term.GetSize(fd)
			if err != nil || columns <= 0 {
				columns = 80
			}
			return columns, true
		}
	}
	return 0, false
}

// Colourful reports whether text that is written to w may have colours: w is a terminal that has some, or CLICOLOR_FORCE is set, and neither
// NO_COLOR (no-color.org) nor CLICOLOR=0 asks for none.
func Colourful(w io.Writer) bool {
	switch {
	case os.Getenv("NO_COLOR") != "":
		return false
	case os.Getenv("CLICOLOR_FORCE") != "" && os.Getenv("CLICOLOR_FORCE") != "0":
		return true
	case os.Getenv("CLICOLOR") == "0" || os.Getenv("TERM") == "dumb":
		return false
	case runtime.GOOS == "windows" && os.Getenv("WT_SESSION") == "" && os.Getenv("TERM") == "":
		return false // older consoles print the codes
	}
	return Is(w)
}

const (
	green  = "\x1b[32m"
	red    = "\x1b[1;31m"
	yellow = "\x1b[33m"
	reset  = "\x1b[0m"
)

// outcome matches the lines of a verdict and of a difference that say how it is: "weights  FAIL  …", "result   equal", "the same model, …",
// "not proven: …".
var outcome = regexp.MustCompile(`(?m)^([a-z]+ +)(ok|FAIL)( |$)|^(result +)(equal|different)\b|^((?:not )?the same model|not proven)\b`)

// WithOutcomes returns a text in which good outcomes are green, bad ones red, and what is not proven yellow.
func WithOutcomes(text []byte) []byte {
	return outcome.ReplaceAllFunc(text, func(line []byte) []byte {
		m := outcome.FindSubmatch(line)
		before, word, after := append(m[1], m[4]...), append(append(m[2], m[5]...), m[6]...), m[3]
		colour := green
		switch s := string(word); {
		case s == "not proven":
			colour = yellow
		case s == "FAIL" || s == "different" || strings.HasPrefix(s, "not"):
			colour = red
		}
		return bytes.Join([][]byte{before, []byte(colour), word, []byte(reset), after}, nil)
	})
}
