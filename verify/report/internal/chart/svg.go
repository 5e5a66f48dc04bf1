package chart

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// The sizes of drawings, in their own units, which are about pixels.
const (
	wide      = 760
	narrow    = 340
	fontSize  = 12
	tickSize  = 4
	room      = 6    // between labels, and around
	ratio     = 0.44 // of height to width
	most      = 330  // height
	squareTop = 460  // width of a square plot
)

// HTML returns the legend and both drawings, of which the style sheet shows one; or a sentence if there is nothing to draw.
func (c *Chart) HTML() template.HTML {
	if c.Blank() {
		return "<p>There is no finite value to show.</p>\n"
	}
	var b strings.Builder
	if entries := c.legend(); len(entries) > 0 {
		b.WriteString(`<ul class="legend">`)
		for _, s := range entries {
			fmt.Fprintf(&b, `<li>%s%s</li>`, swatch(&s), html.EscapeString(text.Printable(s.Name)))
		}
		b.WriteString("</ul>\n")
	}
	width := float64(wide)
	if c.Square {
		width = squareTop
	}
	c.draw(&b, "wide", width)
	c.draw(&b, "narrow", narrow)
	return template.HTML(b.String())
}

// swatch draws the entry of a series in the legend, in the shape of the plot.
func swatch(s *Series) string {
	var b strings.Builder
	b.WriteString(`<svg class="swatch" viewBox="0 0 18 12" aria-hidden="true">`)
	f := frame{b: &b, left: 1, right: 17, top: 1, bottom: 11, x: Axis{Max: 1}, y: Axis{Max: 1}}
	point := []Point{{X: 0.5, Y: 0.5}}
	switch s.Shape {
	case LinedDots, Line:
		f.series(&Series{Class: s.Class, Shape: Line, Points: []Point{{Y: 0.5}, {X: 1, Y: 0.5}}})
		if s.Shape == LinedDots {
			f.series(&Series{Class: s.Class, Shape: Dots, Points: point})
		}
	case Area, Steps:
		f.series(&Series{Class: s.Class, Shape: Area, Points: []Point{{Y: 0.8}, {X: 1, Y: 0.8}}})
	case Bars, Bands:
		f.series(&Series{Class: s.Class, Shape: Bars, Points: []Point{{X: 0, To: 1, Y: 1}}})
	default:
		f.series(&Series{Class: s.Class, Shape: s.Shape, Points: point})
	}
	b.WriteString("</svg>")
	return b.String()
}

// frame is the area of a drawing that has the points.
type frame struct {
	b                        *strings.Builder
	left, right, top, bottom float64
	x, y                     Axis
}

func (f *frame) atX(v float64) float64 { return f.left + (f.right-f.left)*f.x.share(v) }
func (f *frame) atY(v float64) float64 { return f.bottom - (f.bottom-f.top)*f.y.share(v) }

// draw writes a drawing of a width.
func (c *Chart) draw(b *strings.Builder, class string, width float64) {
	height := math.Min(width*ratio, most)
	switch {
	case c.Square:
		height = width * 0.96
	case width <= narrow:
		height = width * 0.7
	}
	f := c.layout(b, width, height)
	id := c.ID + "-" + class
	fmt.Fprintf(b, `<svg class="chart %s" id="%s" viewBox="0 0 %s %s" role="img" aria-labelledby="%s-title %s-desc"><title id="%s-title">%s</title><desc id="%s-desc">%s</desc>`,
		class, id, number(width), number(height), id, id, id, html.EscapeString(text.Printable(c.Title)), id, html.EscapeString(text.Printable(c.Caption)))
	f.axes(c)
	for i := range c.Series {
		f.series(&c.Series[i])
	}
	b.WriteString("</svg>\n")
}

// layout leaves room for the labels.
func (c *Chart) layout(b *strings.Builder, width, height float64) *frame {
	f := &frame{b: b, top: fontSize, right: width - 2*room, bottom: height - 3*fontSize - tickSize, x: c.X, y: c.Y}
	longest := 0.0
	for _, l := range f.labelsY() {
		longest = math.Max(longest, fontSize*textWidth(l.text))
	}
	f.left = fontSize + 2*room + tickSize + longest
	for _, l := range f.labelsX() {
		if l.to > width {
			f.right -= l.to - width
		}
	}
	return f
}

func (f *frame) labelsX() []label {
	return labels(f.x.Ticks, f.atX, func(s string) float64 { return fontSize * textWidth(s) }, room)
}

func (f *frame) labelsY() []label {
	return labels(f.y.Ticks, f.atY, func(string) float64 { return fontSize }, room)
}

