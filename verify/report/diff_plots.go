package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"

	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
)

// maxHistograms is how many tensors have a histogram of their own.
const maxHistograms = 6

// diffFigures returns the plots of a result that is not equal.
func diffFigures(r *diff.Result) []*page.Figure {
	var out []*page.Figure
	var differing []*diff.TensorDiff
	for i := range r.Tensors {
		if t := &r.Tensors[i]; t.Metrics != nil && len(t.Metrics.Changes) > 0 {
			differing = append(differing, t)
		}
	}
	if f := layersFigure(differing); f != nil {
		out = append(out, f)
	}
	if len(differing) == 0 {
		return out
	}
	total := map[int]int64{}
	for _, t := range differing {
		for _, c := range t.Metrics.Changes {
			total[c.Exponent] += c.Count
		}
	}
	title := "How much elements changed"
	out = append(out, changesFigure(total, title, fmt.Sprintf("Differences |b − a| of all elements that differ, of %s, counted by powers of two.", text.Count(int64(len(differing)), "tensor")), "all"))
	slices.SortStableFunc(differing, func(a, b *diff.TensorDiff) int { return cmp.Compare(b.Distance(), a.Distance()) })
	if len(differing) > 1 {
		for i, t := range differing[:min(maxHistograms, len(differing))] {
			counts := map[int]int64{}
			for _, c := range t.Metrics.Changes {
				counts[c.Exponent] += c.Count
			}
			caption := fmt.Sprintf("Relative L2 %s, cosine %s; the largest difference is %s.", page.Number(t.Metrics.RelativeL2), page.Number(t.Metrics.Cosine), page.Number(t.Metrics.MaxAbs))
			out = append(out, changesFigure(counts, text.Printable(t.Name), caption, strconv.Itoa(i)))
		}
	}
	return out
}

// layersFigure plots the relative distance of every tensor over the layers.
func layersFigure(differing []*diff.TensorDiff) *page.Figure {
	var values []float64
	last := -1
	for _, t := range differing {
		if _, layer, _ := diff.SplitLayer(t.Name); layer >= 0 {
			last = max(last, layer)
			values = append(values, float64(t.Metrics.RelativeL2))
		}
	}
	if last < 1 {
		return nil
	}
	p := page.NewPlot("layer", "relative L2 of a tensor")
	at := page.Logarithmic(p, values)
	p.X.Min, p.X.Max = -0.5, float64(last)+0.5
	p.X.Tick.Marker = integerTicks(last)
	var plain, explained plotter.XYs
	for _, t := range differing {
		_, layer, _ := diff.SplitLayer(t.Name)
		if layer < 0 {
			continue
		}
		point := plotter.XY{X: float64(layer), Y: at(float64(t.Metrics.RelativeL2))}
		if e := t.Explanation; e != nil && e.Kind != explain.Other {
			explained = append(explained, point)
		} else {
			plain = append(plain, point)
		}
	}
	page.Dots(p, plain, page.InkMain, draw.CircleGlyph{}, 2.5)
	page.Dots(p, explained, page.InkOther, draw.BoxGlyph{}, 2.5)
	f := &page.Figure{Title: "Distance over the layers", Caption: fmt.Sprintf("‖b − a‖ / ‖a‖ of each of %s in layers that differs.", text.Count(int64(len(values)), "tensor"))}
	if len(plain) > 0 {
		f.Legend = append(f.Legend, page.Explain("main", "a tensor"))
	}
	if len(explained) > 0 {
		f.Legend = append(f.Legend, page.Explain("other", "a tensor whose change is explained"))
	}
	f.SVG = page.SVG(p, "plot-layers", f.Title, f.Caption, page.PlotWidth, page.PlotHeight)
	return f
}

// changesFigure is a histogram of the sizes of differences.
func changesFigure(counts map[int]int64, title, caption, id string) *page.Figure {
	low, high := math.MaxInt, math.MinInt
	values := []float64{1}
	for exponent, n := range counts {
		low, high = min(low, exponent), max(high, exponent)
		values = append(values, float64(n))
	}
	p := page.NewPlot("|b − a|", "elements")
	at := page.Logarithmic(p, values)
	p.X.Min, p.X.Max = float64(low)-0.5, float64(high)+1.5
	p.X.Tick.Marker = powerTicks(low, high+1)
	var outline plotter.XYs
	for exponent := low; exponent <= high; exponent++ {
		y := p.Y.Min
		if n := counts[exponent]; n > 0 {
			y = at(float64(n))
		}
		outline = append(outline, plotter.XY{X: float64(exponent), Y: y}, plotter.XY{X: float64(exponent + 1), Y: y})
	}
	page.Area(p, outline)
	f := &page.Figure{Title: title, Caption: caption}
	f.SVG = page.SVG(p, "plot-changes-"+id, title, caption, page.PlotWidth, page.PlotHeight*2/3)
	return f
}

// powerTicks labels powers of two.
func powerTicks(low, high int) plot.ConstantTicks {
	every := max(1, (high-low+9)/10)
	var ticks plot.ConstantTicks
	for e := low; e <= high; e++ {
		t := plot.Tick{Value: float64(e)}
		if (e-low)%every == 0 {
			t.Label = "2" + page.Superscript(e)
		}
		ticks = append(ticks, t)
	}
	return ticks
}

func integerTicks(last int) plot.ConstantTicks {
	every := max(1, (last+20)/20)
	var ticks plot.ConstantTicks
	for i := 0; i <= last; i += every {
		ticks = append(ticks, plot.Tick{Value: float64(i), Label: strconv.Itoa(i)})
	}
	return ticks
}
