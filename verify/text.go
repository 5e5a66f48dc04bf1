package verify

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/griffin-ckpt/griffin/verify/internal/text"
	"github.com/griffin-ckpt/griffin/verify/logits"
)

// Check is one line of a verdict.
type Check struct {
	Name     string   `json:"name"`              // "structure", "configuration", "weights", "quantised", "logits"
	OK       bool     `json:"ok"`                // nothing is wrong
	Skipped  bool     `json:"skipped,omitempty"` // the check could not be made; Summary says why
	Summary  string   `json:"summary"`
	Failures []string `json:"failures,omitempty"` // each in one line, with full names in both checkpoints
	Notes    []string `json:"notes,omitempty"`    // what is not a failure
}

// Checks returns the checks that were made, in order.
func (v *Verdict) Checks() []Check {
	var all []Check
	for _, s := range v.Sections() {
		c := Check{Name: s.Name, OK: s.OK, Skipped: s.Skipped, Summary: s.Summary, Notes: s.Notes}
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

// NamedSection is a section with the name of its check.
type NamedSection struct {
	Name string // "structure", "configuration", "weights" or "quantised"
	*Section
}

// Sections returns the sections of the checks that were made.
func (v *Verdict) Sections() []NamedSection {
	var all []NamedSection
	if v.Structure != nil {
		all = append(all, NamedSection{"structure", v.Structure})
	}
	if v.Config != nil {
		all = append(all, NamedSection{"configuration", v.Config})
	}
	if v.Weights != nil {
		all = append(all, NamedSection{"weights", &v.Weights.Section})
	}
	if v.Quantized != nil {
		all = append(all, NamedSection{"quantised", &v.Quantized.Section})
	}
	return all
}

// Answer is the verdict in a few words: "the same model", "not the same model".
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
	return s + "; look at " + strings.Join(v.TensorNames(f.Tensors), ", ")
}

// TensorNames adds the names in the other checkpoint to names of tensors: "NAME (OTHER)".
func (v *Verdict) TensorNames(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = name
		if other := v.counterpart(name); other != "" {
			out[i] += " (" + other + ")"
		}
	}
	return out
}

// counterpart returns a tensor's name in the other checkpoint, or "" if it is not known.
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

// WriteText writes a verdict for people: a table with a line for each check, and below it what is wrong. Text from files
// is escaped, so that it cannot control a terminal.
func WriteText(w io.Writer, v *Verdict) error {
	out := &textWriter{w: w}
	checks := v.Checks()
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range checks {
		fmt.Fprintf(table, "%s\t%s\t%s\n", c.Name, Outcome(c.OK, c.Skipped), text.Printable(c.Summary))
	}
	if v.Window != nil {
		fmt.Fprintf(table, "window\tnote\t%s\n", text.Printable(v.Window.Summary))
	}
	if v.Runtime != nil {
		fmt.Fprintf(table, "runtime\tnote\t%s\n", text.Printable(v.Runtime.Summary))
	}
	table.Flush()
	for _, l := range v.Logits {
		for i := range l.Metrics {
			out.printf("  %s\n", metricsLine(&l.Metrics[i]))
		}
	}
	for _, c := range checks {
		if len(c.Failures) > 0 {
			out.printf("\n%s: %s\n", c.Name, text.Count(len(c.Failures), "failure"))
		}
		for _, f := range c.Failures {
			out.printf("  %s\n", text.Printable(f))
		}
	}
	for _, c := range checks {
		for _, note := range c.Notes {
			out.printf("note: %s: %s\n", c.Name, text.Printable(note))
		}
	}
	for _, note := range v.Notes {
		out.printf("note: %s\n", text.Printable(note))
	}
	out.printf("\n%s\n", v.Answer())
	return out.err
}

// Outcome is the outcome of a check in a word: "ok", "FAIL", or "--" if it was skipped.
func Outcome(ok, skipped bool) string {
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

// textWriter keeps the first error, so that callers check it once.
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
