package diff

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/page"
)

// heatMap shows how far tensors are apart, a row for each kind of tensor and a column for each layer.
type heatMap struct {
	Title  string
	Layers []int
	Rows   []heatRow
	Low    string // the relative L2 that the faintest and the strongest colour stand for
	High   string
}

type heatRow struct {
	Name  string
	Cells []heatCell
}

// heatCell is one tensor, or where there is none.
type heatCell struct {
	Class string       // "none", "equal", "apart", or "bad" for what cannot be measured
	Style template.CSS // that sets --heat to 0 … 1
	Text  string       // what it is, for those who point at it or do not see colours
	Mark  string       // a letter where colours do not say it
}

// heatMaps returns one map for each list of layers, and one for what lies outside of all.
func heatMaps(r *Result) []*heatMap {
	low, high := heatRange(r)
	byRoot := map[string][]*TensorDiff{}
	var roots []string
	for i := range r.Tensors {
		t := &r.Tensors[i]
		root, layer, _ := splitLayer(t.Name)
		if layer < 0 {
			root = ""
		}
		if byRoot[root] == nil {
			roots = append(roots, root)
		}
		byRoot[root] = append(byRoot[root], t)
	}
	slices.SortFunc(roots, func(a, b string) int { return cmp.Compare(len(byRoot[b]), len(byRoot[a])) })
	var maps []*heatMap
	for _, root := range roots {
		if root != "" {
			maps = append(maps, newHeatMap(root, byRoot[root], low, high))
		}
	}
	if outside := byRoot[""]; len(outside) > 0 && len(maps) > 0 && len(outside) <= 64 {
		maps = append(maps, newHeatMap("", outside, low, high))
	}
	return maps
}

func newHeatMap(root string, tensors []*TensorDiff, low, high float64) *heatMap {
	m := &heatMap{Title: root, Low: page.Number(low), High: page.Number(high)}
	rows, columns := map[string]map[int]*TensorDiff{}, map[int]bool{}
	var names []string
	for _, t := range tensors {
		_, layer, tail := splitLayer(t.Name)
		if rows[tail] == nil {
			rows[tail] = map[int]*TensorDiff{}
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
	if root == "" {
		m.Title, m.Layers = "outside layers", nil
	}
	return m
}

func newHeatCell(t *TensorDiff, low, high float64) heatCell {
	if t == nil {
		return heatCell{Class: "none", Text: "no such tensor"}
	}
	name := page.Shown(t.Name)
	switch {
	case t.Status == OnlyA:
		return heatCell{Class: "bad", Text: name + ": only in A", Mark: "A"}
	case t.Status == OnlyB:
		return heatCell{Class: "bad", Text: name + ": only in B", Mark: "B"}
	case t.Status == Shape:
		return heatCell{Class: "bad", Text: fmt.Sprintf("%s: %s in A, %s in B", name, tensor.ShapeString(t.Shape), tensor.ShapeString(t.ShapeB)), Mark: "S"}
	case t.Metrics == nil || t.Metrics.Differing == 0:
		return heatCell{Class: "equal", Text: name + ": the same values"}
	}
	distance := t.distance()
	root, layer, _ := splitLayer(t.Name)
	text := fmt.Sprintf("%s: relative L2 %s", name, page.Number(float64(t.Metrics.RelativeL2)))
	mark := ""
	if what := t.what(root, layer); what != "" {
		text, mark = text+", "+page.Shown(what), "•"
	}
	if math.IsInf(distance, 0) {
		return heatCell{Class: "bad", Text: text + ", not finite", Mark: "∞"}
	}
	strength := 1.0
	if high > low {
		strength = (math.Log(math.Max(distance, low)) - math.Log(low)) / (math.Log(high) - math.Log(low))
	}
	return heatCell{Class: "apart", Style: template.CSS(fmt.Sprintf("--heat:%.0f%%", 12+88*strength)), Text: text, Mark: mark}
}

// heatRange returns the least and the largest relative L2 above 0; at most six decades are told apart.
func heatRange(r *Result) (low, high float64) {
	low = math.Inf(1)
	for i := range r.Tensors {
		t := &r.Tensors[i]
		if d := t.distance(); d > 0 && !math.IsInf(d, 0) {
			low, high = math.Min(low, d), math.Max(high, d)
		}
	}
	if high == 0 {
		return 1, 1
	}
	return math.Max(low, high*1e-6), high
}
