package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/report/internal/chart"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

//go:embed verdict.html.tmpl
var verdictText string

// WriteVerdict writes a verdict that has Facts as a page.
func WriteVerdict(path string, v *verify.Verdict, o Origin) error {
	g := newVerdictPage(v)
	return write(path, g.document(o), verdictBody, g)
}

var verdictBody = page.Parse("verdict", verdictText, template.FuncMap{"outcome": verify.Outcome, "source": verify.SourceName, "share": shareText})

// shareText writes how many times its limit an error is, "" for one that is not finite.
func shareText(x verify.Number) string {
	if v := float64(x); math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	return page.Number(x)
}

// verdictPage is what the template shows.
type verdictPage struct {
	Verdict  *verify.Verdict
	Golden   *verify.GoldenFacts
	Lines    []verify.Check
	Findings []findingGroup
	Logits   []*logitsPart // of the source first
	Settings *page.Table
	Tensors  *page.Table // nil if they were not compared
	Window   *runtime.Window
}

// findingGroup has the findings of one check.
type findingGroup struct {
	Check    string
	Findings strictjson.List[verify.Finding]
	Shown    []*shownFindings // the first groups of them
	All      *page.Table      // if there are more than the page describes one by one
}

// shownFindings are findings that say the same of several tensors, or a single one.
type shownFindings struct {
	ID, Title           string
	First               verify.Finding
	Count               int
	Differing, Elements int64
	Faults              []faultPart // what it does to the logits
	indexes             []int       // of findingGroup.Findings
	Change              string      // what was done to all of them: "mlp_block renamed to mlp"; "" if Title or First says it
	Described           bool        // the summary of the check says what they do
}

// Names are the names of the first tensor in the source and in the converted checkpoint; nil if the title is both.
func (f *shownFindings) Names() []string {
	if names := []string{f.First.SourceName, f.First.ConvertedName}; names[0] != f.Title || names[1] != f.Title {
		return names
	}
	return nil
}

// More are the faults after the first.
func (f *shownFindings) More() []faultPart { return f.Faults[min(1, len(f.Faults)):] }

// MorePlaces counts the faults that those stand for.
func (f *shownFindings) MorePlaces() int { return places(f.More()) }

// maxDescribed is how many groups of findings of one check are described one by one.
const maxDescribed = 12

// newFindingGroup returns the findings of the k-th check that failed. Of wholly another model only the table is shown.
func newFindingGroup(v *verify.Verdict, k int, s verify.NamedSection) findingGroup {
	group := findingGroup{Check: s.Name, Findings: s.Findings}
	alone := 0
	for i, g := range v.GroupFindings(s.Findings) {
		if v.Another() || i == maxDescribed {
			break
		}
		shown := &shownFindings{ID: fmt.Sprintf("finding%d-%d", k, i), Title: strings.Join(g.Where(s.Findings), " "), First: s.Findings.At(g.Findings[0]), Count: len(g.Findings), indexes: g.Findings, Described: g.Described(), Change: g.Change(s.Findings)}
		shown.Differing, shown.Elements = g.Count(s.Findings)
		if shown.Count == 1 {
			alone++
		}
		group.Shown = append(group.Shown, shown)
	}
	if alone < s.Findings.Len() {
		group.All = findingsTable(s.Findings)
	}
	return group
}

// wrong names what is wrong: a few things of each check.
func (g *verdictPage) wrong() []page.Link {
	const most = 3
	var all []page.Link
	for _, group := range g.Findings {
		left := group.Findings.Len()
		for i, f := range group.Shown {
			if i == most && len(group.Shown) > most+2 {
				all = append(all, page.Link{Text: fmt.Sprintf("%s: and %s more", group.Check, text.Grouped(int64(left))), To: group.ID()})
				break
			}
			what := group.Check + ": " + f.Title
			if f.Change != "" {
				what += ", " + f.Change
			}
			all = append(all, page.Link{Text: what, To: f.ID})
			left -= f.Count
		}
	}
	for _, l := range g.Logits {
		what := "logits"
		if l.Of != "" {
			what += " of the " + l.Of
		}
		shown := l.Where
		if len(shown) > most+1 {
			shown = shown[:most]
		}
		for _, f := range shown {
			what := what + ": " + strings.ToLower(f.Title[:1]) + f.Title[1:]
			if f.Cause != "" {
				what += ", explained by " + f.Cause
			}
			all = append(all, page.Link{Text: what, To: f.ID})
		}
		if more := l.Places() - places(shown); more > 0 {
			all = append(all, page.Link{Text: fmt.Sprintf("%s: and %s more", what, text.Grouped(int64(more))), To: l.Where[len(shown)].ID})
		}
	}
	return all
}

