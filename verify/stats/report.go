package stats

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"path/filepath"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/page"
)

//go:embed report.html.tmpl
var reportTemplate string

// Subject is a checkpoint whose tensors were read.
type Subject struct {
	Path    string
	Format  string
	Tensors []Described
}

// Described is a tensor with what its values are like.
type Described struct {
	Name  string
	DType tensor.DType
	Shape []int64
	*Stats
}

// WriteReport writes what the tensors of a checkpoint are like as one HTML page that needs nothing
// beside it, at once or not at all. command is how it was asked for. Equal input gives equal bytes.
func WriteReport(path string, s *Subject, command []string) error {
	var b bytes.Buffer
	if err := report.Execute(&b, newReport(s, command)); err != nil {
		return err
	}
	return storage.ReplaceWith(path, b.Bytes())
}

var report = template.Must(template.New("stats").Funcs(template.FuncMap{
	"shown": page.Shown, "grouped": page.Grouped, "number": page.Number, "shape": tensor.ShapeString, "bars": bars,
}).Parse(reportTemplate))

// reportPage is what the template shows.
type reportPage struct {
	Style   template.CSS
	Title   string
	Lead    string
	Subject *Subject
	Broken  []Described // tensors that hold NaN or infinities
	Command string
}

func newReport(s *Subject, command []string) *reportPage {
	g := &reportPage{Style: page.Style, Title: page.Shown(filepath.Base(s.Path)), Subject: s, Command: page.CommandLine(command)}
	values := int64(0)
	for _, t := range s.Tensors {
		values += t.Values
		if !t.Finite() {
			g.Broken = append(g.Broken, t)
		}
	}
	g.Lead = fmt.Sprintf("%s values in %s tensors, all of them finite.", page.Grouped(values), page.Grouped(int64(len(s.Tensors))))
	if n := len(g.Broken); n > 0 {
		g.Lead = fmt.Sprintf("%s values in %s tensors; %s of the tensors with NaN or infinities.", page.Grouped(values), page.Grouped(int64(len(s.Tensors))), page.Grouped(int64(n)))
	}
	return g
}

// Size of a histogram in a table, in its own units.
const (
	barsWidth  = 160
	barsHeight = 32
)

// bars draws a histogram, its edges at their places between the least and the largest value. A bin
// that is not empty is never too low to be seen.
func bars(h Histogram) template.HTML {
	if len(h.Counts) == 0 {
		return ""
	}
	low, high := float64(h.Edges[0]), float64(h.Edges[len(h.Edges)-1])
	most := int64(0)
	for _, n := range h.Counts {
		most = max(most, n)
	}
	at := func(edge Number) float64 {
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
