package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/reference/perplexity"
	"github.com/griffin-ckpt/griffin/verify/report/internal/chart"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

//go:embed score.html.tmpl
var scoreText string

// Score is how well one model, or two side by side, predict a text.
type Score struct {
	*perplexity.Result
	Text       string // path of the text or of the tokens
	Digest     string // of what was scored
	Rows       int
	Tokenizer  string   // its path, "" for tokens
	Added      []string // pieces that were put before the text
	Arithmetic string
	Griffin    string // version of the program
	Models     []ScoredModel
	Piece      func(token int32) string // the text of a token; nil if it is not known
}

// ScoredModel is a checkpoint that was scored.
type ScoredModel struct {
	Path      string
	Step      string // of a training run; "" for none
	Format    string
	Digest    string // of the weights, as runtime.DigestOf has it
	Config    string // digest of config.json; "" if there is none
	Quantized string // what a quantised copy is
	Semantics string
	Settings  runtime.Settings // with which it is run
	Own       bool             // they are those of its config.json, and others were given
}

// RunApart says under which semantics and with which settings two models are run, if these are not the same: "under different semantics, original
// and transformers5, and with logits soft cap 30 and 5". It is "" if they are.
func RunApart(a, b *ScoredModel) string {
	var parts []string
	if a.Semantics != b.Semantics {
		parts = append(parts, fmt.Sprintf("under different semantics, %s and %s", a.Semantics, b.Semantics))
	}
	if apart := a.Settings.Apart(&b.Settings); len(apart) > 0 {
		parts = append(parts, "with "+strings.Join(apart, ", "))
	}
	return strings.Join(parts, ", and ")
}

// DifferBefore reports whether two models differ at positions at which both attend to the same tokens, if attention is all in which their runs are
// not the same: then their weights are not the same either.
func DifferBefore(r *perplexity.Result, a, b *ScoredModel) bool {
	x, y := a.Settings, b.Settings
	x.AttentionWindow, y.AttentionWindow = 0, 0 // which Apart then leaves out
	if r.Pair == nil || len(x.Apart(&y)) > 0 || x.LogitsSoftCap == 0 || !onlyAttends(a.Semantics) || !onlyAttends(b.Semantics) {
		return false
	}
	same := min(cmp.Or(x.WindowFull, math.MaxInt), cmp.Or(y.WindowFull, math.MaxInt)) // positions
	return slices.ContainsFunc(r.Spans, func(s perplexity.Span) bool { return s.To <= same && s.KL != 0 })
}

// onlyAttends reports whether semantics compute what the original does but for the tokens that attention sees, if the soft cap is not 0.
func onlyAttends(semantics string) bool {
	s, err := reference.ParseSemantics(semantics)
	return err == nil && s.TakesPositions() // the others multiply embeddings by another number
}

// WriteScore writes a score as a page.
func WriteScore(path string, s *Score, o Origin) error {
	g := &scorePage{Score: s, NLL: nllChart(s), KL: klChart(s), Spans: spansTable(s), Partings: partingsTable(s)}
	return write(path, g.document(o), scoreBody, g)
}

var scoreBody = page.Parse("score", scoreText, nil)

// scorePage is what the template shows.
type scorePage struct {
	*Score
	NLL, KL  *chart.Chart
	Spans    *page.Table
	Partings *page.Table // nil without any
}

