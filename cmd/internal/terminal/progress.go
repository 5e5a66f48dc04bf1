package terminal

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

const (
	redrawEvery = 100 * time.Millisecond // on a terminal
	lineEvery   = 10 * time.Second       // in a log
	rateOver    = 15 * time.Second       // time over which the rate is measured
)

// Progress shows how many bytes, or other units, of a task are done, the rate, and the time left. It is safe for concurrent use. A nil *Progress
// shows nothing.
type Progress struct {
	w     io.Writer
	mode  Mode
	verb  string
	total int64
	now   func() time.Time
	text  func(n int64) string // writes an amount

	mu      sync.Mutex
	done    int64
	shown   time.Time // when the last line was written
	samples []sample  // one a second at the most, over rateOver
}

type sample struct {
	at   time.Time
	done int64
}

// NewProgress returns the progress of total bytes, -1 if it is not known how many, or nil if it is not to be shown on w.
func NewProgress(w io.Writer, verb string, total int64) *Progress {
	return NewCount(w, verb, total, tensor.SizeString)
}

// NewCount is NewProgress of other units than bytes. text writes an amount with its unit: "12 tokens".
func NewCount(w io.Writer, verb string, total int64, text func(n int64) string) *Progress {
	mode := Auto
	if out, ok := w.(*Output); ok {
		mode = out.Mode
	}
	if total == 0 || mode == None || mode != Plain && !Is(w) {
		return nil
	}
	return newProgress(w, mode, verb, total, text, time.Now)
}

func newProgress(w io.Writer, mode Mode, verb string, total int64, text func(n int64) string, now func() time.Time) *Progress {
	start := now()
	return &Progress{w: w, mode: mode, verb: verb, total: total, text: text, now: now, shown: start, samples: []sample{{start, 0}}}
}

// Add adds n to what is done.
func (p *Progress) Add(n int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(p.done + n)
}

// Set shows that n are done.
func (p *Progress) Set(n int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(n)
}

// Done removes the line from the terminal.
func (p *Progress) Done() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	Clear(p.w)
}

// shown is how many columns of a line of progress are on the terminal.
var shown atomic.Int64

// Clear removes the line of progress from the terminal, if there is one. It is for a process that ends before what showed the line does.
func Clear(w io.Writer) {
	if columns := shown.Swap(0); columns > 0 {
		fmt.Fprintf(w, "\r%*s\r", columns, "")
	}
}

func (p *Progress) set(n int64) {
	all := p.done < p.total && n >= p.total && p.mode != Plain // what comes after that may take long and say nothing
	p.done = n
	now := p.now()
	every := redrawEvery
	if p.mode == Plain {
		every = lineEvery
	}
	if now.Sub(p.shown) < every && !(all && shown.Load() > 0) {
		return
	}
	p.shown = now
	rate := p.rate(now)
	if p.mode == Plain {
		fmt.Fprintf(p.w, "%s: %s\n", p.verb, strings.Join(p.parts(rate), ", "))
		return
	}
	columns, _ := width(p.w)
	line := p.line(columns-1, rate) // a full line would begin the next one
	fmt.Fprintf(p.w, "\r%-*s", shown.Swap(int64(len(line))), line)
}

// rate returns what was done a second in the last rateOver, and remembers the present.
func (p *Progress) rate(now time.Time) float64 {
	for len(p.samples) > 1 && now.Sub(p.samples[1].at) > rateOver {
		p.samples = p.samples[1:]
	}
	first := p.samples[0]
	if now.Sub(p.samples[len(p.samples)-1].at) >= time.Second {
		p.samples = append(p.samples, sample{now, p.done})
	}
	return float64(p.done-first.done) / now.Sub(first.at).Seconds()
}

// parts returns what is said, the most important first.
func (p *Progress) parts(rate float64) []string {
	if p.total < 0 {
		return []string{p.text(p.done), p.text(int64(rate)) + "/s"}
	}
	done := min(p.done, p.total)
	parts := []string{fmt.Sprintf("%s of %s", p.text(done), p.text(p.total))}
	switch {
	case done == p.total: // of what is counted
		return append(parts, "finishing")
	case rate <= 0:
		return parts
	}
	left := time.Duration(float64(p.total-done) / rate * float64(time.Second))
	return append(parts, p.text(int64(rate))+"/s", Duration(left)+" left")
}

// line returns what fits into a number of columns.
func (p *Progress) line(columns int, rate float64) string {
	parts := p.parts(rate)
	percent := parts[0]
	if p.total > 0 {
		percent = fmt.Sprintf("%d%%", 100*min(p.done, p.total)/p.total)
	}
	said := strings.Join(parts, ", ")
	for _, line := range []string{
		p.verb + "  " + p.bar(columns-len(p.verb)-len(said)-4) + said,
		p.verb + "  " + said,
		said,
		parts[0] + ", " + parts[len(parts)-1],
		parts[0],
		percent,
	} {
		if len(line) <= columns {
			return line
		}
	}
	return ""
}

// bar returns a bar of at most 40 columns and a space after it, "" if there is little room.
func (p *Progress) bar(columns int) string {
	columns = min(columns-3, 40)
	if columns < 10 || p.done >= p.total {
		return ""
	}
	full := int(int64(columns) * min(p.done, p.total) / p.total)
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", columns-full) + "]  "
}

// Duration returns a time in words: 0.1 s, 54 s, 1m54s, 2h05m.
func Duration(d time.Duration) string {
	switch s := int64(d.Round(time.Second) / time.Second); {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	default:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
}
