package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
)

//go:embed verdict.html.tmpl
var verdictText string

// WriteVerdict writes a verdict that has Facts as a page. command is the command line that the page shows, the program's
// name first.
func WriteVerdict(path string, v *verify.Verdict, command []string) error {
	return write(path, verdictTemplate, newVerdictPage(v, command))
}

var verdictTemplate = template.Must(template.New("verdict").Funcs(template.FuncMap{
	"shown": func(s any) string { return text.Printable(fmt.Sprint(s)) }, "grouped": text.Grouped, "outcome": verify.Outcome, "number": page.Number,
	"percent": func(x verify.Number) string { return fmt.Sprintf("%.4g%%", 100*float64(x)) }, "share": func(x verify.Number) string { return percent(float64(x)) },
	"whole": func(n int) string { return text.Grouped(int64(n)) },
	"shape": tensor.ShapeString, "at": tensor.ShapeString, "join": strings.Join, "title": logits.PassTitle,
}).Parse(verdictText + page.FigureTemplate))

// verdictPage is what the template shows.
type verdictPage struct {
	Style  template.CSS
	Title  string
	Answer string   // "The same model"
	Lead   string   // a sentence
	Wrong  []string // the first things that are wrong
	Same   bool

	Verdict  *verify.Verdict
	Golden   *verify.GoldenFacts
	Lines    []verify.Check
	Findings []findingGroup
	Logits   []*logitsPart
	Facts    []*verify.CheckpointFacts
	Settings []configRow
	Command  string
}

// findingGroup has the findings of one check.
type findingGroup struct {
	Check    string
	Findings []verify.Finding
}

// wrong names what is wrong: a few things of each check.
func (g *verdictPage) wrong() []string {
	const most = 3
	var all []string
	for _, group := range g.Findings {
		for i, f := range group.Findings {
			if i == most {
				all = append(all, fmt.Sprintf("%s: and %s more", group.Check, text.Grouped(int64(len(group.Findings)-most))))
				break
			}
			all = append(all, group.Check+": "+cmp.Or(f.Field, f.Tensor))
		}
	}
	for _, l := range g.Logits {
		for _, f := range l.Where[:min(most, len(l.Where))] {
			what := "logits: " + strings.ToLower(f.Title[:1]) + f.Title[1:]
			if f.Cause != "" {
				what += ", explained by " + f.Cause
			}
			all = append(all, what)
		}
	}
	return all
}

// logitsPart is one comparison with the fixture.
type logitsPart struct {
	*logits.Result
	Of       string // name of the checkpoint, if there are several
	Headline string
	Where    []faultPart
	Figures  []*page.Figure
	Scatter  *page.Figure
	Tokens   []tokenRow
	Total    int // tokens, of which Tokens has the worst
}

// faultPart is a place at fault, with the plot of its tokens.
type faultPart struct {
	*logits.Fault
	Title  string
	Look   []string // tensors, with their names in both checkpoints
	Figure *page.Figure
}

// tokenRow is a token whose distribution differs from float64.
type tokenRow struct {
	Pass             string
	Row, Token       int
	Position, ID     int32
	KL, Largest      float64
	Ours, Theirs     int
	TopDiffers, Deep bool // another most likely next token; the attention window is full
}

// configRow is a line of the table of the configuration.
type configRow struct{ Name, Source, Converted string }

func newVerdictPage(v *verify.Verdict, command []string) *verdictPage {
	answer := v.Answer()
	g := &verdictPage{Style: page.Style, Same: v.Same, Verdict: v, Golden: v.Facts.Golden, Lines: v.Checks(),
		Answer: strings.ToUpper(answer[:1]) + answer[1:], Command: page.CommandLine(command), Settings: configRows(v.Facts)}
	verified := v.Facts.Source
	if v.Facts.Converted != nil {
		verified = v.Facts.Converted
	}
	g.Title = answer + ": " + text.Printable(filepath.Base(verified.Path))
	g.Lead = lead(v, g.Lines)
	for _, s := range v.Sections() {
		if len(s.Findings) > 0 {
			g.Findings = append(g.Findings, findingGroup{s.Name, s.Findings})
		}
	}
	for i, l := range v.Logits {
		part := newLogitsPart(l, v, i)
		if len(v.Logits) > 1 {
			part.Of = filepath.Base(l.Checkpoint)
		}
		g.Logits = append(g.Logits, part)
	}
	slices.SortStableFunc(g.Logits, func(a, b *logitsPart) int {
		switch {
		case a.OK == b.OK:
			return 0
		case b.OK:
			return -1
		}
		return 1
	}) // the fault first
	g.Wrong = g.wrong()
	for _, f := range []*verify.CheckpointFacts{v.Facts.Source, v.Facts.Converted} {
		if f != nil {
			g.Facts = append(g.Facts, f)
		}
	}
	return g
}