// Fails reports whether a check of the conversion itself fails.
func (g *verdictPage) Fails() bool {
	return g.Verdict.Unproven == "" && slices.ContainsFunc(g.Verdict.Sections(), func(s verify.NamedSection) bool { return !s.OK })
}

// FactsOfConverted reports whether the facts about runtimes are of the converted checkpoint, and not of the source: they are of the one in the
// Hugging Face layout.
func (g *verdictPage) FactsOfConverted() bool {
	return g.Verdict.Converted.Layout == "huggingface"
}

// Explained reports whether the page describes a failure one by one.
func (g *verdictPage) Explained() bool {
	return len(g.Findings) > 0 || slices.ContainsFunc(g.Logits, func(l *logitsPart) bool { return len(l.Where) > 0 })
}

// Title is the name of the check at the beginning of a line.
func (g *findingGroup) Title() string { return strings.ToUpper(g.Check[:1]) + g.Check[1:] }

// ID is the id of the group in the page.
func (g *findingGroup) ID() string { return "findings-" + g.Check }

// Sentence begins a paragraph, which may begin with the path of a checkpoint.
func (g *verdictPage) Sentence(s string) template.HTML {
	var paths []string
	for _, f := range []*verify.CheckpointFacts{g.Verdict.Facts.Source, g.Verdict.Facts.Converted} {
		if f != nil {
			paths = append(paths, f.Path)
		}
	}
	return page.Sentence(s, paths...)
}

// document returns what the page shows around its body.
func (g *verdictPage) document(o Origin) *page.Document {
	v := g.Verdict
	answer := v.Answer()
	d := &page.Document{Kind: "Verification", Answer: strings.ToUpper(answer[:1]) + answer[1:], Tone: page.Wrong, Lead: lead(v, g.Lines), Points: g.wrong(),
		Command: o.Command, Version: v.Griffin, Time: o.Time}
	switch {
	case v.Same:
		d.Tone = page.Good
	case v.Unproven != "":
		d.Tone = page.Open
	}
	verified := v.Facts.Source
	role := "Checkpoint"
	if v.Facts.Converted != nil {
		verified, role = v.Facts.Converted, "Source"
	}
	d.Title = "verify: " + answer + ": " + text.Printable(filepath.Base(verified.Path))
	for _, f := range []*verify.CheckpointFacts{v.Facts.Source, v.Facts.Converted} {
		if f != nil {
			d.Subjects = append(d.Subjects, checkpointSubject(role, f))
		}
		role = "Converted"
	}
	if a := v.Facts.Adapter; a != nil {
		d.Subjects = slices.Insert(d.Subjects, 1, adapterSubject(v.Adapter, a))
	}
	if f := g.Golden; f != nil {
		d.Subjects = append(d.Subjects, page.Subject{Role: "Golden fixture", Path: f.Path, Facts: []page.Fact{
			{Name: "recorded by", Value: fmt.Sprintf("%s in %s", f.Implementation, f.DType)}, {Name: "digest", Value: f.Named(), Code: true}}})
	}
	return d
}

func checkpointSubject(role string, f *verify.CheckpointFacts) page.Subject {
	s := page.Subject{Role: role, Path: f.Path, Facts: []page.Fact{{Name: "format", Value: f.Format + ", " + f.Layout + " layout"}}}
	if f.Prefix != "" {
		s.Facts = append(s.Facts, page.Fact{Name: "prefix", Value: f.Prefix, Code: true})
	}
	if f.Parameters > 0 {
		s.Facts = append(s.Facts, page.Fact{Name: "parameters", Value: text.Grouped(f.Parameters)})
	}
	for _, x := range []page.Fact{{Name: "weights", Value: f.Digest}, {Name: "config.json", Value: named("blake3", f.ConfigBLAKE3)}, {Name: "config.json", Value: named("sha256", f.ConfigSHA256)}} {
		if x.Value != "" {
			x.Code = true
			s.Facts = append(s.Facts, x)
		}
	}
	return s
}

