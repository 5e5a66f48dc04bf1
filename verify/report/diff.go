package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/report/internal/chart"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
)

//go:embed diff.html.tmpl
var diffText string

// WriteDiff writes the result of a comparison as a page.
func WriteDiff(path string, r *diff.Result, o Origin) error {
	g := newDiffPage(r)
	return write(path, g.document(o), diffBody, g)
}

var diffBody = page.Parse("diff", diffText, nil)

// diffPage is what the template shows.
type diffPage struct {
	Result  *diff.Result
	Maps    []*page.Heat
	Layers  *chart.Chart
	Changes *chart.Chart
	Single  []*chart.Chart // of the tensors that are farthest apart
	Groups  *page.Table
	Tensors *page.Table // those that are not the same
	Changed int         // number of them
	Left    string      // says that Tensors does not have all
	Config  *page.Table
}

func newDiffPage(r *diff.Result) *diffPage {
	g := &diffPage{Result: r, Groups: groupsTable(r), Config: configTable(r)}
	ids := map[*diff.TensorDiff]string{}
	var differing []*diff.TensorDiff
	elements := int64(0) // that differ
	for i := range r.Tensors {
		t := &r.Tensors[i]
		if t.Same() {
			continue
		}
		if g.Changed++; g.Changed <= MaxRows {
			ids[t] = fmt.Sprintf("tensor%d", i)
		}
		if t.Metrics == nil {
			continue
		}
		elements += t.Metrics.Differing
		if len(t.Metrics.Changes) > 0 {
			differing = append(differing, t)
		}
	}
	if len(ids) == 0 {
		return g
	}
	g.Left = left(g.Changed, "tensors")
	g.Tensors = changedTable(r, ids)
	g.Maps = diffMaps(r, ids)
	g.Layers = layersChart(r, differing)
	g.Changes, g.Single = histogramsOf(differing, elements)
	return g
}

// document returns what the page shows around its body.
func (g *diffPage) document(o Origin) *page.Document {
	r := g.Result
	d := &page.Document{Kind: "Comparison", Answer: "The checkpoints differ", Tone: page.Neutral, Lead: WhatWasDone(r), Command: o.Command, Version: r.Griffin, Time: o.Time}
	counts := counted(r)
	if r.Equal {
		d.Answer, d.Tone = "The checkpoints are "+r.Kind(), page.Good
		d.Lead, counts = fmt.Sprintf("All %s of %s are %s.", text.Count(r.Summary.Elements, "element"), text.Count(int64(r.Summary.Tensors), "tensor"), strings.TrimSpace("equal "+r.Allowed())), ""
		if n := int64(r.Summary.NonFinite); n > 0 {
			d.Lead += " " + text.Agree(n, "tensor", "has", "have") + " NaN or infinities."
		}
	}
	if counts != "" {
		d.Points = append(d.Points, page.Link{Text: counts})
	}
	d.Title = fmt.Sprintf("diff: %s and %s", text.Printable(storage.BaseName(r.A.Path)), text.Printable(storage.BaseName(r.B.Path)))
	for i, s := range []*diff.Side{&r.A, &r.B} {
		d.Subjects = append(d.Subjects, sideSubject([]string{"A", "B"}[i], s))
	}
	return d
}

func sideSubject(role string, s *diff.Side) page.Subject {
	out := page.Subject{Role: role, Path: s.Path, Facts: []page.Fact{{Name: "format", Value: s.InLayout()},
		{Name: "size", Value: fmt.Sprintf("%s, %s, %s", s.CountTensors(), text.Count(s.Parameters, "element"), tensor.SizeString(s.Bytes))}}}
	for _, x := range []page.Fact{{Name: "step", Value: s.Step}, {Name: "prefix", Value: s.Prefix, Code: true}, {Name: "quantised", Value: s.Quantized}, {Name: "weights", Value: s.Digest, Code: true},
		{Name: "config.json", Value: s.ConfigFile, Code: true}} {
		if x.Value != "" {
			out.Facts = append(out.Facts, x)
		}
	}
	return out
}