// document returns what the page shows around its body.
func (g *scorePage) document(o Origin) *page.Document {
	s := g.Score
	d := &page.Document{Kind: "Perplexity", Tone: page.Plain, Title: "perplexity: " + text.Printable(storage.BaseName(s.Models[0].Path)), Command: o.Command, Version: s.Griffin, Time: o.Time}
	if len(s.Models) > 1 {
		d.Title += " and " + text.Printable(storage.BaseName(s.Models[1].Path))
	}
	d.Answer = "Perplexity " + PerplexityText(s.Perplexity(0))
	d.Lead = fmt.Sprintf("%s in %s, %s predicted.", text.Count(s.Tokens, "token"), text.Count(s.Rows, "row"), text.Grouped(int64(s.Predicted)))
	if s.Pair != nil {
		if s.alike() {
			d.Answer += ", and the same predictions"
			if apart := RunApart(&s.Models[0], &s.Models[1]); apart != "" {
				d.Points = []page.Link{{Text: "The two are run " + apart + s.allThatDiffers()}}
			}
		} else {
			d.Answer += " and " + PerplexityText(s.Perplexity(1))
			d.Points = g.differences()
		}
	}
	for i, m := range s.Models {
		role := "Checkpoint"
		if len(s.Models) > 1 {
			role = scoredRole(i)
		}
		subject := page.Subject{Role: role, Path: m.Path}
		for _, f := range []page.Fact{{Name: "format", Value: m.Format}, {Name: "step", Value: m.Step}, {Name: "quantised", Value: m.Quantized}, {Name: "weights", Value: m.Digest, Code: true}, {Name: "config.json", Value: m.Config, Code: true},
			{Name: "run with", Value: m.Semantics + " semantics, " + s.Arithmetic}, {Name: "settings", Value: m.settings()},
			{Name: "score", Value: fmt.Sprintf("%.6f nats a token, perplexity %s", s.NLL[i], PerplexityText(s.Perplexity(i)))}} {
			if f.Value != "" {
				subject.Facts = append(subject.Facts, f)
			}
		}
		d.Subjects = append(d.Subjects, subject)
	}
	scored := page.Subject{Role: "Text", Path: shortened(s.Text)}
	if s.Tokenizer == "" {
		scored.Role = "Tokens"
	}
	for _, f := range []page.Fact{{Name: "size", Value: text.Count(s.Tokens, "token") + " in " + text.Count(s.Rows, "row")}, {Name: "digest of the token ids", Value: s.Digest, Code: true}, {Name: "tokenizer", Value: s.Tokenizer}, {Name: "begins with", Value: strings.Join(s.Added, "")}} {
		if f.Value != "" {
			scored.Facts = append(scored.Facts, f)
		}
	}
	d.Subjects = append(d.Subjects, scored)
	return d
}

// alike reports whether two checkpoints predict the same at every position.
func (s *Score) alike() bool {
	return s.Pair != nil && s.Pair.KL == 0 && s.Pair.Agreed == s.Predicted && !slices.ContainsFunc(s.Spans, func(span perplexity.Span) bool { return span.KL != 0 })
}

// differences says how far the predictions of two checkpoints are apart.
func (g *scorePage) differences() []page.Link {
	s := g.Score
	parted := s.Predicted - s.Pair.Agreed
	points := []page.Link{{Text: fmt.Sprintf("KL %s nats a token", page.Number(s.Pair.KL)), To: "apart"},
		{Text: fmt.Sprintf("%s %s another most likely token", text.Grouped(int64(parted))+" of "+text.Count(s.Predicted, "token"), map[bool]string{true: "has", false: "have"}[parted == 1])}}
	if parted > 0 {
		points[1].To = "partings"
	}
	if apart := RunApart(&s.Models[0], &s.Models[1]); apart != "" {
		points = append(points, page.Link{Text: "The two are run " + apart + s.allThatDiffers()})
	}
	return points
}

// allThatDiffers says whether how two models are run is all that sets them apart, as far as their digests show it: those of two layouts cannot
// be compared.
func (s *Score) allThatDiffers() string {
	a, b := s.Models[0].Digest, s.Models[1].Digest
	layoutA, _, _ := strings.Cut(a, " ")
	layoutB, _, _ := strings.Cut(b, " ")
	switch {
	case s.alike():
		return ", and predict the same nevertheless"
	case a == b && a != "":
		return ", which is all that sets them apart: their weights are the same"
	case DifferBefore(s.Result, &s.Models[0], &s.Models[1]):
		return ", which is not all that sets them apart: they differ where both attend to the same tokens"
	case layoutA != layoutB:
		return ", which may be all that sets them apart"
	}
	return "; their weights are not the same either"
}

// settings writes with what the model is run.
func (m *ScoredModel) settings() string {
	if m.Own {
		return m.Settings.String() + ", as its config.json has them, not those that were given"
	}
	return m.Settings.String()
}

