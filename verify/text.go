package verify

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/logits"
)

// Check is one line of a verdict.
type Check struct {
	Name     string                  `json:"name"`              // "structure", "configuration", "weights", "quantised", "logits"
	OK       bool                    `json:"ok"`                // nothing is wrong
	Skipped  bool                    `json:"skipped,omitempty"` // the check could not be made; Summary says why
	Summary  string                  `json:"summary"`
	Failures strictjson.List[string] `json:"failures,omitempty,omitzero"` // each in one line, with full names in both checkpoints
	Notes    []string                `json:"notes,omitempty"`             // what is not a failure
	Of       string                  `json:"-"`                           // the checkpoint that it is of, for people, if the other has such a check: "source"
}

// Title names the check, and the checkpoint if there is such a check of the other: "logits of the source".
func (c *Check) Title() string {
	if c.Of == "" {
		return c.Name
	}
	return c.Name + " of the " + c.Of
}

// Checks returns the checks that were made, in order.
func (v *Verdict) Checks() []Check {
	var all []Check
	for _, s := range v.Sections() {
		c := Check{Name: s.Name, OK: s.OK, Skipped: s.Skipped, Summary: s.Summary, Notes: s.Notes}
		c.Failures = strictjson.NewList(s.Findings.Len(), func(i int) string { f := s.Findings.At(i); return f.String() })
		all = append(all, c)
	}
	for _, l := range v.Logits {
		c := Check{Name: "logits", OK: l.OK, Summary: l.Headline(), Notes: l.Notes}
		if LogitsOfSide(v) {
			c.Summary, c.Of = v.sideOf(l)+": "+c.Summary, OfSide(v, l)
		}
		c.Failures = strictjson.NewList(len(l.Faults), func(i int) string { return v.faultLine(v.place(l, l.Faults[i])) })
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

// Answer is the verdict in a few words, with what it allows: "the same model, rounded to float16", "not the same model",
// "not proven: the recording is not finite".
func (v *Verdict) Answer() string { return answer(v, text.Count[int64]) }

// KindOf returns the Answer of a verdict without the numbers of elements, which differ between the steps of a training run: "the same model,
// rounded to float16 (elements became infinite)".
func KindOf(v *Verdict) string {
	return answer(v, func(_ int64, noun string) string { return noun + "s" })
}

// answer returns the Answer of a verdict. count writes a number of things.
func answer(v *Verdict, count func(n int64, noun string) string) string {
	of := "the same model"
	if v.Converted == nil {
		of = "the model that was recorded"
	}
	stale := StaleRecords(v)
	switch {
	case v.Unproven != "":
		return "not proven: " + v.Unproven
	case !v.Same && v.Converted == nil && computes(v):
		return of + ", but not what transformers loads from this directory"
	case !v.Same && stale == nil:
		return "not " + of
	}
	if v.WeightsOnly {
		of = "the same weights"
	}
	of += basis(v, count)
	if w := v.Weights; w != nil && w.Rounded > 0 {
		of += ", " + cmp.Or(w.DTypes, map[bool]string{false: "rounded to ", true: "as "}[w.Kept]+w.RoundedTo)
		if w.Kept && w.Widened < w.Rounded {
			of += ", every value kept"
		}
		if w.Overflowed > 0 {
			of += fmt.Sprintf(" (%s became infinite)", count(w.Overflowed, "element"))
		}
	}
	if v.Config != nil && v.Config.loaded != "" {
		of += ", " + v.Config.loaded
	}
	if w := v.Weights; w != nil && w.Inexact > 0 {
		of += fmt.Sprintf(", but for %s of the embedding that transformers does not restore exactly", count(w.Inexact, "element"))
	}
	if v.lost != nil {
		of += ", but for " + inWords(v.lost)
	}
	if v.Settings != nil && len(v.Settings.Recorded) > 0 {
		of += ", with settings as recorded" + map[bool]string{false: ", not proven"}[showsRecorded(v, v.Settings.Recorded)]
	}
	if v.Config != nil && v.Config.noConfig {
		of += ", without a config.json"
	}
	if len(v.Given) > 0 {
		of += ", with " + inWords(v.Given) + " as given"
	}
	if v.Converted == nil && len(v.Logits) == 1 && len(v.Logits[0].Untold) > 0 { // all that it says is what the recording shows
		of += " (" + strings.Join(v.Logits[0].Doubts(), "; ") + ")"
	}
	if v.WeightsOnly {
		of += ", configuration and logits not compared"
	}
	if stale != nil {
		of += ", but " + sayStale(stale)
	}
	return of
}

// basis says what of the source was compared, if it is not the only model in it, whole and as it is: ", named ema_params in the source, with the adapter
// tuned merged, without score.weight of the source, without mask, which was not read".
func basis(v *Verdict, count func(n int64, noun string) string) string {
	of, side := "", "source"
	if v.Converted == nil {
		side = "checkpoint"
	}
	switch v.Model {
	case "":
	case ".":
		of = ", the one at the top level of the " + side
	default:
		of = ", named " + tensor.QuoteName(v.Model) + " in the " + side
	}
	if v.Adapter != "" {
		of += ", " + withAdapter(v)
	}
	if len(v.LeftOut) == 1 {
		of += ", without " + tensor.QuoteName(v.LeftOut[0]) + " of the source"
	} else if n := len(v.LeftOut); n > 0 {
		of += ", without " + count(int64(n), "tensor") + " of the source"
	}
	if len(v.Unread) == 1 {
		of += ", without " + tensor.QuoteName(v.Unread[0]) + ", which was not read"
	} else if n := len(v.Unread); n > 0 {
		of += ", without " + count(int64(n), "tensor") + ", which were not read"
	}
	if v.ignoredHead != "" {
		of += ", but for " + tensor.QuoteName(v.ignoredHead) + ", which the original implementation does not compute"
	}
	if v.dequantized {
		of += ", run dequantised"
	}
	return of
}

// SourceName names what the conversion of a verdict was compared with: "the source", or "the source with the adapter tuned merged".
func SourceName(v *Verdict) string {
	if v.Adapter == "" {
		return "the source"
	}
	return "the source " + withAdapter(v)
}

func withAdapter(v *Verdict) string {
	adapter := "with the adapter "
	if name := storage.BaseName(v.Adapter); name != "adapter" {
		adapter += tensor.QuoteName(name) + " "
	}
	return adapter + "merged" + map[bool]string{true: " in part"}[v.partly]
}

// computes reports whether all recorded logits are computed. A checkpoint alone then fails because of its names, its files or its config.json.
func computes(v *Verdict) bool {
	return len(v.Logits) > 0 && !isRefuted(v.Logits)
}

// TensorNames adds the names in the other checkpoint to names of tensors: "NAME (OTHER)".
func (v *Verdict) TensorNames(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = name
		if other := v.counterpart(name); other != "" && other != name {
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
	for i := range v.Weights.Converted.Len() {
		t := v.Weights.Converted.At(i)
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

// WriteText writes a verdict for people: a line for each check, with the figures of logits below theirs, and then what is wrong.
// What is wrong in the same way in several layers is one line, and what wrong weights or a wrong configuration do to the logits stands below them. If a
// check has more than 20 lines, the rest is counted, and all says how to see it. Of wholly another model only the sizes that differ are
// shown. With "" there is no limit. Text from files is
// escaped, so that it cannot control a terminal.
func WriteText(w io.Writer, v *Verdict, all string) error {
	out := &textWriter{w: w}
	v.writeTable(out)
	for _, s := range v.Sections() {
		if v.another && all != "" && (s.Section == v.Structure || s.Section == v.Config) {
			continue // the summaries have said it
		}
		most := maxLines
		if all == "" {
			most = s.Findings.Len()
		}
		lines, groups, n := v.lines(s.Findings, most)
		consequences, places := v.consequences(s.Name)
		also := ""
		if len(consequences) > 0 {
			also = ", and what follows in the logits" // is counted with them
		}
		out.failures(s.Name, n, also, lines, groups, all)
		out.consequences(consequences, places, all)
	}
	for _, l := range v.Logits {
		var faults []string
		n := 0
		for _, f := range v.Faults(l) {
			if f.Check == "" {
				faults = append(faults, text.Printable(v.faultLine(f)))
				n += max(1, f.Places)
			}
		}
		check := Check{Name: "logits"}
		if LogitsOfSide(v) {
			check.Of = OfSide(v, l)
		}
		out.failures(check.Title(), n, "", faults, len(faults), all)
	}
	for _, c := range v.Checks() {
		for _, note := range c.Notes {
			out.printf("note: %s: %s\n", c.Title(), text.Printable(note))
		}
	}
	for _, note := range v.Notes {
		out.printf("note: %s\n", text.Printable(note))
	}
	if n := v.repeated(); n > 0 && all != "" {
		out.printf("\n%s of another model %s not listed (%s)\n", text.Count(n, "failure"), map[bool]string{true: "is", false: "are"}[n == 1], all)
	}
	out.printf("\n%s\n", v.Answer())
	return out.err
}

// repeated counts the failures that only repeat that the converted checkpoint is another model.
func (v *Verdict) repeated() (n int) {
	if v.another {
		n = v.Structure.Findings.Len()
		if v.Config != nil {
			n += v.Config.Findings.Len()
		}
	}
	return n
}

// writeTable writes the lines of the checks.
func (v *Verdict) writeTable(out *textWriter) {
	line := func(name, outcome, summary string) {
		out.printf("%-13s  %-4s  %s\n", name, outcome, text.Printable(summary))
	}
	for _, s := range v.Sections() {
		line(s.Name, Outcome(s.OK, s.Skipped), s.Summary)
	}
	for _, l := range v.Logits {
		side := v.sideOf(l)
		summary := l.Headline()
		if LogitsOfSide(v) {
			summary = side + ": " + summary
		}
		line("logits", Outcome(l.OK, false), summary)
		for _, metrics := range metricsLines(side, l) {
			out.printf("%21s%s\n", "", text.Printable(metrics))
		}
	}
	if v.another {
		return // how runtimes run another model is beside the point
	}
	if w := WindowNote(v); w != nil {
		line("window", "note", w.Summary)
	}
	if v.Runtime != nil {
		line("runtime", "note", v.Runtime.Summary)
		if v.Same && v.Weights.altered() != "" {
			for _, distance := range distanceLines(v.Runtime) {
				out.printf("%21s%s\n", "", distance)
			}
		}
	}
}

// LogitsOfSide reports whether the logits of one checkpoint say nothing of the other: of two that are not the same, or the same but for rounding or the division of the embedding, both were run, or the source alone.
func LogitsOfSide(v *Verdict) bool {
	return len(v.Logits) > 1 || v.Converted != nil && v.Structure != nil && (!isProvenSame(v) || v.Weights.altered() != "")
}

// isProvenSame reports whether both checkpoints have the same weights and configuration, whatever records of conversions say.
func isProvenSame(v *Verdict) bool {
	return v.Structure != nil && v.Structure.OK && v.Config != nil && (v.Config.OK || v.Config.onlyRecords()) && v.Weights != nil && v.Weights.OK && v.Quantized == nil
}

// sideOf names the checkpoint whose logits a result has.
func (v *Verdict) sideOf(l *logits.Result) string {
	switch {
	case v.Converted == nil:
		return "model"
	case v.Source != nil && l.Checkpoint == v.Source.Path:
		return "source"
	}
	return "converted"
}

// OfSide names the checkpoint whose logits a result of one of two has, in a sentence: "source" or "converted checkpoint".
func OfSide(v *Verdict, l *logits.Result) string {
	if side := v.sideOf(l); side != "converted" {
		return side
	}
	return "converted checkpoint"
}

// maxLines is how many lines a check has for what is wrong.
const maxLines = 20

// failures writes what is wrong. n failures are shown in the lines, which are printable and the first of so many groups. The heading says that
// there are more lines than theirs.
func (t *textWriter) failures(check string, n int, also string, lines []string, groups int, all string) {
	if n == 0 {
		return
	}
	t.printf("\n%s: %s%s\n", check, text.Count(n, "failure"), also)
	shown := lines
	if all != "" && len(lines) > maxLines {
		shown = lines[:maxLines]
	}
	for _, line := range shown {
		t.printf("  %s\n", line)
	}
	if more := groups - len(shown); more > 0 {
		t.printf("  ... %s more (%s)\n", text.Grouped(int64(more)), all)
	}
}

// maxConsequences is how many lines say what the failures of a check do to the logits, if there are more than one more.
const maxConsequences = 3

// consequences writes what the failures of a check do to the logits. Each line stands for so many places.
func (t *textWriter) consequences(lines []string, places []int, all string) {
	shown := lines
	if all != "" && len(lines) > maxConsequences+1 {
		shown = lines[:maxConsequences]
	}
	for _, line := range shown {
		t.printf("  %s\n", text.Printable(line))
	}
	more := 0
	for _, n := range places[len(shown):] {
		more += n
	}
	if more > 0 {
		t.printf("  ... and in %s more places of the logits (%s)\n", text.Grouped(int64(more)), all)
	}
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

// metricsLines has a line for each pass with the metrics that people compare models by: how far the fixture is from the checkpoint as an
// implementation computes it. Passes without any, because logits are not finite, have one line.
func metricsLines(side string, l *logits.Result) (lines []string) {
	var unknown []string
	for i := range l.Metrics {
		m := &l.Metrics[i]
		f := m.Fixture
		if math.IsNaN(float64(f.Largest)) {
			unknown = append(unknown, logits.PassTitle(m.Pass))
			continue
		}
		lines = append(lines, fmt.Sprintf("%s, run as %s, %s: largest difference %.3g, mean %.3g, NMSE %.1f dB, KL mean %.2g, 95%% %.2g, largest %.2g, top-1 %.4g%%, top-10 %.4g%%",
			side, l.Semantics, logits.PassTitle(m.Pass), float64(f.Largest), float64(f.Mean), float64(f.NMSE), float64(f.KLMean), float64(f.KLP95), float64(f.KLMax), 100*float64(f.Top1), 100*float64(f.Top10)))
	}
	if unknown != nil {
		lines = append(lines, fmt.Sprintf("%s, run as %s, %s: logits that are not finite", side, l.Semantics, strings.Join(unknown, ", ")))
	}
	return lines
}

// distanceLines say how far a conversion that was rounded is from its source, as which runtimes each was run, and if these diverge, how far it is
// if both are run as the original.
func distanceLines(r *RuntimeResult) (lines []string) {
	at := "at the tokens of the recording"
	if r.Rounding != nil {
		lines = append(lines, "conversion against source, both run as original, "+at+": "+distanceWords(r.Rounding))
	}
	if r.Part {
		if r.Pass != "" {
			at = "at the tokens of its " + r.Pass + " rows"
		}
		at = "rounding and divergence together, " + at
	}
	if r.Metrics != nil {
		as := "both run as " + r.SourceAs
		if r.SourceAs != r.ConvertedAs {
			as = "run as " + r.ConvertedAs + " and " + r.SourceAs
		}
		lines = append(lines, "conversion against source, "+as+", "+at+": "+distanceWords(r.Metrics))
	}
	return lines
}

func distanceWords(m *logits.Metrics) string {
	if math.IsNaN(float64(m.Largest)) {
		return "logits that are not finite"
	}
	return fmt.Sprintf("largest difference %.3g, mean %.3g, KL mean %.2g, largest %.2g, top-1 %.4g%%", float64(m.Largest), float64(m.Mean), float64(m.KLMean), float64(m.KLMax), 100*float64(m.Top1))
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

// withoutDirectory returns the message of an error with the base name of the checkpoint's path: verdicts are published.
func withoutDirectory(err error) string {
	bad, ok := errors.AsType[*tensor.FormatError](err)
	if !ok || bad.File == "" {
		return err.Error()
	}
	named := *bad
	named.File = storage.BaseName(bad.File)
	return named.Error()
}
