package page

import (
	"fmt"
	"html"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The style sheet chooses the colours of plots, so that they follow the reader's light or dark mode. Plots are drawn in
// placeholder colours, one for each role; inkNames replaces them by the variables of the style sheet.
var (
	InkText     = color.RGBA{1, 1, 1, 255}
	InkGrid     = color.RGBA{1, 1, 2, 255}
	InkEnvelope = color.RGBA{1, 1, 3, 255} // the area below the limit
	InkLimit    = color.RGBA{1, 1, 4, 255} // the limit
	InkMain     = color.RGBA{1, 1, 5, 255}
	InkOther    = color.RGBA{1, 1, 6, 255}
	InkBad      = color.RGBA{1, 1, 7, 255}
	InkWindow   = color.RGBA{1, 1, 8, 255}
	InkDocument = color.RGBA{1, 1, 9, 255}
)

var inkNames = strings.NewReplacer(
	"#010101", "var(--plot-text)", "#010102", "var(--plot-grid)", "#010103", "var(--plot-envelope)",
	"#010104", "var(--plot-limit)", "#010105", "var(--plot-main)", "#010106", "var(--plot-other)",
	"#010107", "var(--plot-bad)", "#010108", "var(--plot-window)", "#010109", "var(--plot-document)")

// Sizes of plots, in points of the SVG, which the page scales to its width.
const (
	PlotWidth  = 640
	PlotHeight = 300
	fontSize   = 12
)

// NewPlot returns an empty plot in the page's style.
func NewPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = color.Transparent
	face := font.Font{Typeface: "Liberation", Variant: "Sans", Size: fontSize}
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Color, axis.Tick.Color = InkGrid, InkGrid
		axis.Label.TextStyle.Color, axis.Tick.Label.Color = InkText, InkText
		axis.Label.TextStyle.Font, axis.Tick.Label.Font = face, face
		axis.Padding = 4
		axis.LineStyle.Width, axis.Tick.LineStyle.Width = 1, 1
		axis.Tick.Length = 4
	}
	p.X.Label.Text, p.Y.Label.Text = x, y
	return p
}

// decades are the ticks of a logarithmic axis.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(low, high float64) []plot.Tick {
	from, to := int(math.Ceil(math.Log10(low)-1e-9)), int(math.Floor(math.Log10(high)+1e-9))
	every := max(1, (to-from+5)/6)
	var ticks []plot.Tick
	for e := from; e <= to; e++ {
		t := plot.Tick{Value: math.Pow(10, float64(e))}
		if (e-from)%every == 0 {
			t.Label = "10" + Superscript(e)
		}
		ticks = append(ticks, t)
	}
	return ticks
}

// Superscript writes a number as an exponent.
func Superscript(n int) string {
	return strings.NewReplacer("-", "⁻", "0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴", "5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹").Replace(fmt.Sprint(n))
}

// Logarithmic gives a plot a logarithmic y axis over the whole decades of all positive values. It returns a function that
// moves a value onto the axis: zero to the bottom, values that are not finite to the top.
func Logarithmic(p *plot.Plot, values []float64) func(float64) float64 {
	low, high := math.Inf(1), 0.0
	for _, v := range values {
		if v > 0 && !math.IsInf(v, 0) {
			low, high = math.Min(low, v), math.Max(high, v)
		}
	}
	if high == 0 {
		low, high = 1e-9, 1
	}
	low = math.Pow(10, math.Floor(math.Log10(math.Max(low, high*1e-12))))
	high = math.Pow(10, math.Ceil(math.Log10(high*1.05)))
	p.Y.Min, p.Y.Max, p.Y.Scale, p.Y.Tick.Marker = low, high, plot.LogScale{}, decades{}
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color, grid.Horizontal.Width = InkGrid, 0.5
	p.Add(grid)
	return func(v float64) float64 {
		if math.IsNaN(v) {
			return high
		}
		return math.Min(math.Max(v, low), high)
	}
}

// Area fills the area below a line.
func Area(p *plot.Plot, line plotter.XYs) {
	if len(line) == 0 {
		return
	}
	outline := append(plotter.XYs{{X: line[0].X, Y: p.Y.Min}}, line...)
	outline = append(outline, plotter.XY{X: line[len(line)-1].X, Y: p.Y.Min})
	if polygon, err := plotter.NewPolygon(outline); err == nil {
		polygon.Color, polygon.LineStyle.Width = InkEnvelope, 0
		p.Add(polygon)
	}
	Stroke(p, line, InkLimit, 1.5)
}

// Stroke draws a line. dashes are lengths of strokes and gaps; none for a solid line.
func Stroke(p *plot.Plot, points plotter.XYs, c color.Color, width vg.Length, dashes ...vg.Length) {
	if l, err := plotter.NewLine(points); err == nil {
		l.Color, l.Width, l.Dashes = c, width, dashes
		p.Add(l)
	}
}

// Upright draws a vertical line through the plot.
func Upright(p *plot.Plot, x float64, c color.Color, dashes ...vg.Length) {
	Stroke(p, plotter.XYs{{X: x, Y: p.Y.Min}, {X: x, Y: p.Y.Max}}, c, 1.5, dashes...)
}

// Dots draws points.
func Dots(p *plot.Plot, points plotter.XYs, c color.Color, shape draw.GlyphDrawer, radius vg.Length) {
	if len(points) == 0 {
		return
	}
	if s, err := plotter.NewScatter(points); err == nil {
		s.Color, s.Shape, s.Radius = c, shape, radius
		p.Add(s)
	}
}

var svgHead = regexp.MustCompile(`(?s)^.*?<svg [^>]*>`)

// SVG draws a plot as an element of the page, with its text alternative.
func SVG(p *plot.Plot, id, title, description string, width, height vg.Length) template.HTML {
	canvas := vgsvg.New(width, height)
	p.Draw(draw.New(canvas))
	var b strings.Builder
	if _, err := canvas.WriteTo(&b); err != nil {
		return "" // a Builder does not fail
	}
	head := fmt.Sprintf(`<svg viewBox="0 0 %g %g" role="img" aria-labelledby="%s-title %s-desc"><title id="%s-title">%s</title><desc id="%s-desc">%s</desc>`,
		float64(width), float64(height), id, id, id, html.EscapeString(title), id, html.EscapeString(description))
	body := svgHead.ReplaceAllLiteralString(b.String(), head)
	body = strings.ReplaceAll(body, "font-family:Liberation Sans;font-variant:normal;font-weight:normal;font-style:normal;", "")
	return template.HTML(inkNames.Replace(body))
}