// axes draws the grid, the ticks and their labels.
func (f *frame) axes(c *Chart) {
	var grid, ticks strings.Builder
	for _, t := range f.y.Ticks {
		fmt.Fprintf(&grid, "M%s %sH%s", number(f.left), number(f.atY(t.At)), number(f.right))
	}
	for _, t := range f.x.Ticks {
		fmt.Fprintf(&ticks, "M%s %sv%d", number(f.atX(t.At)), number(f.bottom), tickSize)
	}
	fmt.Fprintf(f.b, `<path class="grid" d="%s"/><path class="axis" d="M%s %sV%sH%s%s"/>`, grid.String(), number(f.left), number(f.top), number(f.bottom), number(f.right), ticks.String())
	for _, l := range f.labelsY() {
		f.text(f.left-room, l.at+fontSize*0.35, "end", l.text)
	}
	for _, l := range f.labelsX() {
		f.text(l.at, f.bottom+tickSize+fontSize, "middle", l.text)
	}
	f.text((f.left+f.right)/2, f.bottom+tickSize+2.4*fontSize, "middle", c.X.Label)
	middle := (f.top + f.bottom) / 2
	fmt.Fprintf(f.b, `<text class="middle" transform="translate(%s %s) rotate(-90)">%s</text>`, number(fontSize), number(middle), html.EscapeString(c.Y.Label))
}

func (f *frame) text(x, y float64, class, words string) {
	fmt.Fprintf(f.b, `<text class="%s" x="%s" y="%s">%s</text>`, class, number(x), number(y), html.EscapeString(words))
}

// series draws points.
func (f *frame) series(s *Series) {
	if len(s.Points) == 0 {
		return
	}
	switch s.Shape {
	case Area, Steps:
		f.area(s)
		return
	case Line, LinedDots:
		var path strings.Builder
		for i, p := range s.Points {
			fmt.Fprintf(&path, "%s%s %s", map[bool]string{true: "M", false: "L"}[i == 0], number(f.atX(p.X)), number(f.atY(p.Y)))
		}
		fmt.Fprintf(f.b, `<path class="%s line" d="%s"/>`, s.Class, path.String())
		if s.Shape == Line {
			return
		}
	}
	for i := range s.Points {
		f.point(s, &s.Points[i])
	}
}

// area fills what is below a line, and leaves gaps where it is not finite.
func (f *frame) area(s *Series) {
	for points := s.Points; len(points) > 0; {
		n := slices.IndexFunc(points, func(p Point) bool { return !p.finite() })
		if n < 0 {
			n = len(points)
		}
		f.areaOf(s, points[:n])
		points = points[min(n+1, len(points)):]
	}
}

// areaOf fills what is below a part of a line.
func (f *frame) areaOf(s *Series, points []Point) {
	var path strings.Builder
	for i, p := range points {
		x, y := f.atX(p.X), f.atY(p.Y)
		to := x
		if s.Shape == Steps {
			x, to = f.atX(p.X-0.5), f.atX(p.X+0.5)
			if i+1 < len(points) {
				to = f.atX(points[i+1].X - 0.5)
			}
		}
		fmt.Fprintf(&path, "%s%s %s", map[bool]string{true: "M", false: "L"}[i == 0], number(x), number(y))
		if to > x {
			fmt.Fprintf(&path, "H%s", number(to))
		}
		if i == len(points)-1 {
			line := path.String()
			first := f.atX(points[0].X)
			if s.Shape == Steps {
				first = f.atX(points[0].X - 0.5)
			}
			fmt.Fprintf(f.b, `<path class="%s fill" d="%sV%sH%sz"/><path class="%s line" d="%s"/>`, s.Class, line, number(f.bottom), number(first), s.Class, line)
		}
	}
}

// point draws one point, with its text for the reader who chooses it.
func (f *frame) point(s *Series, p *Point) {
	x, y := f.atX(p.X), f.atY(p.Y)
	element, shape := "path", ""
	class := s.Class
	switch s.Shape {
	case Squares:
		shape = fmt.Sprintf(`d="M%s %sh6v6h-6z"`, number(x-3), number(y-3))
	case Crosses:
		shape = fmt.Sprintf(`d="M%s %sl8 8m0 -8l-8 8"`, number(x-4), number(y-4))
		class += " cross"
	case Diamonds: // hollow, as rings are
		shape = fmt.Sprintf(`d="M%s %sl6 6l-6 6l-6 -6z"`, number(x), number(y-6))
		class += " ring"
	case Rings:
		element, shape = "circle", fmt.Sprintf(`cx="%s" cy="%s" r="4.5"`, number(x), number(y))
		class += " ring"
	case Bars:
		to := f.atX(p.To)
		shape = fmt.Sprintf(`d="M%s %sV%sH%sV%sz"`, number(x), number(f.bottom), number(math.Min(y, f.bottom-1)), number(math.Max(to, x+0.5)), number(f.bottom))
	case Bands:
		shape = fmt.Sprintf(`d="M%s %sV%sH%sV%sz"`, number(x), number(f.bottom), number(f.top), number(f.atX(p.To)), number(f.bottom))
	case Uprights:
		shape = fmt.Sprintf(`d="M%s %sV%s"`, number(x), number(f.top), number(f.bottom))
		class += " upright"
	default:
		element, shape = "circle", fmt.Sprintf(`cx="%s" cy="%s" r="3"`, number(x), number(y))
	}
	if p.Text == "" {
		fmt.Fprintf(f.b, `<%s class="%s" %s/>`, element, class, shape)
		return
	}
	fmt.Fprintf(f.b, `<%s class="%s pick" %s><title>%s</title></%s>`, element, class, shape, html.EscapeString(text.Printable(p.Text)), element)
}

// number writes a coordinate.
func number(v float64) string {
	s := fmt.Sprintf("%.1f", v)
	if s == "-0.0" {
		return "0"
	}
	return strings.TrimSuffix(s, ".0")
}
