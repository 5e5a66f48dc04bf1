// Package chart draws plots as SVG. A plot has classes instead of colours, so that it follows the style sheet of its page, and
// two drawings, for wide and for narrow screens. Labels of an axis never overlap, and the legend is made of what is drawn.
package chart

import (
	"math"
	"slices"
)

// Chart is a plot: series of points over two axes.
type Chart struct {
	ID      string // unique in the page
	Title   string
	Caption string // what it shows, and what to see in it; it is also the text alternative
	X, Y    Axis
	Series  []Series // drawn in this order
	Square  bool     // as high as wide
}

// Axis is an axis, from Min to Max.
type Axis struct {
	Label    string
	Min, Max float64
	Log      bool // logarithmic; Min is above 0
	Ticks    []Tick
}

// Tick is a place on an axis.
type Tick struct {
	At    float64
	Label string
	N     int  // labels are left out by this number: those of multiples of 5, say, are kept
	Keep  bool // the label is kept in any case
}

// Series is points of one kind.
type Series struct {
	Name   string // its entry in the legend
	Class  string // its class in the style sheet: Main, Other, …
	Shape  Shape
	Points []Point
}

// Point is a point, or a range of X. Text describes it for readers, with its values; a point without text is not one that they
// can choose.
type Point struct {
	X, Y float64
	To   float64 // of a Bar or a Band: where it ends
	Text string
}

// finite reports whether a point has a place.
func (p *Point) finite() bool { return !math.IsNaN(p.Y) && !math.IsInf(p.Y, 0) }

// The classes of the style sheet.
const (
	Main     = "main"
	Other    = "other"
	Bad      = "bad"
	Envelope = "envelope" // the area of what is allowed
	Limit    = "limit"    // a line of what is allowed
	Mark     = "mark"     // a place on the X axis
	Begin    = "begin"    // another place
	Shade    = "shade"    // a range of the X axis
)

// Shape is how points are drawn.
type Shape int

// The shapes. Series that are drawn in one plot have different ones, so that readers need not tell colours apart.
const (
	Dots Shape = iota
	Squares
	Rings
	Crosses
	Diamonds
	LinedDots // dots that a line connects
	Line
	Area     // below a line
	Steps    // below a line that is level for each point, from half before to half behind it
	Bars     // from X to To
	Uprights // dashed lines over the whole height
	Bands    // ranges from X to To, over the whole height
)

// legend returns the series that have an entry in the legend: each that is drawn.
func (c *Chart) legend() []Series {
	var out []Series
	for _, s := range c.Series {
		isDrawn := func(p Point) bool { return s.Shape != Area && s.Shape != Steps || p.finite() }
		if slices.ContainsFunc(s.Points, isDrawn) && s.Name != "" {
			out = append(out, s)
		}
	}
	return out
}

// Blank reports whether no point of the plot has a place, beside marks on the X axis: no value is finite.
func (c *Chart) Blank() bool {
	values := false
	for _, s := range c.Series {
		if s.Shape == Uprights || s.Shape == Bands {
			continue
		}
		for i := range s.Points {
			if s.Points[i].finite() {
				return false
			}
			values = true
		}
	}
	return values
}