// PerplexityText writes a perplexity in six digits, or as a whole number, with the digits before the point in groups of three.
func PerplexityText(x float64) string {
	switch {
	case x >= 1e5 && x < 1e15:
		return text.Grouped(int64(math.Round(x)))
	case x >= 1000 && x < 1e5:
		whole, fraction, _ := strings.Cut(fmt.Sprintf("%.6g", x), ".")
		n, _ := strconv.ParseInt(whole, 10, 64) // digits
		return strings.TrimSuffix(text.Grouped(n)+"."+fraction, ".")
	}
	return fmt.Sprintf("%.6g", x)
}

// shortened returns the beginning of a list of tokens that is longer than a path should be; the command has all of it.
func shortened(list string) string {
	const most = 200
	if len(list) <= most || strings.Trim(list, "0123456789, ") != "" {
		return list
	}
	return list[:strings.LastIndex(list[:80], ",")+1] + "…"
}

func scoredRole(i int) string { return []string{"First", "Second"}[i] }

// spanText says where a span is.
func spanText(s *perplexity.Span) string {
	if s.To == s.From+1 {
		return fmt.Sprintf("position %d", s.From)
	}
	return fmt.Sprintf("positions %d to %d", s.From, s.To-1)
}

func middle(s *perplexity.Span) float64 { return float64(s.From+s.To-1) / 2 }

// positions returns the axis of positions, which are those of the predicted tokens, and marks from where on the windows of the models hide
// the first token. A token predicts the next one.
func positions(s *Score) (chart.Axis, chart.Series) {
	last := s.Spans[len(s.Spans)-1].To
	windows := chart.Series{Class: chart.Mark, Shape: chart.Uprights}
	same := len(s.Models) < 2 || s.Models[0].Settings.WindowFull == s.Models[1].Settings.WindowFull
	var at []string
	for i := range s.Models {
		w := s.Models[i].Settings.WindowFull
		if w == 0 || w+1 >= last || same && i > 0 {
			continue
		}
		where := fmt.Sprint(w)
		if !same {
			where += " in the " + strings.ToLower(scoredRole(i)) + " checkpoint"
		}
		windows.Points, at = append(windows.Points, chart.Point{X: float64(w) + 0.5}), append(at, where)
	}
	windows.Name = fmt.Sprintf("from position %s on, %s", strings.Join(at, " and "), hides)
	return chart.Linear("position of the predicted token in the row", 0, float64(max(last, 2))), windows
}

// hides says what the attention window does from the position on that is marked, in the words of all pages.
const hides = "attention no longer sees the token at position 0"

// spanWidth returns how many positions a point of the plots stands for.
func (s *Score) spanWidth() int { return s.Spans[0].To - s.Spans[0].From }

// pointsOf says what the points of a plot over positions are: means of several, or which prediction is the first to the right of the mark of a
// window.
func (s *Score) pointsOf(windows chart.Series) string {
	if width := s.spanWidth(); width > 1 {
		return fmt.Sprintf(" Each point is the mean of %d positions.", width)
	}
	if len(windows.Points) == 0 {
		return ""
	}
	at := windows.Points[0].X
	return fmt.Sprintf(" A token predicts the next one: that at position %g predicts position %g, the first to the right of its mark.", at-0.5, at+0.5)
}

