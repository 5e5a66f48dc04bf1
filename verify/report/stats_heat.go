package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
)

// statistic is a statistic of which the page has maps, and in which it looks for outliers.
type statistic struct {
	id, title, name string
	of              func(*TensorValues) float64
}

var statistics = []statistic{
	{"std", "Standard deviation", "standard deviation", func(t *TensorValues) float64 { return float64(t.Std) }},
	{"absmax", "Largest absolute value", "largest absolute value", func(t *TensorValues) float64 { return float64(t.AbsMax) }},
}

// outlier is a statistic of a tensor that is far from that of the tensors of its kind in other layers.
type outlier struct {
	tensor    int
	statistic string // id
	value     float64
	median    float64 // of the kind
	factor    float64 // value / median; 0 or infinite if one of them is 0
}

// outlierFactor is how many times the median of its kind, or what part of it, an outlier is.
const outlierFactor = 4

// findOutliers returns the outliers, the farthest first. A kind is the tensors of one name in at least four layers.
func findOutliers(tensors []TensorValues) []outlier {
	type kind struct{ list, tail string }
	kinds := map[kind][]int{}
	var names []kind
	for i := range tensors {
		list, layer, tail := diff.SplitLayer(tensors[i].Name)
		if layer < 0 {
			continue
		}
		k := kind{list, tail}
		if kinds[k] == nil {
			names = append(names, k)
		}
		kinds[k] = append(kinds[k], i)
	}
	var out []outlier
	for _, kind := range names {
		if len(kinds[kind]) < 4 {
			continue
		}
		for _, s := range statistics {
			var values []float64
			for _, i := range kinds[kind] {
				if v := s.of(&tensors[i]); !math.IsNaN(v) {
					values = append(values, v)
				}
			}
			if len(values) == 0 {
				continue
			}
			slices.Sort(values)
			median := values[len(values)/2]
			for _, i := range kinds[kind] {
				v := s.of(&tensors[i])
				if factor := v / median; factor > outlierFactor || factor < 1./outlierFactor {
					out = append(out, outlier{i, s.id, v, median, factor})
				}
			}
		}
	}
	far := func(o outlier) float64 { return math.Abs(math.Log(o.factor)) }
	slices.SortStableFunc(out, func(a, b outlier) int { return cmp.Compare(far(b), far(a)) })
	return out
}

// maxOutliers is how many outliers the page lists.
const maxOutliers = 100

func outliersTable(tensors []TensorValues, outliers []outlier) *page.Table {
	if len(outliers) == 0 {
		return nil
	}
	t := &page.Table{Label: "Outliers", Columns: []page.Column{{Title: "tensor"}, {Title: "statistic", Short: true}, {Title: "value", Number: true}, {Title: "median of its kind", Number: true}, {Title: "times", Number: true}}}
	for _, o := range outliers[:min(maxOutliers, len(outliers))] {
		at := slices.IndexFunc(statistics, func(s statistic) bool { return s.id == o.statistic })
		name := page.Name(tensors[o.tensor].Name)
		name.To = valuesID(o.tensor)
		t.Add(page.Row{Cells: []page.Cell{name, page.Text(statistics[at].name), page.Value(o.value), page.Value(o.median), timesCell(o.factor)}})
	}
	return t
}

// timesCell shows a factor, one of thousands without an exponent.
func timesCell(factor float64) page.Cell {
	c := page.Value(factor)
	if factor >= 1000 && factor < 1e6 {
		c.Text = text.Grouped(int64(math.Round(factor/10) * 10))
	}
	return c
}

// whereOutliers names the tensors that have outliers.
func whereOutliers(v *Values, outliers []outlier) string {
	far := make(map[int]bool, len(outliers))
	for _, o := range outliers {
		far[o.tensor] = true
	}
	items := diff.Items{Len: len(v.Tensors), BlockTypes: v.BlockTypes, Name: func(i int) string { return v.Tensors[i].Name },
		What: func(i int) (diff.Status, string, bool) { return diff.Equal, "", far[i] }}
	return items.Words()
}

// valueMaps returns the maps of a statistic: a row for each kind of tensor, a column for each layer.
func valueMaps(tensors []TensorValues, s statistic, outliers []outlier) []*page.Heat {
	low, high := math.Inf(1), 0.0
	for i := range tensors {
		if v := s.of(&tensors[i]); v > 0 && !math.IsInf(v, 0) {
			low, high = math.Min(low, v), math.Max(high, v)
		}
	}
	if high == 0 {
		return nil
	}
	low = scaleStart(low, high)
	out := map[int]bool{}
	for _, o := range outliers {
		if o.statistic == s.id {
			out[o.tensor] = true
		}
	}
	cellOf := func(i int) page.HeatCell {
		t := &tensors[i]
		v := s.of(t)
		cell := page.HeatCell{Text: fmt.Sprintf("%s: %s %s", text.Printable(tensor.Clip(t.Name)), s.name, page.Number(v)), To: valuesID(i)}
		switch {
		case !t.Finite():
			cell.Class, cell.Mark = "bad", "∞"
			cell.Text += fmt.Sprintf(" of the finite values; %s NaN, %s Inf", text.Grouped(t.NaN), text.Grouped(t.Inf))
		case !(v > 0):
			cell.Class = "equal"
		case high == low:
			cell.Class = page.Level(1)
		default:
			cell.Class = page.Level(math.Log(math.Max(v, low)/low) / math.Log(high/low))
		}
		if out[i] {
			cell.Class += " out"
			cell.Text += ", an outlier"
		}
		return cell
	}
	legend := []page.HeatKey{{Class: "equal", Text: "0 or none"}}
	if high > low {
		legend = append(legend, page.HeatKey{Class: page.Level(0), Text: page.Number(low)}, page.HeatKey{Class: page.Level(0.5), Text: page.Number(math.Sqrt(low * high))})
	}
	legend = append(legend, page.HeatKey{Class: page.Level(1), Text: page.Number(high)},
		page.HeatKey{Class: "out", Text: fmt.Sprintf("more than %d times the median of its kind, or less than a quarter of it", outlierFactor)},
		page.HeatKey{Class: "bad", Mark: "∞", Text: "NaN or infinities"})
	maps := heatMaps(len(tensors), func(i int) string { return tensors[i].Name }, cellOf)
	for _, m := range maps {
		m.Title = s.title
		if m.Caption = fmt.Sprintf("The %s of each tensor, on a logarithmic scale.", s.name); len(m.Columns) > 0 {
			m.Caption = fmt.Sprintf("The %s of each tensor: a row for each kind, a column for each layer, on a logarithmic scale.", s.name)
		}
		m.Explain(legend...)
	}
	return maps
}
