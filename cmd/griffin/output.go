package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/terminal"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// size returns a number of bytes in decimal units: 5.37 GB.
func size(n int64) string { return tensor.SizeString(n) }

// agree returns the form of a verb for n things: one for 1, many otherwise.
func agree(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// lines is a writer that remembers the first error, so that callers check it once, at the end.
type lines struct {
	w   io.Writer
	err error
}

func (l *lines) Write(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	n, err := l.w.Write(p)
	l.err = err
	return n, err
}

// Unwrap returns what is written to.
func (l *lines) Unwrap() io.Writer { return l.w }

func (l *lines) printf(format string, args ...any) { fmt.Fprintf(l, format, args...) }

// sizeUnits are those of transformers: decimal (GB) and binary (GiB).
var sizeUnits = []struct {
	suffix string
	bytes  float64
}{
	{"KIB", 1 << 10}, {"MIB", 1 << 20}, {"GIB", 1 << 30}, {"TIB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// parseSize parses a size such as 5GB or 512MiB. A number alone is refused: 5 is rather meant as 5GB than as 5 bytes.
func parseSize(s string) (int64, error) {
	text := strings.ToUpper(strings.TrimSpace(s))
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		x, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(x*u.bytes >= 1) || x*u.bytes > math.MaxInt64/2 {
			break
		}
		return int64(x * u.bytes), nil
	}
	return 0, fmt.Errorf("%q is not a size: write a number with its unit, such as 5GB, 512MiB or 1000000B", s)
}

// stages shows the progress of each stage of a task, one after the other.
type stages struct {
	stage string
	bar   *terminal.Progress
}

// set shows that done of total bytes of a stage are done. Another stage replaces the line.
func (s *stages) set(w io.Writer, stage string, done, total int64) {
	if stage != s.stage {
		s.bar.Done()
		s.stage, s.bar = stage, terminal.NewProgress(w, stage, total)
	}
	s.bar.Set(done)
}

// done removes the line from the terminal.
func (s *stages) done() { s.bar.Done() }

// progressFlag chooses how a command shows progress.
func progressFlag() cli.Flag {
	return &cli.StringFlag{Name: "progress", Value: string(terminal.Auto), Usage: "show progress in `STYLE`: auto (a line of a terminal) or plain (a new line every ten seconds, for logs)"}
}

// quietFlag silences a command. If its exit status does not say enough, the result is still printed.
func quietFlag(command string) cli.Flag {
	usage := "print nothing but errors, and --json"
	if printsResult(command) {
		usage = "print the result and errors, neither progress nor notes"
	}
	return &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: usage}
}

// printsResult reports whether a command is run for what it prints.
func printsResult(command string) bool {
	return slices.Contains([]string{"generate", "inspect", "perplexity"}, command)
}

// notes returns what the notes of a command are written to.
func notes(c *cli.Context) io.Writer {
	if c.Bool("quiet") {
		return io.Discard
	}
	return c.App.ErrWriter
}

// note prints a note of a command.
func note(c *cli.Context, format string, args ...any) {
	fmt.Fprintf(notes(c), "note: %s\n", text.Printable(fmt.Sprintf(format, args...)))
}

// outputs returns what a command writes to, as --progress and --quiet among its arguments ask for.
func outputs(args []string, stdout, stderr io.Writer) (io.Writer, io.Writer) {
	mode := terminal.Auto
	for _, arg := range args {
		flag, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if f, ok := stdout.(*os.File); ok && (flag == "report" || flag == "card") {
			signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // writes return an error in place of ending the process
			stdout = &pageOutput{file: f}
		}
		switch arg {
		case "--":
			return stdout, &terminal.Output{Writer: stderr, Mode: mode}
		case "--progress=plain":
			mode = terminal.Plain
		case "--quiet", "-q", "--quiet=true":
			mode = terminal.None
			if !printsResult(args[1]) && !wantsJSON(args) {
				stdout = io.Discard
			}
		}
	}
	return stdout, &terminal.Output{Writer: stderr, Mode: mode}
}

// pageOutput is standard output of a command that also writes a page. If a pipe is closed, as head does, the rest of the text is dropped,
// and the page is written all the same.
type pageOutput struct {
	file   *os.File
	closed bool
}

func (o *pageOutput) Write(p []byte) (int, error) {
	if o.closed {
		return len(p), nil
	}
	n, err := o.file.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		o.closed = true
		return len(p), nil
	}
	return n, err
}

// Unwrap returns what is written to.
func (o *pageOutput) Unwrap() io.Writer { return o.file }

// printOutcomes prints what a function writes, with coloured outcomes on a terminal.
func printOutcomes(w io.Writer, print func(w io.Writer) error) error {
	if !terminal.Colourful(w) {
		return print(w)
	}
	var b bytes.Buffer
	err := print(&b)
	_, failed := w.Write(terminal.WithOutcomes(b.Bytes()))
	return errors.Join(err, failed)
}
