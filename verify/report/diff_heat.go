package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
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
	return distanceScale{scaleStart(low, high), high}
}

// scaleStart returns where a scale of colours begins that ends at high: at low, but at most six decades below; at high if the
// legend could not tell the two apart.
func scaleStart(low, high float64) float64 {
	if page.Number(low) == page.Number(high) {
		return high
	}
	return math.Max(low, high*1e-6)
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
	var out []*page.Heat
	for _, m := range heatMaps(len(r.Tensors), func(i int) string { return r.Tensors[i].Name }, func(i int) page.HeatCell {
		t := &r.Tensors[i]
		cell := diffCell(t, scale)
		cell.To = ids[t]
		return cell
	}) {
		isSame := func(c page.HeatCell) bool { return c.Class == "equal" || c.Class == "none" || c.Mark == "D" }
		if !slices.ContainsFunc(m.Rows, func(row page.HeatRow) bool {
			return slices.ContainsFunc(row.Cells, func(c page.HeatCell) bool { return !isSame(c) })
		}) {
			continue // no value differs in these layers, or outside layers
		}
		m.Title = "Where it differs"
		columns := "a column for each layer"
		if list, onlyB := diff.CutUnpaired(m.Name); onlyB {
			m.Name, columns = list, "a column for each layer that only B has, under its number in B"
		}
		m.Caption = "A row for each kind of tensor, " + columns
		if m.Columns == nil {
			m.Caption = "A row for each tensor outside layers"
		}
		m.Explain(scale.legend()...)
		if slices.ContainsFunc(m.Legend, func(k page.HeatKey) bool { return strings.HasPrefix(k.Class, "apart") && k.Mark == "" }) {
			m.Caption += "; the colour is ‖b − a‖ / ‖a‖, on a logarithmic scale"
		}
		m.Caption += "."
		out = append(out, m)
	}
	return out
}

// legend explains the colours and marks of a map of distances.
func (s distanceScale) legend() []page.HeatKey {
	legend := []page.HeatKey{{Class: "equal", Text: "the same"}}
	if s.high > s.low {
		legend = append(legend, page.HeatKey{Class: page.Level(0), Text: "relative L2 " + page.Number(s.low)})
	}
	return append(legend, page.HeatKey{Class: page.Level(1), Text: "relative L2 " + page.Number(s.high)},
		page.HeatKey{Class: page.Level(1), Mark: "•", Text: "what was done is known"},
		page.HeatKey{Class: "renamed", Mark: "D", Text: "another dtype, the same values"}, page.HeatKey{Class: "renamed", Mark: "R", Text: "renamed, the same values"}, page.HeatKey{Class: "within", Mark: "≈", Text: "other values, within the tolerance"},
		page.HeatKey{Class: "bad", Mark: "A", Text: "only in A"}, page.HeatKey{Class: "bad", Mark: "B", Text: "only in B"},
		page.HeatKey{Class: "bad", Mark: "S", Text: "another shape"}, page.HeatKey{Class: "bad", Mark: "∞", Text: "not finite"})
}

// The limits of maps, beyond which nobody sees anything.
const (
	maxMaps     = 8
	maxCells    = 20_000 // of a map, those of no tensor included
	maxAllCells = 40_000 // of all maps
)

// heatMaps arranges n tensors: one map for each list of layers, the largest first, and one of at most 64 tensors outside layers. cell makes
// the cells of those that have a place in a map.
func heatMaps(n int, nameOf func(i int) string, cell func(i int) page.HeatCell) []*page.Heat {
	byList := map[string][]int{}
	var lists []string
	for i := range n {
		list, layer, _ := diff.SplitLayer(nameOf(i))
		if layer < 0 {
			list = ""
		}
		if byList[list] == nil {
			lists = append(lists, list)
		}
		byList[list] = append(byList[list], i)
	}
	slices.SortFunc(lists, func(a, b string) int { return cmp.Or(cmp.Compare(len(byList[b]), len(byList[a])), cmp.Compare(a, b)) })
	var out []*page.Heat
	left := maxAllCells
	for _, list := range lists {
		if list == "" || len(out) == maxMaps {
			continue
		}
		if m := newHeatMap(list, byList[list], min(maxCells, left), nameOf, cell); m != nil {
			out = append(out, m)
			left -= len(m.Rows) * len(m.Columns)
		}
	}
	if outside := byList[""]; len(outside) > 0 && len(out) > 0 && len(outside) <= 64 {
		out = append(out, newHeatMap("", outside, maxCells, nameOf, cell))
	}
	return out
}

