package chart

import (
	"encoding/xml"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// ticksOf returns a tick for each of n layers, and two that are kept.
func ticksOf(n int) []Tick {
	var ticks []Tick
	for i := range n {
		ticks = append(ticks, Tick{At: float64(i), Label: strconv.Itoa(i), N: i})
	}
	return append(ticks, Tick{At: float64(n) + 1.2, Label: "logits", Keep: true}, Tick{At: float64(n), Label: "norm", N: 1})
}

// TestLabelsDoNotOverlap checks that labels of both axes keep apart and within the drawing, for any number of layers and in both
// widths, and that enough of them are left.
func TestLabelsDoNotOverlap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, layers := range []int{1, 2, 3, 8, 12, 26, 38, 64, 100, 997, 12345} {
		for _, width := range []float64{wide, narrow, squareTop} {
			values := []float64{math.Exp(random.NormFloat64() * 20), math.Exp(random.NormFloat64() * 20)}
			c := &Chart{X: Axis{Min: -0.7, Max: float64(layers) + 2.2, Ticks: ticksOf(layers)}, Y: Logarithmic("y", values)}
			f := c.layout(&strings.Builder{}, width, min(width*ratio, most))
			across, up := f.labelsX(), f.labelsY()
			apart(t, fmt.Sprintf("%d layers, width %g, x", layers, width), across, 0, width)
			apart(t, fmt.Sprintf("%v, width %g, y", values, width), up, 0, min(width*ratio, most))
			if len(across) < min(layers, 3) || len(up) < 2 {
				t.Errorf("%d layers, width %g: only the labels %v and %v are left", layers, width, across, up)
			}
			if last := across[len(across)-1]; layers > 1 && last.text != "logits" {
				t.Errorf("%d layers, width %g: the last label is %q", layers, width, last.text)
			}
		}
	}
}

func apart(t *testing.T, what string, all []label, low, high float64) {
	t.Helper()
	for i, l := range all {
		if l.from < low-1 || l.to > high+1 {
			t.Errorf("%s: the label %q is outside: %g to %g", what, l.text, l.from, l.to)
		}
		for _, o := range all[:i] {
			if l.from < o.to && o.from < l.to {
				t.Errorf("%s: the labels %q and %q overlap", what, o.text, l.text)
			}
		}
	}
}

// TestLegendIsWhatIsDrawn checks that the legend has one entry for each series that has points, in the same shape and class.
func TestLegendIsWhatIsDrawn(t *testing.T) {
	point := []Point{{X: 1, Y: 1, To: 2}}
	for shape := Dots; shape <= Bands; shape++ {
		c := &Chart{ID: "p", X: Axis{Max: 3}, Y: Axis{Max: 3}, Series: []Series{
			{Name: "drawn", Class: Main, Shape: shape, Points: point}, {Name: "empty", Class: Bad, Shape: shape}, {Class: Other, Shape: Dots, Points: point}}}
		text := string(c.HTML())
		if n := strings.Count(text, "<li>"); n != 1 || !strings.Contains(text, "drawn</li>") {
			t.Errorf("shape %d: %d entries in the legend, want one of the only series with a name and points: %s", shape, n, text)
		}
		legend, plots, _ := strings.Cut(text, "</ul>")
		if strings.Count(plots, `class="`+Main) < 2 || !strings.Contains(legend, `class="`+Main) || strings.Contains(text, `class="`+Bad) {
			t.Errorf("shape %d: the legend shows another class than the plots: %s", shape, text)
		}
	}
}

