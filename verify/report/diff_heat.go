package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
)

// distanceScale is the range of distances, on a logarithmic scale.
type distanceScale struct{ low, high float64 }

// newDistanceScale returns the range from the smallest relative L2 above 0 to the largest, but of at most six decades.
func newDistanceScale(r *diff.Result) distanceScale {
	low, high := math.Inf(1), 0.0
	for i := range r.Tensors {
		t := &r.Tensors[i]
		if d := t.Distance(); d > 0 && !math.IsInf(d, 0) {
			low, high = math.Min(low, d), math.Max(high, d)
		}
	}
	if high == 0 {
		return distanceScale{1, 1}
	}
	return distanceScale{math.Max(low, high*1e-6), high}
}

// level returns the class of a distance.
func (s distanceScale) level(distance float64) string {
	if s.high <= s.low {
		return page.Level(1)
	}
	return page.Level((math.Log(math.Max(distance, s.low)) - math.Log(s.low)) / (math.Log(s.high) - math.Log(s.low)))
}

// diffMaps returns one map for each list of layers, and one for the tensors outside layers. ids has the rows of the table of tensors.
func diffMaps(r *diff.Result, ids map[*diff.TensorDiff]string) []*page.Heat {
	scale := newDistanceScale(r)
	var maps []*page.Heat
	all := make([]heatTensor, len(r.Tensors))
	for i := range r.Tensors {
		t := &r.Tensors[i]
		cell := diffCell(t, scale)
		cell.To = ids[t]
		all[i] = heatTensor{t.Name, cell}
	}
	for _, m := range heatMaps(all) {
		m.Title = "Where it differs"
		m.Caption = "A row for each kind of tensor, a column for each layer; the colour is ‖b − a‖ / ‖a‖, on a logarithmic scale."
		m.Explain(scale.legend()...)
		maps = append(maps, m)
	}
	return maps
}

// legend explains the colours and marks of a map of distances.
func (s distanceScale) legend() []page.HeatKey {
	legend := []page.HeatKey{{Class: "equal", Text: "the same"}}
	if s.high > s.low {
		legend = append(legend, page.HeatKey{Class: page.Level(0), Text: "relative L2 " + page.Number(s.low)})
	}
	return append(legend, page.HeatKey{Class: page.Level(1), Text: "relative L2 " + page.Number(s.high)},
		page.HeatKey{Class: page.Level(1), Mark: "•", Text: "what was done is known"},
		page.HeatKey{Class: "bad", Mark: "A", Text: "only in A"}, page.HeatKey{Class: "bad", Mark: "B", Text: "only in B"},
		page.HeatKey{Class: "bad", Mark: "S", Text: "another shape"}, page.HeatKey{Class: "bad", Mark: "∞", Text: "not finite"})
}

// heatTensor is the cell of a tensor.
type heatTensor struct {
	name string
	cell page.HeatCell
}

// The limits of maps, beyond which nobody sees anything.
const (
	maxMaps  = 8
	maxCells = 20_000 // of a map, those of no tensor included
)

// heatMaps arranges tensors: one map for each list of layers, the largest first, and one of at most 64 tensors outside layers.
func heatMaps(tensors []heatTensor) []*page.Heat {
	byList := map[string][]heatTensor{}
	var lists []string
	for _, t := range tensors {
		list, layer, _ := diff.SplitLayer(t.name)
		if layer < 0 {
			list = ""
		}
		if byList[list] == nil {
			lists = append(lists, list)
		}
		byList[list] = append(byList[list], t)
	}
	slices.SortFunc(lists, func(a, b string) int { return cmp.Or(cmp.Compare(len(byList[b]), len(byList[a])), cmp.Compare(a, b)) })
	var maps []*page.Heat
	for _, list := range lists {
		if list == "" || len(maps) == maxMaps {
			continue
		}
		if m := newHeatMap(list, byList[list]); m != nil {
			maps = append(maps, m)
		}
	}
	if outside := byList[""]; len(outside) > 0 && len(maps) > 0 && len(outside) <= 64 {
		maps = append(maps, newHeatMap("", outside))
	}
	return maps
}

// newHeatMap returns nil if there would be too many cells.
func newHeatMap(list string, tensors []heatTensor) *page.Heat {
	m := &page.Heat{Name: list}
	rows, columns := map[string]map[int]page.HeatCell{}, map[int]bool{}
	var names []string
	for _, t := range tensors {
		_, layer, tail := diff.SplitLayer(t.name)
		if rows[tail] == nil {
			rows[tail] = map[int]page.HeatCell{}
			names = append(names, tail)
		}
		rows[tail][layer] = t.cell
		columns[layer] = true
	}
	slices.SortFunc(names, tensor.CompareNames)
	var layers []int
	for layer := range columns {
		layers = append(layers, layer)
	}
	slices.Sort(layers)
	if list != "" {
		m.Columns = page.LayerColumns(layers)
	}
	if len(names)*len(layers) > maxCells {
		return nil
	}
	for _, name := range names {
		row := page.HeatRow{Name: name}
		for _, layer := range layers {
			cell, ok := rows[name][layer]
			if !ok {
				cell = page.HeatCell{Class: "none", Text: "no such tensor"}
			}
			row.Cells = append(row.Cells, cell)
		}
		m.Rows = append(m.Rows, row)
	}
	return m
}

func diffCell(t *diff.TensorDiff, scale distanceScale) page.HeatCell {
	name := text.Printable(t.Name)
	switch {
	case t.Status == diff.OnlyA:
		return page.HeatCell{Class: "bad", Text: name + ": only in A", Mark: "A"}
	case t.Status == diff.OnlyB:
		return page.HeatCell{Class: "bad", Text: name + ": only in B", Mark: "B"}
	case t.Status == diff.Shape:
		return page.HeatCell{Class: "bad", Text: fmt.Sprintf("%s: %s in A, %s in B", name, tensor.ShapeString(t.Shape), tensor.ShapeString(t.ShapeB)), Mark: "S"}
	case t.Metrics == nil || t.Metrics.Differing == 0:
		return page.HeatCell{Class: "equal", Text: name + ": the same values"}
	}
	distance := t.Distance()
	label, mark := distanceText(t), ""
	if t.Change() != "" {
		mark = "•"
	}
	if math.IsInf(distance, 0) || math.IsNaN(distance) {
		return page.HeatCell{Class: "bad", Text: label + ", not finite", Mark: "∞"}
	}
	return page.HeatCell{Class: scale.level(distance), Text: label, Mark: mark}
}

// distanceText says how far a tensor is from its counterpart, and what was done.
func distanceText(t *diff.TensorDiff) string {
	label := fmt.Sprintf("%s: relative L2 %s", text.Printable(t.Name), page.Number(float64(t.Metrics.RelativeL2)))
	if what := t.Change(); what != "" {
		label += ", " + text.Printable(what)
	}
	return label
}
