package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"path/filepath"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
)

//go:embed diff.html.tmpl
var diffText string

// WriteDiff writes the result of a comparison to a file, at once or not at all. command is the command line
// that the page shows, the program's name first. Equal input gives equal bytes: the page has no time and
// no name of a machine.
func WriteDiff(path string, r *diff.Result, command []string) error {
	return write(path, diffTemplate, newDiffPage(r, command))
}

var diffTemplate = template.Must(template.New("diff").Funcs(template.FuncMap{
	"shown": text.Printable, "grouped": text.Grouped, "number": page.Number, "count": func(n int) string { return text.Grouped(int64(n)) },
	"shape": tensor.ShapeString,
}).Parse(diffText + page.FigureTemplate))

// diffPage is what the template shows.
type diffPage struct {
	Style   template.CSS
	Title   string
	Answer  string // "Equal", "Different"
	Lead    string // a sentence
	Result  *diff.Result
	Sides   []*diff.Side
	Maps    []*heatMap
	Figures []*page.Figure
	Groups  []diffGroup
	Tensors []diffTensor // all that are not the same
	Command string
}

// diffGroup is a row of the table of groups.
type diffGroup struct {
	Where  string
	Change string
	Status diff.Status
	Share  string // of the elements that differ
	diff.Extent
	Measured bool
}

// diffTensor is a tensor that is not the same.
type diffTensor struct {
	*diff.TensorDiff
	First string // index of the first difference, with both values
}

func newDiffPage(r *diff.Result, command []string) *diffPage {
	g := &diffPage{Style: page.Style, Answer: "Different", Result: r, Sides: []*diff.Side{&r.A, &r.B}, Command: page.CommandLine(command)}
	g.Lead = summarize(r) + "."
	if r.Equal {
		g.Answer = "Equal"
		allowed := r.Allowed()
		if allowed != "" {
			allowed = " " + allowed
		}
		g.Lead = fmt.Sprintf("All %s of %s are equal%s.", text.Count(r.Summary.Elements, "element"), text.Count(int64(r.Summary.Tensors), "tensor"), allowed)
	}
	g.Title = fmt.Sprintf("%s: %s and %s", g.Answer, text.Printable(filepath.Base(r.A.Path)), text.Printable(filepath.Base(r.B.Path)))
	for _, group := range r.Groups() {
		row := diffGroup{Where: group.Where(), Change: group.Change, Status: group.Status, Extent: r.Extent(&group)}
		if row.Measured = row.Differing > 0; row.Measured {
			row.Share = shareOf(row.Differing, row.Elements)
		}
		g.Groups = append(g.Groups, row)
	}
	for i := range r.Tensors {
		if t := &r.Tensors[i]; !t.Same() {
			g.Tensors = append(g.Tensors, diffTensor{t, firstDifference(t)})
		}
	}
	if len(g.Tensors) > 0 {
		g.Maps = heatMaps(r)
		g.Figures = diffFigures(r)
	}
	return g
}

// summarize counts in words what is equal and what is not.
func summarize(r *diff.Result) string {
	s := &r.Summary
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{s.Differ, "with other values"}, {s.DType, "of another dtype"}, {s.Shape, "of another shape"}, {s.OnlyA, "only in A"}, {s.OnlyB, "only in B"},
		{s.Renamed, "renamed"}, {s.Equal - s.Renamed, "equal"}} {
		switch {
		case p.n == 0:
		case len(parts) == 0:
			parts = append(parts, text.Count(int64(p.n), "tensor")+" "+p.what)
		default:
			parts = append(parts, text.Grouped(int64(p.n))+" "+p.what)
		}
	}
	if s.Beyond != nil {
		parts = append(parts, fmt.Sprintf("%s of the %s that differ bitwise beyond %s", text.Grouped(*s.Beyond), text.Count(s.Differing, "element"), r.Tolerance))
	}
	switch s.Config {
	case 0:
	case 1:
		parts = append(parts, "1 config field differs")
	default:
		parts = append(parts, text.Count(int64(s.Config), "config field")+" differ")
	}
	return strings.Join(parts, ", ")
}

// firstDifference shows the first differing element.
func firstDifference(t *diff.TensorDiff) string {
	m := t.Metrics
	if m == nil || m.Differing == 0 {
		return ""
	}
	a, b := page.Number(m.FirstA), page.Number(m.FirstB)
	if len(m.FirstIntegers) > 0 {
		a, b = m.FirstIntegers[0], m.FirstIntegers[1]
	}
	return fmt.Sprintf("%s: %s, %s", tensor.ShapeString(m.First), a, b)
}

func shareOf(n, of int64) string {
	switch percent := 100 * float64(n) / float64(of); {
	case n == of:
		return "all"
	case percent < 0.1:
		return text.Grouped(n)
	default:
		return fmt.Sprintf("%.3g%%", math.Min(percent, 99.9))
	}
}