// TestHostileValues checks that values and texts of any kind give numbers within the drawing and no markup.
func TestHostileValues(t *testing.T) {
	strange := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, -1, 5e-324, math.MaxFloat64, 1}
	for _, y := range []Axis{Logarithmic("<y>", strange), Logarithmic("", nil), Linear("", 0, 0), Linear("", -1e308, 1e308), Linear("", 1, 1+1e-15)} {
		for shape := Dots; shape <= Bands; shape++ {
			c := &Chart{ID: "p", Title: "<b>", Caption: "\x1b\u202e&", X: Linear("<x>", -3, 3), Y: y}
			s := Series{Name: "<i>", Class: Main, Shape: shape}
			for _, v := range strange {
				s.Points = append(s.Points, Point{X: v, Y: v, To: v, Text: "<script>"})
			}
			c.Series = []Series{s}
			text := string(c.HTML())
			if strings.ContainsAny(text, "\x1b\u202e") || strings.Contains(text, "NaN") || strings.Contains(text, "Inf") || strings.Contains(text, "<script>") {
				t.Fatalf("shape %d: %s", shape, text)
			}
			inside(t, text)
		}
	}
}

// inside checks the positions of circles and the syntax.
func inside(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader("<div>" + text + "</div>"))
	for {
		token, err := d.Token()
		if err != nil {
			if err.Error() != "EOF" {
				t.Fatal(err)
			}
			return
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "circle" {
			continue
		}
		for _, a := range start.Attr {
			if v, err := strconv.ParseFloat(a.Value, 64); strings.HasPrefix(a.Name.Local, "c") && a.Name.Local != "class" && (err != nil || v < 0 || v > wide) {
				t.Errorf("%s is %s", a.Name.Local, a.Value)
			}
		}
	}
}

// TestDrawing pins the drawing of a small plot.
func TestDrawing(t *testing.T) {
	c := &Chart{ID: "p", Title: "T", Caption: "C", X: Linear("x", 0, 4), Y: Axis{Label: "y", Min: 1, Max: 100, Log: true, Ticks: []Tick{{At: 1, Label: "1"}, {At: 100, Label: "100", N: 1}}},
		Series: []Series{{Name: "limit", Class: Envelope, Shape: Steps, Points: []Point{{X: 1, Y: 10}, {X: 2, Y: 100}}}, {Name: "n", Class: Main, Points: []Point{{X: 2, Y: 10, Text: "two: 10"}}}}}
	var b strings.Builder
	c.draw(&b, "wide", wide)
	for _, want := range []string{
		`<svg class="chart wide" id="p-wide" viewBox="0 0 760 330" role="img" aria-labelledby="p-wide-title p-wide-desc"><title id="p-wide-title">T</title><desc id="p-wide-desc">C</desc>`,
		`<circle class="main pick" cx="399.9" cy="151" r="3"><title>two: 10</title></circle>`,
		`<text class="end" x="45.8" y="16.2">100</text><text class="end" x="45.8" y="294.2">1</text>`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the drawing lacks %s:\n%s", want, b.String())
		}
	}
}

// A plot without any finite value is a sentence, not an empty frame.
func TestBlank(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, tt := range []struct {
		name   string
		series []Series
		blank  bool
	}{
		{"none is finite", []Series{{Shape: Crosses, Points: []Point{{Y: nan}, {X: 1, Y: inf}}}, {Shape: Area, Points: []Point{{Y: nan}}}, {Shape: Uprights, Points: []Point{{X: 1}}}, {Shape: Bands, Points: []Point{{X: 0, To: 1}}}}, true},
		{"one is finite", []Series{{Shape: Crosses, Points: []Point{{Y: nan}, {X: 1, Y: 0.5}}}}, false},
		{"a limit is finite", []Series{{Shape: Crosses, Points: []Point{{Y: nan}}}, {Shape: Steps, Points: []Point{{Y: 0.5}}}}, false},
		{"marks only", []Series{{Shape: Uprights, Points: []Point{{X: 1}}}}, false},
		{"nothing", nil, false},
	} {
		c := &Chart{ID: "c", X: Linear("x", 0, 1), Y: Logarithmic("y", []float64{0.1, 1}), Series: tt.series}
		html := string(c.HTML())
		if c.Blank() != tt.blank || strings.Contains(html, "There is no finite value to show.") != tt.blank || strings.Contains(html, "<svg") == tt.blank {
			t.Errorf("%s: blank %t: %s", tt.name, c.Blank(), html)
		}
	}
}