// adapterSubject shows an adapter that was merged into the source.
func adapterSubject(path string, a *verify.AdapterFacts) page.Subject {
	s := page.Subject{Role: "Adapter", Path: path, Facts: []page.Fact{{Name: "type", Value: fmt.Sprintf("%s, rank %d", a.Type, a.Rank)}, {Name: "changes", Value: text.Count(a.Changes, "parameter")}}}
	for _, f := range a.Files {
		s.Facts = append(s.Facts, page.Fact{Name: "file", Value: f.Name + " " + f.Named(), Code: true})
	}
	return s
}

func named(algorithm, digest string) string {
	if digest == "" {
		return ""
	}
	return algorithm + ":" + digest
}

// logitsPart is one comparison with the fixture.
type logitsPart struct {
	*logits.Result
	ID       string
	Of       string // "source" or "converted checkpoint", if there are both
	Headline string
	Full     int // position from which on the attention window is full; 0 for none
	Where    []faultPart
	Charts   []*chart.Chart
	Metrics  *page.Table // nil without any
	Tokens   *page.Table // the worst tokens; nil without any
	Total    int         // tokens
	Outputs  *page.Table // all outputs; nil without any
}

// Places returns how many places are at fault.
func (l *logitsPart) Places() int { return places(l.Where) }

// places counts the faults that some stand for.
func places(all []faultPart) (n int) {
	for _, f := range all {
		n += max(1, f.Fault.Places)
	}
	return n
}

// faultPart is a place at fault, with the plot of its tokens.
type faultPart struct {
	*verify.Fault
	ID     string
	Title  string
	Line   string           // Title, where and how far, in a sentence, if findings cause it
	Above  string           // what causes it with which it stands
	Others []*shownFindings // that cause it too
	Look   [][]string       // tensors: the name in one checkpoint, and in the other if it has another
	Chart  *chart.Chart
}

// tokenRow is a token whose distribution differs from float64.
type tokenRow struct {
	Pass             string
	Row, Token       int
	Position, ID     int32
	KL, Largest      float64
	Ours, Theirs     int  // the most likely next token, or -1 if there is none
	TopDiffers, Deep bool // another most likely next token; the attention window is full
}

func newVerdictPage(v *verify.Verdict) *verdictPage {
	g := &verdictPage{Verdict: v, Golden: v.Facts.Golden, Lines: v.Checks(), Settings: settingsTable(v), Window: verify.WindowNote(v)}
	for _, s := range v.Sections() {
		if s.Findings.Len() == 0 {
			continue
		}
		g.Findings = append(g.Findings, newFindingGroup(v, len(g.Findings), s))
	}
	for i, l := range v.Logits {
		part := newLogitsPart(l, v, i)
		if verify.LogitsOfSide(v) {
			part.Of = verify.OfSide(v, l)
		}
		g.attach(part)
		g.Logits = append(g.Logits, part)
	}
	slices.SortStableFunc(g.Logits, func(a, b *logitsPart) int { return -cmp.Compare(a.Of, b.Of) }) // the source first
	if v.Weights != nil && v.Weights.Converted.Len() > 0 {
		g.Tensors = tensorsTable(v.Weights.Converted)
	}
	return g
}

// attach moves the faults of a part that findings of other checks cause to the first of those, if the page describes it.
func (g *verdictPage) attach(part *logitsPart) {
	var rest []faultPart
	for _, f := range part.Where {
		shown := g.shown(f.Check, f.Findings)
		if shown == nil {
			rest = append(rest, f)
			continue
		}
		of := ""
		if part.Of != "" {
			of = " of the " + part.Of
		}
		f.Title = "In the logits" + of + ": " + strings.ToLower(f.Title[:1]) + f.Title[1:]
		f.Line = "In the logits" + of + ": " + f.Symptom()
		if f.Above, f.Others = "the tensors above", g.others(f.Check, f.Findings, shown); shown.First.Field != "" {
			f.Above = "what is above"
		}
		consequence := *f.Fault.Fault
		consequence.Cause = "" // the finding is the cause
		f.Fault, f.Look = &verify.Fault{Fault: &consequence}, nil
		shown.Faults = append(shown.Faults, f)
	}
	part.Where = rest
}

