package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"

	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
)

// sitesFigure shows the error of every output, from the embedding to the logits, at the token and in the pass where its
// share of the limit is largest.
func sitesFigure(l *logits.Result, blocks []string, id string) *page.Figure {
	chain, fed := worstByName(l.Sites, false), worstByName(l.Sites, true)
	if len(chain) == 0 {
		return nil
	}
	count := len(blocks)
	p := page.NewPlot("block (R recurrent, A attention)", "relative error (rms)")
	var values []float64
	for _, s := range append(chain, fed...) {
		values = append(values, float64(s.RMS), float64(s.RMSAllowed))
	}
	at := page.Logarithmic(p, values)
	p.X.Min, p.X.Max = -0.7, float64(count)+2.2
	p.X.Tick.Marker = layerTicks(blocks)
	var limit, line, alone, bad plotter.XYs
	worst := chain[0]
	for _, s := range chain {
		x := siteX(s.Name, count)
		limit, line = append(limit, plotter.XY{X: x, Y: at(float64(s.RMSAllowed))}), append(line, plotter.XY{X: x, Y: at(float64(s.RMS))})
		if !s.OK {
			bad = append(bad, line[len(line)-1])
		}
		if s.Worst.Share > worst.Worst.Share && !s.Exact {
			worst = s
		}
	}
	for _, s := range fed {
		point := plotter.XY{X: siteX(s.Name, count), Y: at(float64(s.RMS))}
		if alone = append(alone, point); !s.OK {
			bad = append(bad, point)
		}
	}
	page.Area(p, limit)
	page.Stroke(p, line, page.InkMain, 1.5)
	page.Dots(p, line, page.InkMain, draw.CircleGlyph{}, 3)
	page.Dots(p, alone, page.InkOther, draw.BoxGlyph{}, 2.5)
	for _, f := range l.Faults {
		if f.Block >= 0 && f.Block < count {
			page.Upright(p, float64(f.Block), page.InkBad, 3, 3)
		}
	}
	page.Dots(p, bad, page.InkBad, draw.CircleGlyph{}, 4)
	f := &page.Figure{Title: "Divergence over the layers", Legend: []page.Legend{
		page.Explain("envelope", "the limit: the measured envelope of rounding"),
		page.Explain("main", "the fixture against float64, run from the tokens on")}}
	if len(alone) > 0 {
		f.Legend = append(f.Legend, page.Explain("other", "each block by itself, given the fixture's own input (its envelope is its own)"))
	}
	f.Caption = fmt.Sprintf("Root mean square of the error over the channels, relative to the activations, at the token of each output that is nearest to its limit. "+
		"Nearest of all: %s, %s of the limit.", worst.Title(), percent(float64(worst.Worst.Share)))
	if len(bad) > 0 {
		f.Legend = append(f.Legend, page.Explain("bad", "outside the envelope; the dashed line marks the block at fault"))
		f.Caption = fmt.Sprintf("Root mean square of the error over the channels, relative to the activations, at the worst token of each output. Outside the envelope: %s.", text.Count(len(bad), "output"))
	}
	f.SVG = page.SVG(p, id, f.Title, f.Caption, page.PlotWidth, page.PlotHeight)
	return f
}

// worstByName returns the worst pass of every result. Embeddings that are bit for bit the same have no error to show.
func worstByName(sites []*logits.Site, fed bool) []*logits.Site {
	var out []*logits.Site
	index := map[string]int{}
	for _, s := range sites {
		if s.Fed != fed || s.Exact && s.OK || s.Pass == "decode" {
			continue
		}
		i, ok := index[s.Name]
		if !ok {
			index[s.Name] = len(out)
			out = append(out, s)
		} else if s.Worst.Share > out[i].Worst.Share {
			out[i] = s
		}
	}
	return out
}

// siteX returns the x coordinate of a result: block i is at i, its temporal half shortly before.
func siteX(name string, blocks int) float64 {
	switch site, index, _ := golden.ParseSite(name); site {
	case reference.FinalNormed:
		return float64(blocks)
	case reference.Logits:
		return float64(blocks) + 1.2
	case reference.Temporal:
		return float64(index) - 0.5
	default:
		return float64(index) - 1
	}
}