// groupsTable has a row for each group of tensors to which the same was done.
func groupsTable(r *diff.Result) *page.Table {
	groups := r.Groups()
	if len(groups) == 0 {
		return nil
	}
	t := &page.Table{Label: "What differs", Columns: []page.Column{{Title: "tensors"}, {Title: "status", Short: true}, {Title: "what was done", Prose: true}, {Title: "differing", Number: true}, {Title: "largest", Number: true}, {Title: "relative L2", Number: true}, {Title: "cosine", Number: true}}}
	if r.Summary.Beyond != nil {
		t.Columns, t.Many = slices.Insert(t.Columns, 4, beyondColumn(r)), true
	}
	for i := range groups[:min(MaxRows, len(groups))] {
		group := &groups[i]
		name := page.Name(strings.Join(group.Names, ", "))
		if group.Every {
			name = page.Text("every tensor")
		}
		var of *page.Layers
		if len(group.Layers) > 0 {
			name = name.With(r.LayersOf(group) + " of " + group.List)
			list, _ := diff.CutUnpaired(group.List)
			of = page.Of(list, strings.Join(diff.Ranges(group.Layers), ","), namesInLayers(r, group))
		}
		x := r.Extent(group)
		row := page.Row{Of: of, Cells: []page.Cell{name, page.Text(statusWords(&r.Tensors[group.Tensors[0]])), page.Text(judged(group.Change, &x, len(group.Tensors))), {}, {}, {}, {}}}
		beyond := page.Cell{}
		if x.Differing > 0 {
			share := page.Cell{Text: shareOf(x.Differing, x.Elements), Sort: fmt.Sprint(float64(x.Differing) / float64(x.Elements))}
			copy(row.Cells[3:], []page.Cell{share, distanceCell(x.MaxAbs), distanceCell(x.RelativeL2), page.Cosine(x.Cosine)})
			beyond = page.Count(x.Beyond)
		}
		if r.Summary.Beyond != nil {
			row.Cells = slices.Insert(row.Cells, 4, beyond)
		}
		t.Add(row)
	}
	return t
}

// namesInLayers returns what follows the numbers of layers in the names of a group's tensors. Group.Names may fold them.
func namesInLayers(r *diff.Result, group *diff.Group) []string {
	var names []string
	seen := map[string]bool{}
	for _, i := range group.Tensors {
		if _, _, name := diff.SplitLayer(r.Tensors[i].Name); !seen[name] {
			seen[name], names = true, append(names, name)
		}
	}
	return names
}

// beyondColumn counts elements outside the tolerance, whose bounds may be on lines of their own.
func beyondColumn(r *diff.Result) page.Column {
	return page.Column{Title: "beyond " + strings.ReplaceAll(r.Tolerance, ",", ", "), Number: true}
}

// statusWords writes the status of a tensor for people.
func statusWords(t *diff.TensorDiff) string {
	if t.Renamed {
		return "renamed"
	}
	if t.ChangedToo() {
		return "another dtype, other values"
	}
	return map[diff.Status]string{diff.Equal: "equal", diff.Differs: "other values", diff.OnlyA: "only in A", diff.OnlyB: "only in B", diff.Shape: "another shape", diff.DType: "another dtype"}[t.Status]
}

