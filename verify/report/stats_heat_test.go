package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// valuesOf returns one tensor for each layer, with the given largest values.
func valuesOf(name string, largest ...float64) []TensorValues {
	var out []TensorValues
	for i, v := range largest {
		out = append(out, TensorValues{Name: fmt.Sprintf("layers.%d.%s", i, name), DType: tensor.F32, Shape: []int64{2},
			Stats: &stats.Stats{Values: 2, Std: stats.Number(v / 2), AbsMax: stats.Number(v), Max: stats.Number(v)}})
	}
	return out
}

// TestOutliers: what is far from the median of its kind is found, whatever the size of other kinds; the farthest first.
func TestOutliers(t *testing.T) {
	tensors := append(valuesOf("w", 1, 1.1, 0.9, 40, 1, 0.1, 1.2, 3.9), valuesOf("big", 1000, 1100, 900, 1000)...)
	tensors = append(tensors, valuesOf("few", 1, 100, 1)...) // not a kind
	tensors = append(tensors, valuesOf("zero", 1, 1, 0, 1)...)
	var got []string
	for _, o := range findOutliers(tensors) {
		if o.statistic == "absmax" {
			got = append(got, fmt.Sprintf("%s %.3g", tensors[o.tensor].Name, o.factor))
		}
	}
	if want := "layers.2.zero 0, layers.3.w 36.4, layers.5.w 0.0909"; strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
}

// TestStatsMaps: the page has a map of each statistic with a cell for each tensor that leads to its row, and a legend of what the
// map shows.
func TestStatsMaps(t *testing.T) {
	v := &Values{Path: "a", Griffin: "v1", Facts: []Fact{{Name: "model", Value: "2b"}, {Value: "26 blocks <RRA>"}}, Tensors: append(valuesOf("w", 1, 1, 1, 40, 1), valuesOf("v", 2, 2, 2, 2, 2)...)}
	path := filepath.Join(t.TempDir(), "page.html")
	if err := WriteStats(path, v, Origin{}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, want := range []string{`<h2 id="std">`, `<h2 id="absmax">`, `<dt>model</dt><dd>2b</dd><dd>26 blocks &lt;RRA&gt;</dd>`, `2 statistics are far from the medians of their kinds: layers.3.w</a>`, `<details open><summary>2 statistics</summary>`,
		`<a href="#tensor3" title="layers.3.w: largest absolute value 40, an outlier">`, `<i class="out"></i>more than 4 times`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if n := strings.Count(page, `<td class="apart l`); n != 20 {
		t.Errorf("%d cells, want one for each of 10 tensors in two maps", n)
	}
	for _, never := range []string{`NaN or infinities</li>`, `0 or none`} {
		if strings.Contains(page, never) {
			t.Errorf("the legend has %q, which no map shows", never)
		}
	}
}

// Many outliers are folded, counted all, and named by their layers.
func TestManyOutliers(t *testing.T) {
	v := &Values{Path: "a"}
	for i := range 60 {
		v.Tensors = append(v.Tensors, valuesOf(fmt.Sprintf("w%d", i), 1, 1, 1, 40, 1)...)
	}
	path := filepath.Join(t.TempDir(), "page.html")
	if err := WriteStats(path, v, Origin{}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`120 statistics are far from the medians of their kinds: every tensor of layer 3 of layers</a>`, `<details><summary>The 100 farthest of 120 statistics</summary>`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

// A tensor is an outlier if it has more than four times the median of its kind, or less than a quarter.
func TestOutlierFactor(t *testing.T) {
	for _, tt := range []struct {
		last float64
		want bool
	}{{4, false}, {4.01, true}, {0.25, false}, {0.24, true}, {1, false}} {
		if got := findOutliers(valuesOf("w", 1, 1, 1, 1, tt.last)); (len(got) > 0) != tt.want || tt.want && got[0].tensor != 4 {
			t.Errorf("%g: %+v", tt.last, got)
		}
	}
	if got := findOutliers(valuesOf("w", 1, 1, 9)); len(got) != 0 {
		t.Errorf("of three layers: %+v", got)
	}
}

// Factors of thousands are written as the smaller ones are, without an exponent.
func TestTimesOfAnOutlier(t *testing.T) {
	for factor, want := range map[float64]string{50.7: "50.7", 999: "999", 1240: "1,240", 1236: "1,240", 123456: "123,460", 2e9: "2e+09"} {
		if got := timesCell(factor); got.Text != want || got.Sort == "" {
			t.Errorf("%g: %+v, want %q", factor, got, want)
		}
	}
}