func layerTicks(blocks []string) plot.ConstantTicks {
	every := max(1, (len(blocks)+19)/20)
	var ticks plot.ConstantTicks
	for i, kind := range blocks {
		t := plot.Tick{Value: float64(i)}
		if i%every == 0 && i+every <= len(blocks) || every == 1 {
			t.Label = fmt.Sprintf("%d%s", i, strings.ToUpper(kind[:min(1, len(kind))]))
		}
		ticks = append(ticks, t)
	}
	n := float64(len(blocks))
	return append(ticks, plot.Tick{Value: n, Label: "norm"}, plot.Tick{Value: n + 1.2, Label: "logits"})
}

// maxColumns is the number of tokens that a plot shows. Of more tokens, it shows the worst of each group.
const maxColumns = 800

// tokensFigure shows the error of one result at every token, row after row, and marks where the window is full and where
// documents start.
func tokensFigure(s *logits.Site, also *logits.Site, pass *golden.Pass, window int, title, id string) *page.Figure {
	if s == nil || pass == nil || len(s.Errors) != pass.Batch*pass.Length {
		return nil
	}
	p := page.NewPlot(fmt.Sprintf("position in the row (%s of %d, one after the other)", text.Count(pass.Batch, "row"), pass.Length), "relative error (rms)")
	var values []float64
	for i, e := range s.Errors {
		values = append(values, e.RMS, s.Allowed[i][0])
	}
	if also != nil {
		for _, e := range also.Errors {
			values = append(values, e.RMS)
		}
	}
	at := page.Logarithmic(p, values)
	p.X.Min, p.X.Max = -0.5, float64(len(s.Errors))-0.5
	p.X.Tick.Marker = rowTicks(pass)
	group := (len(s.Errors) + maxColumns - 1) / maxColumns
	var limit, good, bad plotter.XYs
	for from := 0; from < len(s.Errors); from += group {
		i := from
		for k := from; k < min(from+group, len(s.Errors)); k++ {
			if s.RMSShare(k) > s.RMSShare(i) {
				i = k
			}
		}
		y, allowed := at(s.Errors[i].RMS), at(s.Allowed[i][0])
		limit = append(limit, plotter.XY{X: float64(i) - 0.5, Y: allowed}, plotter.XY{X: float64(i) + 0.5, Y: allowed})
		if s.Share(i) > 1 {
			bad = append(bad, plotter.XY{X: float64(i), Y: y})
		} else {
			good = append(good, plotter.XY{X: float64(i), Y: y})
		}
	}
	page.Area(p, limit)
	f := &page.Figure{Title: title, Legend: []page.Legend{page.Explain("envelope", "the limit: the measured envelope of rounding")}}
	windows, documents := marks(p, pass, window)
	page.Dots(p, good, page.InkMain, draw.CircleGlyph{}, 2.5)
	f.Legend = append(f.Legend, page.Explain("main", "the fixture against float64"))
	if also != nil {
		page.Dots(p, decodingPoints(also, pass, at), page.InkOther, draw.RingGlyph{}, 4)
		f.Legend = append(f.Legend, page.Explain("other", "decoding, token by token"))
	}
	page.Dots(p, bad, page.InkBad, draw.CircleGlyph{}, 3.5)
	if len(bad) > 0 {
		f.Legend = append(f.Legend, page.Explain("bad", "outside the envelope"))
	}
	if windows > 0 {
		f.Legend = append(f.Legend, page.Explain("window", fmt.Sprintf("the attention window (%d) is full from here on", window)))
	}
	if documents > 0 {
		f.Legend = append(f.Legend, page.Explain("document", "a row or document begins"))
	}
	f.Caption = fmt.Sprintf("Root mean square of the error of %s over the channels, relative to float64, at each of %s.", s.Title(), text.Count(len(s.Errors), "token"))
	if group > 1 {
		f.Caption += fmt.Sprintf(" Of each %d tokens the worst is shown.", group)
	}
	switch {
	case len(bad) > 0 && s.First != nil:
		f.Caption += fmt.Sprintf(" Outside from token %d of row %d (position %d) on: %s.", s.First.Token, s.First.Row, s.First.Position, text.Count(len(bad), "token"))
	case window > 0 && windows == 0:
		f.Caption += fmt.Sprintf(" No document reaches the attention window of %d.", window)
	}
	f.SVG = page.SVG(p, id, f.Title, f.Caption, page.PlotWidth, page.PlotHeight)
	return f
}

// decodingPoints returns the points of decoding, which has the last tokens of each row.
func decodingPoints(s *logits.Site, pass *golden.Pass, at func(float64) float64) plotter.XYs {
	var points plotter.XYs
	each := len(s.Errors) / max(1, pass.Batch)
	for i, e := range s.Errors {
		if i%max(1, (len(s.Errors)+maxColumns-1)/maxColumns) == 0 && each > 0 {
			points = append(points, plotter.XY{X: float64(i/each*pass.Length + pass.Length - each + i%each), Y: at(e.RMS)})
		}
	}
	return points
}

