package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"path/filepath"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

//go:embed stats.html.tmpl
var statsText string

// Values are the tensors of a checkpoint with statistics of their values.
type Values struct {
	Path    string
	Format  string
	Tensors []TensorValues
}

// TensorValues is a tensor with statistics of its values.
type TensorValues struct {
	Name  string
	DType tensor.DType
	Shape []int64
	*stats.Stats
}

// WriteStats writes the values of a checkpoint as a page. command is the command line that the page shows, the program's
// name first.
func WriteStats(path string, v *Values, command []string) error {
	return write(path, statsTemplate, newStatsPage(v, command))
}

var statsTemplate = template.Must(template.New("stats").Funcs(template.FuncMap{
	"shown": text.Printable, "grouped": text.Grouped, "number": page.Number, "shape": tensor.ShapeString, "bars": bars,
}).Parse(statsText))

// statsPage is what the template shows.
type statsPage struct {
	Style   template.CSS
	Title   string
	Lead    string
	Subject *Values
	Broken  []TensorValues // tensors that hold NaN or infinities
	Command string
}

func newStatsPage(v *Values, command []string) *statsPage {
	g := &statsPage{Style: page.Style, Title: text.Printable(filepath.Base(v.Path)), Subject: v, Command: page.CommandLine(command)}
	values := int64(0)
	for _, t := range v.Tensors {
		values += t.Values
		if !t.Finite() {
			g.Broken = append(g.Broken, t)
		}
	}
	g.Lead = fmt.Sprintf("%s in %s, all of them finite.", text.Count(values, "value"), text.Count(len(v.Tensors), "tensor"))
	if n := len(g.Broken); n > 0 {
		g.Lead = fmt.Sprintf("%s in %s; %s with NaN or infinities.", text.Count(values, "value"), text.Count(len(v.Tensors), "tensor"), text.Count(n, "tensor"))
	}
	return g
}

// Size of a histogram in a table, in its own units.
const (
	barsWidth  = 160
	barsHeight = 32
)

// bars draws a histogram from the smallest to the largest value. Bins that are not empty are always visible.
func bars(h stats.Histogram) template.HTML {
	if len(h.Counts) == 0 {
		return ""
	}
	low, high := float64(h.Edges[0]), float64(h.Edges[len(h.Edges)-1])
	most := int64(0)
	for _, n := range h.Counts {
		most = max(most, n)
	}
	at := func(edge stats.Number) float64 {
		x := (float64(edge)/2 - low/2) / (high/2 - low/2) // halves, of which no difference overflows
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return 0
		}
		return barsWidth * x
	}
	var path strings.Builder
	for i, n := range h.Counts {
		if n == 0 {
			continue
		}
		left, right := at(h.Edges[i]), at(h.Edges[i+1])
		if right <= left {
			left, right = 0, barsWidth // one value
		}
		top := math.Min(barsHeight-barsHeight*float64(n)/float64(most), barsHeight-1)
		fmt.Fprintf(&path, "M%.1f %dV%.1fH%.1fV%dz", left, barsHeight, top, right, barsHeight)
	}
	return template.HTML(fmt.Sprintf(`<svg class="bars" viewBox="0 0 %d %d" preserveAspectRatio="none" role="img" aria-label="histogram"><path d="%s"/></svg>`,
		barsWidth, barsHeight, path.String()))
}
