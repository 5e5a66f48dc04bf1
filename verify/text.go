package verify

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/griffin-ckpt/griffin/verify/internal/page"
	"github.com/griffin-ckpt/griffin/verify/logits"
)

// Check is one line of a verdict.
type Check struct {
	Name     string   `json:"name"`              // "structure", "configuration", "weights", "logits"
	OK       bool     `json:"ok"`                // nothing is wrong
	Skipped  bool     `json:"skipped,omitempty"` // the check could not be made; Summary says why
	Summary  string   `json:"summary"`
	Failures []string `json:"failures,omitempty"` // each in one line, with full names in both checkpoints
	Notes    []string `json:"notes,omitempty"`    // what is no failure
}

// Checks returns the checks that were made, in their order.
func (v *Verdict) Checks() []Check {
	var all []Check
	for _, part := range []struct {
		name    string
		section *Section
	}{{"structure", v.Structure}, {"configuration", v.Config}, {"weights", v.weightsSection()}} {
		s := part.section
		if s == nil {
			continue
		}
		c := Check{Name: part.name, OK: s.OK, Skipped: s.Skipped, Summary: s.Summary, Notes: s.Notes}
		for i := range s.Findings {
			c.Failures = append(c.Failures, s.Findings[i].String())
		}
		all = append(all, c)
	}
	for _, l := range v.Logits {
		c := Check{Name: "logits", OK: l.OK, Summary: l.Headline(), Notes: l.Notes}
		if len(v.Logits) > 1 {
			c.Summary = l.Checkpoint + ": " + c.Summary
		}
		for _, f := range l.Faults {
			c.Failures = append(c.Failures, v.faultLine(f))
		}
		all = append(all, c)
	}
	return all
}

func (v *Verdict) weightsSection() *Section {
	if v.Weights == nil {
		return nil
	}
	return &v.Weights.Section
}

// Answer is the verdict in a few words.
func (v *Verdict) Answer() string {
	of := "the same model"
	if v.Converted == nil {
		of = "the model that was recorded"
	}
	if !v.Same {
		return "not " + of
	}
	return of
}

// faultLine says where a fault is, and which tensors to look at.
func (v *Verdict) faultLine(f *logits.Fault) string {
	s := f.Detail
	if len(f.Tensors) == 0 {
		return s
	}
	return s + "; look at " + strings.Join(v.both(f.Tensors), ", ")
}

// both adds to the names of tensors those in the other checkpoint.
func (v *Verdict) both(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = name
		if other := v.counterpart(name); other != "" {
			out[i] += " (" + other + ")"
		}
	}
	return out
}

// counterpart returns a tensor's name in the other checkpoint, where the proof of the weights tells.
func (v *Verdict) counterpart(name string) string {
	if v.Weights == nil {
		return ""
	}
	var made []string
	for _, t := range v.Weights.Converted {
		if t.Name == name {
			return strings.Join(t.From, " + ")
		}
		for _, from := range t.From {
			if from == name {
				made = append(made, t.Name)
			}
		}
	}
	return strings.Join(made, " + ")
}

// WriteText writes a verdict as a short table for people: a line for each check, and what is wrong
// below it. Text that comes from files is made safe for a terminal.
func WriteText(w io.Writer, v *Verdict) error {
	out := &textWriter{w: w}
	checks := v.Checks()
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range checks {
		fmt.Fprintf(table, "%s\t%s\t%s\n", c.Name, outcome(c.OK, c.Skipped), page.Shown(c.Summary))
	}
	if v.Window != nil {
		fmt.Fprintf(table, "window\tnote\t%s\n", page.Shown(v.Window.Summary))
	}
	if v.Runtime != nil {
		fmt.Fprintf(table, "runtime\tnote\t%s\n", page.Shown(v.Runtime.Summary))
	}
	table.Flush()
	for _, l := range v.Logits {
		for i := range l.Metrics {
			out.printf("  %s\n", metricsLine(&l.Metrics[i]))
		}
	}
	for _, c := range checks {
		if len(c.Failures) > 0 {
			out.printf("\n%s: %s\n", c.Name, count(len(c.Failures), "failure"))
		}
		for _, f := range c.Failures {
			out.printf("  %s\n", page.Shown(f))
		}
	}
	for _, c := range checks {
		for _, note := range c.Notes {
			out.printf("note: %s: %s\n", c.Name, page.Shown(note))
		}
	}
	for _, note := range v.Notes {
		out.printf("note: %s\n", page.Shown(note))
	}
	out.printf("\n%s\n", v.Answer())
	return out.err
}

func outcome(ok, skipped bool) string {
	switch {
	case skipped:
		return "--"
	case ok:
		return "ok"
	}
	return "FAIL"
}

// metricsLine has the metrics that people compare models by.
func metricsLine(m *logits.PassMetrics) string {
	f := m.Fixture
	return fmt.Sprintf("%s logits: largest difference %.3g, mean %.3g, NMSE %.1f dB, KL mean %.2g, 95%% %.2g, largest %.2g, top-1 %.4g%%, top-10 %.4g%%",
		logits.PassTitle(m.Pass), float64(f.Largest), float64(f.Mean), float64(f.NMSE), float64(f.KLMean), float64(f.KLP95), float64(f.KLMax), 100*float64(f.Top1), 100*float64(f.Top10))
}

// textWriter remembers the first error, so that printing code reads straight on.
type textWriter struct {
	w   io.Writer
	err error
}

func (t *textWriter) Write(p []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	var n int
	n, t.err = t.w.Write(p)
	return n, t.err
}

func (t *textWriter) printf(format string, args ...any) { fmt.Fprintf(t, format, args...) }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