// marks draws lines where documents start and where their windows are full, and counts both. The first token has no line.
func marks(p *plot.Plot, pass *golden.Pass, window int) (windows, documents int) {
	const maxMarks = 64 // more would hide the points
	for i, position := range pass.Positions {
		switch {
		case i > 0 && (position == 0 || i%pass.Length == 0) && documents < maxMarks:
			documents++
			page.Upright(p, float64(i)-0.5, page.InkDocument)
		case window > 0 && int(position) == window && windows < maxMarks:
			windows++
			page.Upright(p, float64(i)-0.5, page.InkWindow, 5, 3)
		}
	}
	return windows, documents
}

// rowTicks labels tokens with their number in the row.
func rowTicks(pass *golden.Pass) plot.ConstantTicks {
	every := 1
	for _, step := range []int{1, 2, 4, 5, 10, 20, 25, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 100000} {
		if every = step; pass.Batch*pass.Length/step <= 16 {
			break
		}
	}
	var ticks plot.ConstantTicks
	for row := range pass.Batch {
		if pass.Batch > 16 && row%((pass.Batch+15)/16) != 0 {
			continue
		}
		for t := 0; t < pass.Length; t += every {
			if t > 0 && pass.Length-t < every/2 {
				continue // it would overlap the next row's
			}
			ticks = append(ticks, plot.Tick{Value: float64(row*pass.Length + t), Label: strconv.Itoa(t)})
		}
	}
	return ticks
}

// maxPoints is the number of logits that a scatter plot shows.
const maxPoints = 1200

// scatterFigure plots logits of the fixture against those in float64.
func scatterFigure(m *logits.PassMetrics, id string) *page.Figure {
	if len(m.Scatter) == 0 {
		return nil
	}
	p := page.NewPlot("logit in float64", "logit of the fixture")
	low, high := math.Inf(1), math.Inf(-1)
	var points plotter.XYs
	every := max(1, (len(m.Scatter)+maxPoints-1)/maxPoints)
	for i := 0; i < len(m.Scatter); i += every {
		x, y := float64(m.Scatter[i][0]), float64(m.Scatter[i][1])
		if math.IsNaN(x-y) || math.IsInf(x, 0) || math.IsInf(y, 0) {
			continue
		}
		low, high = math.Min(low, math.Min(x, y)), math.Max(high, math.Max(x, y))
		points = append(points, plotter.XY{X: x, Y: y})
	}
	if len(points) == 0 {
		return nil
	}
	room := math.Max((high-low)*0.03, 1e-6)
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = low-room, high+room, low-room, high+room
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color, grid.Horizontal.Width, grid.Vertical.Width = page.InkGrid, page.InkGrid, 0.5, 0.5
	p.Add(grid)
	page.Stroke(p, plotter.XYs{{X: low, Y: low}, {X: high, Y: high}}, page.InkLimit, 1.5)
	page.Dots(p, points, page.InkMain, draw.CircleGlyph{}, 1.6)
	f := &page.Figure{Title: "Logits, fixture over float64", Legend: []page.Legend{page.Explain("limit", "equal"), page.Explain("main", "a logit")}}
	f.Caption = fmt.Sprintf("%s of %s, evenly taken. Correlation of those shown: %s.", text.Count(len(points), "logit"), logits.PassTitle(m.Pass), correlation(points))
	f.SVG = page.SVG(p, id, f.Title, f.Caption, 420, 400)
	return f
}

func correlation(points plotter.XYs) string {
	var mx, my, xx, yy, xy float64
	n := float64(len(points))
	for _, q := range points {
		mx, my = mx+q.X/n, my+q.Y/n
	}
	for _, q := range points {
		xx, yy, xy = xx+(q.X-mx)*(q.X-mx), yy+(q.Y-my)*(q.Y-my), xy+(q.X-mx)*(q.Y-my)
	}
	if xx == 0 || yy == 0 {
		return "none"
	}
	return strconv.FormatFloat(xy/math.Sqrt(xx*yy), 'f', 6, 64)
}

// percent writes a share of the limit.
func percent(x float64) string {
	switch {
	case math.IsInf(x, 0) || math.IsNaN(x):
		return "infinitely more"
	case x > 10:
		return fmt.Sprintf("%.3g times", x)
	}
	return fmt.Sprintf("%.0f%%", 100*x)
}