// atLowerEdge says how many points of a plot of divergences are at its lower edge.
func (s *Score) atLowerEdge(y chart.Axis) string {
	n := 0
	for i := range s.Spans {
		if s.Spans[i].KL < y.Min {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	noun := "position"
	if s.spanWidth() > 1 {
		noun = "point"
	}
	return fmt.Sprintf(" %s at the lower edge, without any divergence or with less than the axis shows.", text.CountAre(int64(n), noun))
}

// nllChart plots the mean score over positions.
func nllChart(s *Score) *chart.Chart {
	low, high := math.Inf(1), math.Inf(-1)
	series := []chart.Series{{Name: "the model", Class: chart.Main, Shape: chart.LinedDots}}
	if len(s.NLL) > 1 {
		series[0].Name = "the first checkpoint"
		series = append(series, chart.Series{Name: "the second", Class: chart.Other, Shape: chart.Rings})
	}
	for i := range s.Spans {
		span := &s.Spans[i]
		for m, v := range span.NLL {
			low, high = math.Min(low, v), math.Max(high, v)
			words := fmt.Sprintf("%s: %s nats, %s", spanText(span), page.Number(v), text.Count(span.Predicted, "token"))
			if len(s.NLL) > 1 {
				words = strings.ToLower(scoredRole(m)) + ", " + words
			}
			series[m].Points = append(series[m].Points, chart.Point{X: middle(span), Y: v, Text: words})
		}
	}
	room := math.Max((high-low)*0.08, 0.01)
	x, windows := positions(s)
	return &chart.Chart{ID: "plot-nll", Title: "Nats a token", X: x, Y: chart.Linear("nats a token", math.Max(0, low-room), high+room), Series: append([]chart.Series{windows}, series...),
		Caption: "Mean negative log-likelihood of the predicted tokens, by their position in the row. Less is better." + s.pointsOf(windows)}
}

// klChart plots the divergence of two models over positions.
func klChart(s *Score) *chart.Chart {
	if s.Pair == nil || s.alike() {
		return nil
	}
	var values []float64
	for _, span := range s.Spans {
		values = append(values, span.KL)
	}
	x, windows := positions(s)
	c := &chart.Chart{ID: "plot-kl", Title: "Divergence over positions", X: x, Y: chart.Logarithmic("KL, nats a token", values)}
	c.Caption = "Mean Kullback-Leibler divergence of the second checkpoint's predictions from the first's, by position." + s.atLowerEdge(c.Y) + s.pointsOf(windows)
	line := chart.Series{Name: "the second from the first", Class: chart.Main, Shape: chart.LinedDots}
	for i := range s.Spans {
		span := &s.Spans[i]
		line.Points = append(line.Points, chart.Point{X: middle(span), Y: span.KL, Text: fmt.Sprintf("%s: KL %s nats, %s", spanText(span), page.Number(span.KL), text.Count(span.Predicted, "token"))})
	}
	c.Series = []chart.Series{windows, line}
	return c
}

func spansTable(s *Score) *page.Table {
	t := &page.Table{Label: "Score over positions", Columns: []page.Column{{Title: "positions"}, {Title: "tokens", Number: true}}}
	for i := range s.NLL {
		title := "nats a token"
		if len(s.NLL) > 1 {
			title = strings.ToLower(scoredRole(i)) + ", nats a token"
		}
		t.Columns = append(t.Columns, page.Column{Title: title, Number: true})
	}
	if s.Pair != nil {
		t.Columns = append(t.Columns, page.Column{Title: "KL, nats", Number: true})
	}
	for i := range s.Spans {
		span := &s.Spans[i]
		r := page.Row{Cells: []page.Cell{{Text: strings.TrimPrefix(strings.TrimPrefix(spanText(span), "positions "), "position ")}, page.Count(span.Predicted)}}
		for _, v := range span.NLL {
			r.Cells = append(r.Cells, page.Value(v))
		}
		if s.Pair != nil {
			r.Cells = append(r.Cells, page.Value(span.KL))
		}
		t.Add(r)
	}
	return t
}

// partingsTable lists the first tokens for which two models have different most likely tokens.
func partingsTable(s *Score) *page.Table {
	if s.Pair == nil || len(s.Pair.Partings) == 0 {
		return nil
	}
	t := &page.Table{Label: "Where the most likely tokens differ", Slim: true, Columns: []page.Column{{Title: "row", Short: true}, {Title: "position", Number: true}, {Title: "token"}, {Title: "first predicts"}, {Title: "with probability", Number: true},
		{Title: "second predicts"}, {Title: "with probability", Number: true}, {Title: "KL, nats", Number: true}}}
	piece := func(token int32) page.Cell {
		if s.Piece == nil {
			return page.ID(token)
		}
		return page.Text(fmt.Sprintf("%q", s.Piece(token))).With(fmt.Sprint(token))
	}
	for _, p := range s.Pair.Partings {
		t.Add(page.Row{Cells: []page.Cell{page.Count(p.Row), page.Count(p.Position), piece(p.Token), piece(p.Top[0]), page.Value(p.Probability[0]), piece(p.Top[1]), page.Value(p.Probability[1]), page.Value(p.KL)}})
	}
	return t
}