// shown returns what the page shows of the first of some findings of a check, nil if it does not.
func (g *verdictPage) shown(check string, findings []int) *shownFindings {
	for _, group := range g.Findings {
		for _, s := range group.Shown {
			if group.Check == check && len(findings) > 0 && slices.Contains(s.indexes, findings[0]) {
				return s
			}
		}
	}
	return nil
}

// others returns what else the page shows of the findings of a check.
func (g *verdictPage) others(check string, findings []int, shown *shownFindings) (all []*shownFindings) {
	for _, group := range g.Findings {
		for _, s := range group.Shown {
			if group.Check == check && s != shown && slices.ContainsFunc(s.indexes, func(i int) bool { return slices.Contains(findings, i) }) {
				all = append(all, s)
			}
		}
	}
	return all
}

// lead says in a sentence what the verdict is based on.
func lead(v *verify.Verdict, checks []verify.Check) string {
	if v.Another() {
		what := text.Printable(v.Structure.Summary)
		return strings.ToUpper(what[:1]) + what[1:] + "."
	}
	if v.Unproven != "" {
		return unprovenLead(v)
	}
	if !v.Same {
		return failuresLead(v, checks)
	}
	var parts []string
	if w := v.Weights; w != nil {
		of := text.Printable(verify.SourceName(v))
		how := "is identical to " + of + ", bit for bit"
		switch {
		case w.DTypes == "" && w.Rounded > 0 && w.Rounded == w.Widened:
			how = "has the value that " + of + " has, in " + w.RoundedTo
		case w.Rounded > 0:
			how = "is identical to " + of + ", correctly rounded where the dtype changed"
		}
		if w.Divided > 0 {
			how += ", the embedding divided by the factor that transformers multiplies it by"
		}
		parts = append(parts, fmt.Sprintf("every one of %s elements of %s %s", text.Grouped(w.Elements), text.Count(w.Tensors, "tensor"), how))
	}
	if len(v.Logits) > 0 {
		l, matches := v.Logits[0], "matches"
		if len(v.Logits) == 1 && verify.LogitsOfSide(v) {
			matches = "matches the " + verify.OfSide(v, l)
		}
		parts = append(parts, fmt.Sprintf("what %s computed %s within rounding", l.Implementation, matches))
	}
	s := strings.Join(parts, ", and ")
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// failuresLead counts the failures, says in which checks they are, and whether the checkpoint is a quantised copy. A check that fails only because of
// another, as the weights do where tensors are missing, is not among them.
func failuresLead(v *verify.Verdict, checks []verify.Check) string {
	own := map[string]int{} // by the name of the check
	for _, s := range v.Sections() {
		own[s.Name] = s.Findings.Len()
	}
	for _, l := range v.Logits {
		for _, f := range v.Faults(l) {
			if f.Check == "" { // others are counted with the findings that cause them
				own["logits"] += max(1, f.Places)
			}
		}
	}
	var failed, where []string
	failures := 0
	for _, c := range checks {
		if c.OK || c.Skipped || slices.Contains(failed, c.Name) {
			continue
		}
		failed = append(failed, c.Name)
		if own[c.Name] > 0 {
			where = append(where, c.Name)
			failures += own[c.Name]
		}
	}
	isCopy := v.Quantized != nil && !v.Quantized.OK
	switch {
	case where == nil && isCopy && len(failed) == 1:
		return "A quantised copy: " + text.Printable(v.Quantized.Summary) + "."
	case where == nil:
		where = slices.DeleteFunc(failed, func(name string) bool { return name == quantisedCheck })
	}
	if k := slices.Index(where, quantisedCheck); k >= 0 {
		where[k] = "quantised matrices"
	}
	in := where[len(where)-1]
	if n := len(where) - 1; n > 0 {
		in = strings.Join(where[:n], ", ") + " and " + in
	}
	s := fmt.Sprintf("%s in the %s.", text.Count(max(1, failures), "failure"), in)
	if isCopy {
		s = "A quantised copy, with " + s
	}
	return s
}

const quantisedCheck = "quantised"

// unprovenLead says what nothing that is proven means.
func unprovenLead(v *verify.Verdict) string {
	if v.Converted == nil {
		return "This does not show that the checkpoint is another model, but neither that it is the one that was recorded."
	}
	return "No check found that the checkpoints differ."
}

func newLogitsPart(l *logits.Result, v *verify.Verdict, index int) *logitsPart {
	id := fmt.Sprintf("logits%d", index)
	part := &logitsPart{Result: l, ID: id, Headline: l.Headline(), Metrics: metricsTable(l.Metrics), Outputs: outputsTable(l.Sites)}
	if as, err := reference.ParseSemantics(l.Semantics); err == nil && l.Window > 0 {
		part.Full = as.WindowFull(l.Window)
	}
	for k, f := range v.Faults(l) {
		fault := faultPart{Fault: f, ID: fmt.Sprintf("%s-fault%d", id, k), Title: f.Title(), Look: namePairs(f.Look)}
		if s := l.Site(f.Pass, f.Site, f.Proved); s != nil && k < 4 && s.Name != "logits" && f.InCheckpoint() {
			fault.Chart = tokensChart(s, nil, l.Pass(f.Pass), part.Full, "At fault: "+siteWords(s), fault.ID+"-tokens")
		}
		part.Where = append(part.Where, fault)
	}
	part.add(sitesChart(l, blockKinds(v.Facts, l), id+"-layers"))
	for i := range l.Passes {
		pass := &l.Passes[i]
		title, also := "Divergence over positions", l.Site("decode", "logits", false)
		if pass.Name != "" {
			title, also = title+", "+logits.PassTitle(pass.Name), nil
		}
		part.add(tokensChart(l.Site(pass.Name, "logits", false), also, pass, part.Full, title, id+"-tokens"+pass.Name))
	}
	var tokens []tokenRow
	for i := range l.Metrics {
		m := &l.Metrics[i]
		if i == 0 {
			part.add(scatterChart(m, id+"-scatter"))
		}
		if m.Pass != "decode" || len(l.Metrics) == 1 { // decoding has the same tokens as the plain pass
			tokens = append(tokens, tokenRows(m, l.Pass(m.Pass), part.Full)...)
		}
	}
	part.Total = len(tokens)
	slices.SortStableFunc(tokens, func(a, b tokenRow) int { return logits.CompareWorst(b.KL, a.KL) })
	part.Tokens = tokensTable(tokens[:min(10, len(tokens))])
	return part
}

func (l *logitsPart) add(c *chart.Chart) {
	if c != nil {
		l.Charts = append(l.Charts, c)
	}
}

// blockKinds returns the kinds of the blocks of the model that was run.
func blockKinds(facts *verify.Facts, l *logits.Result) []string {
	for _, f := range []*verify.CheckpointFacts{facts.Source, facts.Converted} {
		if f != nil && f.Path == l.Checkpoint && f.Config != nil {
			return f.Config.BlockTypes
		}
	}
	return nil
}

func tokenRows(m *logits.PassMetrics, pass *golden.Pass, full int) []tokenRow {
	var rows []tokenRow
	for _, t := range m.Tokens {
		r := tokenRow{Pass: m.Pass, Row: t.Row, Token: t.Token, KL: t.KL, Largest: t.Largest, Ours: t.Top[0], Theirs: t.Top[1], TopDiffers: t.Top[0] != t.Top[1] || t.Top[0] < 0}
		if at := t.Row*passLength(pass) + t.Token; pass != nil && at < len(pass.Tokens) {
			r.Position, r.ID = pass.Positions[at], pass.Tokens[at]
			r.Deep = full > 0 && int(r.Position) >= full
		}
		rows = append(rows, r)
	}
	return rows
}

func passLength(p *golden.Pass) int {
	if p == nil {
		return 0
	}
	return p.Length
}
