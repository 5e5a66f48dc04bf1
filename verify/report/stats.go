package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

//go:embed stats.html.tmpl
var statsText string

// Values are the tensors of a checkpoint with statistics of their values.
type Values struct {
	Path    string
	Facts   []Fact // about the checkpoint and the model in it
	Griffin string // version of the program
	Tensors []TensorValues

	BlockTypes []string // the kinds of the model's blocks, nil if no model was recognised
}

// Fact is a line about a checkpoint. An empty Name continues the fact before it.
type Fact struct {
	Name, Value string
	Code        bool // the value is a name or a digest
}

// TensorValues is a tensor with statistics of its values.
type TensorValues struct {
	Name  string
	DType tensor.DType
	Shape []int64
	*stats.Stats
}

// WriteStats writes the values of a checkpoint as a page.
func WriteStats(path string, v *Values, o Origin) error {
	g := newStatsPage(v)
	return write(path, g.document(o), statsBody, g)
}

var statsBody = page.Parse("stats", statsText, nil)

// statsPage is what the template shows.
type statsPage struct {
	Values   *Values
	Broken   int // tensors that have NaN or infinities
	Maps     []statsMaps
	Outliers *page.Table
	Far      int    // outliers, of which the table may have the farthest only
	Where    string // the tensors that have them
	Tensors  *page.Table
	Left     string // says that Tensors does not have all
}

// statsMaps are the maps of one statistic.
type statsMaps struct {
	ID, Title string
	Maps      []*page.Heat
}

func newStatsPage(v *Values) *statsPage {
	g := &statsPage{Values: v, Tensors: valuesTable(v.Tensors), Left: left(len(v.Tensors), "tensors")}
	for _, t := range v.Tensors {
		if !t.Finite() {
			g.Broken++
		}
	}
	outliers := findOutliers(v.Tensors)
	g.Outliers, g.Far, g.Where = outliersTable(v.Tensors, outliers), len(outliers), whereOutliers(v, outliers)
	for _, s := range statistics {
		if maps := valueMaps(v.Tensors, s, outliers); len(maps) > 0 {
			g.Maps = append(g.Maps, statsMaps{s.id, s.title, maps})
		}
	}
	return g
}

// document returns what the page shows around its body.
func (g *statsPage) document(o Origin) *page.Document {
	v := g.Values
	values := int64(0)
	for _, t := range v.Tensors {
		values += t.Values
	}
	d := &page.Document{Kind: "Values of a checkpoint", Title: "inspect: " + text.Printable(storage.BaseName(v.Path)), Answer: "All values are finite", Tone: page.Good,
		Lead: fmt.Sprintf("%s in %s.", text.Count(values, "value"), text.Count(len(v.Tensors), "tensor")), Command: o.Command, Version: v.Griffin, Time: o.Time}
	if g.Broken > 0 {
		d.Answer, d.Tone = text.Agree(g.Broken, "tensor", "has", "have")+" NaN or infinities", page.Wrong
		const most = 10
		found := FindNotFinite(len(v.Tensors), func(i int) string { return v.Tensors[i].Name }, func(i int) *stats.Stats { return v.Tensors[i].Stats }, v.BlockTypes)
		for i, f := range found {
			if i == most {
				d.Points = append(d.Points, page.Link{Text: fmt.Sprintf("and %s more", text.Grouped(int64(len(found)-most))), To: "tensors"})
				break
			}
			d.Points = append(d.Points, page.Link{Text: f.Text, To: valuesID(f.First)})
		}
	}
	if g.Outliers != nil {
		d.Points = append(d.Points, page.Link{Text: text.Agree(g.Far, "statistic", "is far from the median of its kind", "are far from the medians of their kinds") + ": " + g.Where, To: "outliers"})
	}
	s := page.Subject{Role: "Checkpoint", Path: v.Path}
	for _, f := range v.Facts {
		s.Facts = append(s.Facts, page.Fact(f))
	}
	d.Subjects = []page.Subject{s}
	return d
}

// valuesID is the id of the row of a tensor, "" if the table does not have it.
func valuesID(i int) string {
	if i >= MaxRows {
		return ""
	}
	return fmt.Sprintf("tensor%d", i)
}

func valuesTable(tensors []TensorValues) *page.Table {
	t := &page.Table{Label: "Tensors", Many: true, Columns: []page.Column{{Title: "tensor"}, {Title: "type", Short: true}, {Title: "shape", Short: true}, {Title: "min", Number: true}, {Title: "histogram"}, {Title: "max", Number: true},
		{Title: "mean", Number: true}, {Title: "std", Number: true}, {Title: "|max|", Number: true}, {Title: "zeros", Number: true}, {Title: "NaN", Number: true}, {Title: "Inf", Number: true}}}
	for i, v := range tensors[:min(MaxRows, len(tensors))] {
		t.Add(page.Row{ID: valuesID(i), Bad: !v.Finite(), Cells: []page.Cell{page.Name(v.Name), page.Text(v.DType.String()), page.Text(tensor.ShapeString(v.Shape)), page.Value(v.Min), {HTML: bars(v.Histogram)}, page.Value(v.Max),
			page.Value(v.Mean), page.Value(v.Std), page.Value(v.AbsMax), page.Count(v.Zeros), page.Count(v.NaN), page.Count(v.Inf)}})
	}
	return t
}

// Size of a histogram in a table, in its own units.
const (
	barsWidth  = 160
	barsHeight = 32
)

// bars draws a histogram from the smallest to the largest value. Bins that are not empty are always visible.
func bars(h stats.Histogram) template.HTML {
	if len(h.Counts) == 0 {
		return ""
	}
	low, high := float64(h.Edges[0]), float64(h.Edges[len(h.Edges)-1])
	most := int64(0)
	for _, n := range h.Counts {
		most = max(most, n)
	}
	at := func(edge stats.Number) float64 {
		x := (float64(edge)/2 - low/2) / (high/2 - low/2) // halves, of which no difference overflows
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return 0
		}
		return barsWidth * x
	}
	var path strings.Builder
	for i, n := range h.Counts {
		if n == 0 {
			continue
		}
		left, right := at(h.Edges[i]), at(h.Edges[i+1])
		if right <= left {
			left, right = 0, barsWidth // one value
		}
		top := math.Min(barsHeight-barsHeight*float64(n)/float64(most), barsHeight-1)
		fmt.Fprintf(&path, "M%.1f %dV%.1fH%.1fV%dz", left, barsHeight, top, right, barsHeight)
	}
	return template.HTML(fmt.Sprintf(`<svg class="bars" viewBox="0 0 %d %d" preserveAspectRatio="none" role="img" aria-label="histogram"><path d="%s"/></svg>`,
		barsWidth, barsHeight, path.String()))
}
