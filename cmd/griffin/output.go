package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// size returns a number of bytes in decimal units: 5.37 GB.
func size(n int64) string {
	for _, u := range []struct {
		unit string
		of   int64
	}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= u.of {
			return fmt.Sprintf("%.2f %s", float64(n)/float64(u.of), u.unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// count returns a number with its digits in groups of three: 2,682,862,080.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural returns a count and its noun: 1 tensor, 465 tensors.
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

// agree returns the form of a verb for n things: one for 1, many otherwise.
func agree(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// printable makes text from a file safe for a terminal: characters that cannot be shown are escaped.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) < 0 {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
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

func (l *lines) printf(format string, args ...any) { fmt.Fprintf(l, format, args...) }

// sizeUnits are those of transformers: decimal (GB) and binary (GiB).
var sizeUnits = []struct {
	suffix string
	bytes  float64
}{
	{"KIB", 1 << 10}, {"MIB", 1 << 20}, {"GIB", 1 << 30}, {"TIB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
}

// parseSize parses a size such as 5GB, 512MiB or 1000000.
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
	return 0, fmt.Errorf("%q is not a size: write 5GB, 512MiB or a number of bytes", s)
}

// progress is a bar on a terminal that shows how much is done, the rate and the time left. Its zero
// value shows nothing.
type progress struct{ bar *progressbar.ProgressBar }

// newProgress returns a bar for total bytes, or one that shows nothing if w is not a terminal.
func newProgress(w io.Writer, verb string, total int64) progress {
	if !isTerminal(w) || total == 0 {
		return progress{}
	}
	return progress{progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(verb),
		progressbar.OptionShowBytes(true),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionFullWidth(),
	)}
}

// add adds n bytes to what is done. It is safe for concurrent use.
func (p progress) add(n int64) {
	if p.bar != nil {
		_ = p.bar.Add64(n)
	}
}

// set shows that n bytes are done.
func (p progress) set(n int64) {
	if p.bar != nil {
		_ = p.bar.Set64(n)
	}
}

// done removes the bar from the terminal.
func (p progress) done() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// stages shows a bar for each stage of a task, one after the other.
type stages struct {
	stage string
	bar   progress
}

// set shows that done of total bytes of a stage are done. Another stage replaces the bar.
func (s *stages) set(w io.Writer, stage string, done, total int64) {
	if stage != s.stage {
		s.bar.done()
		s.stage, s.bar = stage, newProgress(w, stage, total)
	}
	s.bar.set(done)
}

// done removes the bar from the terminal.
func (s *stages) done() { s.bar.done() }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
