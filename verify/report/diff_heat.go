package report

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
)

// heatMap shows how far tensors are apart: a row for each name of a tensor, a column for each layer.
type heatMap struct {
	Title  string
	Layers []int
	Rows   []heatRow
	Low    string // the relative L2 of the faintest colour
	High   string // and of the strongest
}

type heatRow struct {
	Name  string
	Cells []heatCell
}

// heatCell is one tensor, or an empty cell.
type heatCell struct {
	Class string       // "none", "equal", "apart", or "bad" if there is no distance
	Style template.CSS // sets --heat to 0 … 1
	Text  string       // a description, for readers who do not see the colours
	Mark  string       // a letter in the cell
}

// heatMaps returns one map for each list of layers, and one for the tensors outside layers.
func heatMaps(r *diff.Result) []*heatMap {
	low, high := heatRange(r)
	byList := map[string][]*diff.TensorDiff{}
	var lists []string
	for i := range r.Tensors {
		t := &r.Tensors[i]
		list, layer, _ := diff.SplitLayer(t.Name)
		if layer < 0 {
			list = ""
		}
		if byList[list] == nil {
			lists = append(lists, list)
		}
		byList[list] = append(byList[list], t)
	}
	slices.SortFunc(lists, func(a, b string) int { return cmp.Compare(len(byList[b]), len(byList[a])) })
	var maps []*heatMap
	for _, list := range lists {
		if list != "" {
			maps = append(maps, newHeatMap(list, byList[list], low, high))
		}
	}
	if outside := byList[""]; len(outside) > 0 && len(maps) > 0 && len(outside) <= 64 {
		maps = append(maps, newHeatMap("", outside, low, high))
	}
	return maps
}

func newHeatMap(list string, tensors []*diff.TensorDiff, low, high float64) *heatMap {
	m := &heatMap{Title: list, Low: page.Number(low), High: page.Number(high)}
	rows, columns := map[string]map[int]*diff.TensorDiff{}, map[int]bool{}
	var names []string
	for _, t := range tensors {
		_, layer, tail := diff.SplitLayer(t.Name)
		if rows[tail] == nil {
			rows[tail] = map[int]*diff.TensorDiff{}
			names = append(names, tail)
		}
		rows[tail][layer] = t
		columns[layer] = true
	}
	slices.Sort(names)
	for layer := range columns {
		m.Layers = append(m.Layers, layer)
	}
	slices.Sort(m.Layers)
	for _, name := range names {
		row := heatRow{Name: name}
		for _, layer := range m.Layers {
			row.Cells = append(row.Cells, newHeatCell(rows[name][layer], low, high))
		}
		m.Rows = append(m.Rows, row)
	}
	if list == "" {
		m.Title, m.Layers = "outside layers", nil
	}
	return m
}

func newHeatCell(t *diff.TensorDiff, low, high float64) heatCell {
	if t == nil {
		return heatCell{Class: "none", Text: "no such tensor"}
	}
	name := text.Printable(t.Name)
	switch {
	case t.Status == diff.OnlyA:
		return heatCell{Class: "bad", Text: name + ": only in A", Mark: "A"}
	case t.Status == diff.OnlyB:
		return heatCell{Class: "bad", Text: name + ": only in B", Mark: "B"}
	case t.Status == diff.Shape:
		return heatCell{Class: "bad", Text: fmt.Sprintf("%s: %s in A, %s in B", name, tensor.ShapeString(t.Shape), tensor.ShapeString(t.ShapeB)), Mark: "S"}
	case t.Metrics == nil || t.Metrics.Differing == 0:
		return heatCell{Class: "equal", Text: name + ": the same values"}
	}
	distance := t.Distance()
	label := fmt.Sprintf("%s: relative L2 %s", name, page.Number(float64(t.Metrics.RelativeL2)))
	mark := ""
	if what := t.Change(); what != "" {
		label, mark = label+", "+text.Printable(what), "•"
	}
	if math.IsInf(distance, 0) {
		return heatCell{Class: "bad", Text: label + ", not finite", Mark: "∞"}
	}
	strength := 1.0
	if high > low {
		strength = (math.Log(math.Max(distance, low)) - math.Log(low)) / (math.Log(high) - math.Log(low))
	}
	return heatCell{Class: "apart", Style: template.CSS(fmt.Sprintf("--heat:%.0f%%", 12+88*strength)), Text: label, Mark: mark}
}

// heatRange returns the smallest and the largest relative L2 above 0, but at most six decades.
func heatRange(r *diff.Result) (low, high float64) {
	low = math.Inf(1)
	for i := range r.Tensors {
		t := &r.Tensors[i]
		if d := t.Distance(); d > 0 && !math.IsInf(d, 0) {
			low, high = math.Min(low, d), math.Max(high, d)
		}
	}
	if high == 0 {
		return 1, 1
	}
	return math.Max(low, high*1e-6), high
}
