package diff

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"path/filepath"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/page"
)

//go:embed report.html.tmpl
var reportTemplate string

// WriteReport writes a result as one HTML page that needs nothing beside it, at once or not at all.
// command is how it was asked for, the program's name first. Equal input gives equal bytes: the page
// has no time and no name of a machine.
func WriteReport(path string, r *Result, command []string) error {
	var b bytes.Buffer
	if err := report.Execute(&b, newReport(r, command)); err != nil {
		return err
	}
	return storage.ReplaceWith(path, b.Bytes())
}

var report = template.Must(template.New("diff").Funcs(template.FuncMap{
	"shown": page.Shown, "grouped": page.Grouped, "number": page.Number, "whole": func(n int) string { return page.Grouped(int64(n)) },
	"shape": tensor.ShapeString,
}).Parse(reportTemplate + page.FigureTemplate))

// reportPage is what the template shows.
type reportPage struct {
	Style   template.CSS
	Title   string
	Answer  string // "The same", "Different"
	Lead    string // a sentence
	Result  *Result
	Sides   []*Side
	Maps    []*heatMap
	Figures []*page.Figure
	Groups  []groupRow
	Tensors []tensorRow // all that are not the same
	Command string
}

// groupRow is a line of the folded table.
type groupRow struct {
	Where, What string
	Status      Status
	Share       string // of the elements that differ
	Extent
	Measured bool
}

// tensorRow is one tensor that is not the same.
type tensorRow struct {
	*TensorDiff
	What  string
	First string // index of the first difference, with both values
}

func newReport(r *Result, command []string) *reportPage {
	g := &reportPage{Style: page.Style, Answer: "Different", Result: r, Sides: []*Side{&r.A, &r.B}, Command: page.CommandLine(command)}
	g.Lead = fmt.Sprintf("%s of %s.", r.apart(), counted(r.Summary.Tensors, "tensor"))
	if r.Equal {
		g.Answer, g.Lead = "Equal", fmt.Sprintf("Every one of %s elements of %s is the same.", page.Grouped(r.Summary.Elements), counted(r.Summary.Tensors, "tensor"))
	}
	g.Title = fmt.Sprintf("%s: %s and %s", g.Answer, page.Shown(filepath.Base(r.A.Path)), page.Shown(filepath.Base(r.B.Path)))
	for _, group := range r.Groups() {
		g.Groups = append(g.Groups, newGroupRow(r, &group))
	}
	for i := range r.Tensors {
		if t := &r.Tensors[i]; t.rank() != rankEqual {
			root, layer, _ := splitLayer(t.Name)
			g.Tensors = append(g.Tensors, tensorRow{TensorDiff: t, What: t.what(root, layer), First: t.first()})
		}
	}
	if len(g.Tensors) > 0 {
		g.Maps = heatMaps(r)
		g.Figures = figures(r)
	}
	return g
}

func newGroupRow(r *Result, g *Group) groupRow {
	row := groupRow{Where: g.Where(), What: g.What, Status: g.Status, Extent: r.Extent(g)}
	if row.Measured = row.Differing > 0; row.Measured {
		row.Share = shareOf(row.Differing, row.Elements)
	}
	return row
}

// apart counts what is not the same, in words.
func (r *Result) apart() string {
	s := &r.Summary
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{s.Differ, "with other values"}, {s.DType, "of another type"}, {s.Shape, "of another shape"}, {s.OnlyA, "only in A"}, {s.OnlyB, "only in B"},
		{s.Renamed, "renamed"}, {s.Equal - s.Renamed, "the same"}} {
		if p.n > 0 {
			parts = append(parts, page.Grouped(int64(p.n))+" "+p.what)
		}
	}
	if s.Config > 0 {
		parts = append(parts, counted(s.Config, "field")+" of the configuration that "+map[bool]string{true: "differs", false: "differ"}[s.Config == 1])
	}
	return strings.Join(parts, ", ")
}

// first shows the first differing element.
func (t *TensorDiff) first() string {
	m := t.Metrics
	if m == nil || m.Differing == 0 {
		return ""
	}
	return fmt.Sprintf("%s: %s, %s", tensor.ShapeString(m.First), page.Number(m.FirstA), page.Number(m.FirstB))
}

func shareOf(n, of int64) string {
	switch percent := 100 * float64(n) / float64(of); {
	case n == of:
		return "all"
	case percent < 0.1:
		return page.Grouped(n)
	default:
		return fmt.Sprintf("%.3g%%", math.Min(percent, 99.9))
	}
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return page.Grouped(int64(n)) + " " + noun + "s"
}