// changedTable lists all tensors that are not the same.
func changedTable(r *diff.Result, ids map[*diff.TensorDiff]string) *page.Table {
	t := &page.Table{Label: "All tensors that are not the same", Many: true, Columns: []page.Column{{Title: "tensor"}, {Title: "status", Short: true}, {Title: "type", Short: true}, {Title: "shape", Short: true}, {Title: "differing", Number: true},
		{Title: "largest", Number: true}, {Title: "mean", Number: true}, {Title: "relative L2", Number: true}, {Title: "cosine", Number: true}, {Title: "ulp", Number: true}, {Title: "first", Short: true}, {Title: "what was done", Prose: true}}}
	if r.Summary.Beyond != nil {
		t.Columns = slices.Insert(t.Columns, 5, beyondColumn(r))
	}
	for i := range r.Tensors {
		d := &r.Tensors[i]
		if ids[d] == "" {
			continue
		}
		var others []string
		own, onlyB := diff.CutUnpaired(d.Name)
		for k, name := range []string{d.A, d.B} {
			if name != "" && !onlyB {
				others = append(others, []string{"A: ", "B: "}[k]+name)
			}
		}
		kind, shape := d.DType, tensor.ShapeString(d.Shape)
		if d.DTypeB != "" {
			kind += " → " + d.DTypeB
		}
		if d.ShapeB != nil {
			shape += " → " + tensor.ShapeString(d.ShapeB)
		}
		row := page.Row{ID: ids[d], Cells: []page.Cell{page.Name(own).With(strings.Join(others, ", ")), page.Text(statusWords(d)), page.Text(kind), page.Text(shape), {}, {}, {}, {}, {}, {},
			page.Text(firstDifference(d)), page.Text(changeOf(d))}}
		beyond := page.Cell{}
		if m := d.Metrics; m != nil {
			if m.Beyond != nil {
				beyond = page.Count(*m.Beyond)
			}
			ulp := page.Cell{}
			if m.MaxULP != nil {
				ulp = page.Count(*m.MaxULP)
			}
			copy(row.Cells[4:], []page.Cell{page.Count(m.Differing), distanceCell(float64(m.MaxAbs)), distanceCell(float64(m.MeanAbs)), distanceCell(float64(m.RelativeL2)), page.Cosine(m.Cosine), ulp})
		}
		if r.Summary.Beyond != nil {
			row.Cells = slices.Insert(row.Cells, 5, beyond)
		}
		t.Add(row)
	}
	return t
}

// changeOf says what was done to one tensor.
func changeOf(t *diff.TensorDiff) string {
	if t.Renamed {
		return "renamed to " + t.B
	}
	if t.CopyOf != "" {
		return "a copy of " + t.CopyOf
	}
	r := &diff.Result{Tensors: []diff.TensorDiff{*t}}
	x := r.Extent(&diff.Group{Tensors: []int{0}})
	return judged(t.Change(), &x, 1)
}

// judged adds to what was done to so many tensors how many elements were changed, if few were, and how well the tensors were quantised.
func judged(change string, x *diff.Extent, tensors int) string {
	if words := x.ChangedWords(); words != "" {
		change += ", " + words
	}
	if words := x.LeastError(tensors); words != "" {
		change += "; " + words
	}
	return change
}

// configTable lists the fields in which the configurations differ.
func configTable(r *diff.Result) *page.Table {
	if len(r.Config) == 0 {
		return nil
	}
	t := &page.Table{Label: "Configuration", Columns: []page.Column{{Title: "file or field"}, {Title: "A"}, {Title: "B"}, {Title: "meaning", Soft: true}}}
	for _, c := range r.Config {
		t.Add(page.Row{Cells: []page.Cell{page.Name(c.Field), configCell(c.A, c.DefaultA), configCell(c.B, c.DefaultB), page.Text(c.Detail)}})
	}
	return t
}

// configCell shows the value that a side has for a field, or that transformers takes because it states none.
func configCell(value string, isDefault bool) page.Cell {
	if isDefault {
		return page.Text("no such field, which stands for " + value)
	}
	return page.Text(cmp.Or(value, "—"))
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
	const few = 10
	switch percent := 100 * float64(n) / float64(of); {
	case n == of:
		return "all"
	case n < few || percent < 0.1:
		return text.Grouped(n) + " of " + text.Grouped(of)
	default:
		return fmt.Sprintf("%.3g%%", math.Min(percent, 99.9))
	}
}
