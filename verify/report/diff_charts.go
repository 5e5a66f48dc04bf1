package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
	"github.com/griffin-ckpt/griffin/verify/report/internal/chart"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
)

// maxHistograms is how many tensors have a histogram of their own.
const maxHistograms = 6

// histogramsOf returns the plots of how much elements changed: of all tensors, of which so many elements differ, and of those that are farthest
// apart.
func histogramsOf(differing []*diff.TensorDiff, elements int64) (all *chart.Chart, single []*chart.Chart) {
	if len(differing) == 0 {
		return nil, nil
	}
	total, counted := map[int]int64{}, int64(0)
	for _, t := range differing {
		for c := range t.Metrics.Changes.All() {
			total[c.Exponent] += c.Count
			counted += c.Count
		}
	}
	caption := fmt.Sprintf("Differences |b − a| of all elements that differ, of %s, counted by powers of two.", text.Count(int64(len(differing)), "tensor"))
	if n := elements - counted; n > 0 {
		caption = fmt.Sprintf("Differences |b − a| of %s of %s that differ, counted by powers of two; of %s, the difference is NaN, infinite or 0.",
			text.Grouped(counted), text.Count(elements, "element"), map[bool]string{true: "the other", false: "the others"}[n == 1])
	}
	all = changesChart(total, "Elements by the size of their difference", caption, "all")
	if len(differing) == 1 {
		return all, nil
	}
	farthest := slices.Clone(differing)
	slices.SortStableFunc(farthest, func(a, b *diff.TensorDiff) int { return cmp.Compare(b.Distance(), a.Distance()) })
	for i, t := range farthest[:min(maxHistograms, len(farthest))] {
		counts := map[int]int64{}
		for c := range t.Metrics.Changes.All() {
			counts[c.Exponent] += c.Count
		}
		caption := fmt.Sprintf("Relative L2 %s, cosine %s; the largest difference is %s.", distanceNumber(float64(t.Metrics.RelativeL2)), page.CosineText(float64(t.Metrics.Cosine)), distanceNumber(float64(t.Metrics.MaxAbs)))
		single = append(single, changesChart(counts, text.Printable(t.Name), caption, strconv.Itoa(i)))
	}
	return all, single
}

// layersChart plots the relative distance of every tensor over all layers of the lists in which some differ.
func layersChart(r *diff.Result, differing []*diff.TensorDiff) *chart.Chart {
	var values []float64
	lists := map[string]bool{}
	for _, t := range differing {
		if list, layer, _ := diff.SplitLayer(t.Name); layer >= 0 {
			lists[list] = true
			if !isNotFinite(t.Distance()) {
				values = append(values, t.Distance())
			}
		}
	}
	last := -1
	bad := chart.Series{Name: "a tensor with a distance that is not finite", Class: chart.Bad, Shape: chart.Crosses}
	infinite := 0
	for i := range r.Tensors {
		t := &r.Tensors[i]
		list, layer, _ := diff.SplitLayer(t.Name)
		if layer < 0 || !lists[list] {
			continue
		}
		last = max(last, layer)
		if !isNotFinite(t.Distance()) {
			continue
		}
		if infinite++; infinite <= MaxRows {
			bad.Points = append(bad.Points, chart.Point{X: float64(layer), Y: math.Inf(1), Text: distanceText(t)})
		}
	}
	if last < 1 {
		return nil
	}
	c := &chart.Chart{ID: "plot-layers", Title: "Distance over the layers", Y: chart.Logarithmic("relative L2 of a tensor", values),
		X: chart.Axis{Label: "layer", Min: -0.5, Max: float64(last) + 0.5}}
	every := 1 + last/200
	for i := 0; i <= last; i += every {
		c.X.Ticks = append(c.X.Ticks, chart.Tick{At: float64(i), Label: strconv.Itoa(i), N: i})
	}
	plain := chart.Series{Name: "a tensor", Class: chart.Main, Shape: chart.Dots}
	explained := chart.Series{Name: "a tensor whose change is explained", Class: chart.Other, Shape: chart.Squares}
	for _, t := range differing[:min(MaxRows, len(differing))] {
		_, layer, _ := diff.SplitLayer(t.Name)
		if layer < 0 || isNotFinite(t.Distance()) {
			continue
		}
		point := chart.Point{X: float64(layer), Y: float64(t.Metrics.RelativeL2), Text: distanceText(t)}
		if e := t.Explanation; e != nil && e.Kind != explain.Other {
			explained.Points = append(explained.Points, point)
		} else {
			plain.Points = append(plain.Points, point)
		}
	}
	c.Series = []chart.Series{plain, explained, bad}
	var caption []string
	if len(values) > 0 {
		caption = append(caption, fmt.Sprintf("‖b − a‖ / ‖a‖ of %s.", text.Agree(int64(len(values)), "tensor", "in layers that differs", "in layers that differ")))
		if rest := left(len(differing), "tensors"); rest != "" {
			caption = append(caption, rest)
		}
	}
	if len(plain.Points) > 0 {
		caption = append(caption, "How far a layer moved is the mean of its tensors whose change is not explained.")
	}
	if infinite > 0 && !c.Blank() {
		caption = append(caption, text.CountAre(int64(infinite), "tensor")+" at the upper edge: the distance is not finite.")
	}
	c.Caption = strings.Join(caption, " ")
	return c
}

// changesChart is a histogram of the sizes of differences.
func changesChart(counts map[int]int64, title, caption, id string) *chart.Chart {
	low, high := math.MaxInt, math.MinInt
	values := []float64{1}
	for exponent, n := range counts {
		low, high = min(low, exponent), max(high, exponent)
		values = append(values, float64(n))
	}
	c := &chart.Chart{ID: "plot-changes-" + id, Title: title, Caption: caption, Y: chart.Logarithmic("elements", values),
		X: chart.Axis{Label: "|b − a|", Min: float64(low) - 0.5, Max: float64(high) + 1.5}}
	c.Y.Min = 0.5 // so that the bar of a single element has a height
	bars := chart.Series{Class: chart.Main, Shape: chart.Bars}
	for exponent := low; exponent <= high+1; exponent++ {
		c.X.Ticks = append(c.X.Ticks, chart.Tick{At: float64(exponent), Label: "2" + chart.Superscript(exponent), N: exponent - low})
		if n := counts[exponent]; n > 0 {
			bars.Points = append(bars.Points, chart.Point{X: float64(exponent), To: float64(exponent + 1), Y: float64(n),
				Text: fmt.Sprintf("2%s to 2%s: %s", chart.Superscript(exponent), chart.Superscript(exponent+1), text.Count(n, "element"))})
		}
	}
	c.Series = []chart.Series{bars}
	return c
}
