package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/golden"
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

// Fails reports whether a check of the conversion itself fails.
func (g *verdictPage) Fails() bool {
	return g.Verdict.Unproven == "" && slices.ContainsFunc(g.Verdict.Sections(), func(s verify.NamedSection) bool { return !s.OK })
}

// TwoImplementations reports whether the original runs one of the checkpoints, and another implementation the other one, of the same model.
func (g *verdictPage) TwoImplementations() bool {
	source, converted := g.Verdict.Source, g.Verdict.Converted
	return source != nil && converted != nil && (source.Layout == "huggingface") != (converted.Layout == "huggingface")
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
	d.Title = "verify: " + answer + ": " + text.Printable(storage.BaseName(verified.Path))
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
		recorded := fmt.Sprintf("%s in %s", f.Implementation, f.DType)
		if f.Step != "" {
			recorded += ", of step " + f.Step
		}
		d.Subjects = append(d.Subjects, page.Subject{Role: "Golden fixture", Path: f.Path, Facts: []page.Fact{
			{Name: "recorded by", Value: recorded}, {Name: "digest", Value: f.Named(), Code: true}}})
	}
	return d
}

func checkpointSubject(role string, f *verify.CheckpointFacts) page.Subject {
	s := page.Subject{Role: role, Path: f.Path, Facts: []page.Fact{{Name: "format", Value: f.Format + ", " + f.Layout + " layout"}}}
	if f.Step != "" {
		s.Facts = append(s.Facts, page.Fact{Name: "step", Value: f.Step})
	}
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
	s := page.Subject{Role: "Adapter", Path: path, Facts: []page.Fact{{Name: "type", Value: fmt.Sprintf("%s, rank %d", a.Type, a.Rank)}, {Name: "changes", Value: text.Count(a.Changes, "tensor")}}}
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
	Full     int // position from which on attention no longer sees the first token of a document; 0 for never
	Where    []faultPart
	Charts   []*chart.Chart
	Metrics  *page.Table // nil without any
	Tokens   *page.Table // the worst tokens; nil without any
	OtherTop bool        // the most likely next token of one of those is not the same
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
	TopDiffers, Deep bool // another most likely next token; attention no longer sees the first token of the document
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
	tokens = tokens[:min(10, len(tokens))]
	part.Tokens, part.OtherTop = tokensTable(tokens), slices.ContainsFunc(tokens, func(t tokenRow) bool { return t.TopDiffers })
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