// newHeatMap returns nil if there would be more cells than most.
func newHeatMap(list string, tensors []int, most int, nameOf func(i int) string, cell func(i int) page.HeatCell) *page.Heat {
	rows, columns := map[string]map[int]int{}, map[int]bool{} // indexes of tensors by layer
	for _, i := range tensors {
		_, layer, tail := diff.SplitLayer(nameOf(i))
		if rows[tail], columns[layer] = nil, true; len(rows)*len(columns) > most {
			return nil
		}
	}
	for _, i := range tensors {
		_, layer, tail := diff.SplitLayer(nameOf(i))
		if rows[tail] == nil {
			rows[tail] = map[int]int{}
		}
		rows[tail][layer] = i
	}
	layers := slices.Sorted(maps.Keys(columns))
	m := &page.Heat{Name: list}
	if list != "" {
		m.Columns = page.LayerColumns(layers)
	}
	for _, name := range slices.SortedFunc(maps.Keys(rows), tensor.CompareNames) {
		row := page.HeatRow{Name: name}
		for _, layer := range layers {
			if i, ok := rows[name][layer]; ok {
				row.Cells = append(row.Cells, cell(i))
			} else {
				row.Cells = append(row.Cells, page.HeatCell{Class: "none", Text: "no such tensor"})
			}
		}
		m.Rows = append(m.Rows, row)
	}
	return m
}

func diffCell(t *diff.TensorDiff, scale distanceScale) page.HeatCell {
	name, _ := diff.CutUnpaired(t.Name)
	name = text.Printable(tensor.Clip(name))
	copied := ""
	if t.CopyOf != "" {
		copied = ", " + text.Printable(changeOf(t))
	}
	switch {
	case t.Status == diff.OnlyA:
		return page.HeatCell{Class: "bad", Text: name + ": only in A" + copied, Mark: "A"}
	case t.Status == diff.OnlyB:
		return page.HeatCell{Class: "bad", Text: name + ": only in B" + copied, Mark: "B"}
	case t.Status == diff.Shape:
		return page.HeatCell{Class: "bad", Text: fmt.Sprintf("%s: %s in A, %s in B", name, tensor.ShapeString(t.Shape), tensor.ShapeString(t.ShapeB)), Mark: "S"}
	case t.Renamed:
		return page.HeatCell{Class: "renamed", Text: name + ": " + text.Printable(changeOf(t)), Mark: "R"}
	case t.Status == diff.DType && (t.Metrics == nil || t.Metrics.Differing == 0):
		return page.HeatCell{Class: "renamed", Text: name + ": " + text.Printable(changeOf(t)), Mark: "D"}
	case t.Metrics == nil || t.Metrics.Differing == 0:
		return page.HeatCell{Class: "equal", Text: name + ": the same values"}
	case t.Status == diff.Equal:
		return page.HeatCell{Class: "within", Text: distanceText(t) + ", within the tolerance", Mark: "≈"}
	}
	distance := t.Distance()
	label, mark := distanceText(t), ""
	if t.Explained() {
		mark = "•"
	}
	if math.IsInf(distance, 0) || math.IsNaN(distance) {
		if math.IsInf(float64(t.Metrics.RelativeL2), 0) {
			label += ", not finite"
		}
		return page.HeatCell{Class: "bad", Text: label, Mark: "∞"}
	}
	return page.HeatCell{Class: scale.level(distance), Text: label, Mark: mark}
}

// distanceNumber writes a distance, which is no number beside NaN.
func distanceNumber(x float64) string {
	if math.IsNaN(x) {
		return "not finite"
	}
	return page.Number(x)
}

// distanceCell shows what distanceNumber writes.
func distanceCell(x float64) page.Cell {
	c := page.Value(x)
	c.Text = distanceNumber(x)
	return c
}

// distanceText says how far a tensor is from its counterpart, and what was done.
func distanceText(t *diff.TensorDiff) string {
	label := fmt.Sprintf("%s: relative L2 %s", text.Printable(tensor.Clip(t.Name)), distanceNumber(float64(t.Metrics.RelativeL2)))
	if what := t.Change(); what != "" {
		label += ", " + text.Printable(what)
	}
	return label
}
