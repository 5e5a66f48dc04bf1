package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

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