// lead says in a sentence what the verdict is based on.
func lead(v *verify.Verdict, checks []verify.Check) string {
	if !v.Same {
		failed, failures := []string{}, 0
		for _, c := range checks {
			if !c.OK && !c.Skipped {
				failed = append(failed, c.Name)
				failures += max(1, len(c.Failures))
			}
		}
		return fmt.Sprintf("%s in the %s.", text.Count(failures, "failure"), strings.Join(slices.Compact(failed), ", "))
	}
	var parts []string
	if w := v.Weights; w != nil {
		how := "is identical to the source, bit for bit"
		if w.Rounded > 0 {
			how = "is identical to the source, correctly rounded where the dtype changed"
		}
		if w.Divided > 0 {
			how += ", the embedding divided by the factor that transformers multiplies it by"
		}
		parts = append(parts, fmt.Sprintf("every one of %s elements of %s %s", text.Grouped(w.Elements), text.Count(w.Tensors, "tensor"), how))
	}
	for _, l := range v.Logits {
		parts = append(parts, fmt.Sprintf("what %s computed matches within rounding", l.Implementation))
		break
	}
	s := strings.Join(parts, ", and ")
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

func newLogitsPart(l *logits.Result, v *verify.Verdict, index int) *logitsPart {
	part := &logitsPart{Result: l, Headline: l.Headline()}
	blocks := blockKinds(v.Facts, l)
	id := fmt.Sprintf("plot%d", index)
	for k, f := range l.Faults {
		fault := faultPart{Fault: f, Title: f.Title(), Look: v.TensorNames(f.Tensors)}
		if s := l.Site(f.Pass, f.Site, f.Proved); s != nil && k < 4 && s.Name != "logits" {
			fault.Figure = tokensFigure(s, nil, l.Pass(f.Pass), l.Window, "At fault: "+s.Title(), fmt.Sprintf("%s-fault%d", id, k))
		}
		part.Where = append(part.Where, fault)
	}
	part.add(sitesFigure(l, blocks, id+"-layers"))
	for i := range l.Passes {
		pass := &l.Passes[i]
		title, also := "Divergence over positions", l.Site("decode", "logits", false)
		if pass.Name != "" {
			title, also = title+", "+logits.PassTitle(pass.Name), nil
		}
		part.add(tokensFigure(l.Site(pass.Name, "logits", false), also, pass, l.Window, title, id+"-tokens"+pass.Name))
	}
	for i := range l.Metrics {
		m := &l.Metrics[i]
		if i == 0 {
			part.Scatter = scatterFigure(m, id+"-scatter")
		}
		if m.Pass != "decode" || len(l.Metrics) == 1 { // decoding has the same tokens as the plain pass
			part.Tokens = append(part.Tokens, tokenRows(m, l.Pass(m.Pass), l.Window)...)
		}
	}
	part.Total = len(part.Tokens)
	slices.SortStableFunc(part.Tokens, func(a, b tokenRow) int { return logits.CompareWorst(b.KL, a.KL) })
	part.Tokens = part.Tokens[:min(10, len(part.Tokens))]
	return part
}

func (l *logitsPart) add(f *page.Figure) {
	if f != nil {
		l.Figures = append(l.Figures, f)
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

func tokenRows(m *logits.PassMetrics, pass *golden.Pass, window int) []tokenRow {
	var rows []tokenRow
	for _, t := range m.Tokens {
		r := tokenRow{Pass: m.Pass, Row: t.Row, Token: t.Token, KL: t.KL, Largest: t.Largest, Ours: t.Top[0], Theirs: t.Top[1], TopDiffers: t.Top[0] != t.Top[1]}
		if at := t.Row*passLength(pass) + t.Token; pass != nil && at < len(pass.Tokens) {
			r.Position, r.ID = pass.Positions[at], pass.Tokens[at]
			r.Deep = window > 0 && int(r.Position) >= window
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

func configRows(facts *verify.Facts) []configRow {
	values := func(f *verify.CheckpointFacts) []string {
		if f == nil || f.Config == nil {
			return slices.Repeat([]string{"—"}, 10)
		}
		c := f.Config
		window, cap := "none", "none"
		if slices.Contains(c.BlockTypes, "attention") {
			window = text.Grouped(c.AttentionWindow)
		}
		if c.LogitsSoftCap != 0 {
			cap = page.Number(c.LogitsSoftCap)
		}
		var pattern strings.Builder
		for _, kind := range c.BlockTypes {
			pattern.WriteString(strings.ToUpper(kind[:1]))
		}
		return []string{text.Grouped(f.Parameters), fmt.Sprintf("%d %s", len(c.BlockTypes), pattern.String()), text.Grouped(c.Width), text.Grouped(c.MLPExpandedWidth),
			text.Grouped(c.NumHeads), text.Grouped(c.LRUWidth), text.Grouped(c.VocabSize), window, cap, map[bool]string{true: "yes", false: "no"}[c.EmbeddingScale]}
	}
	source, converted := values(facts.Source), values(facts.Converted)
	var rows []configRow
	for i, name := range []string{"parameters", "blocks", "width", "MLP width", "heads", "RG-LRU width", "vocabulary", "attention window", "logits soft cap", "embedding scale"} {
		rows = append(rows, configRow{name, source[i], converted[i]})
	}
	return rows
}
