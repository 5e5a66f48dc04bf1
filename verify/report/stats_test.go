package report

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// What several layers have is said once, and whole layers are called so.
func TestNotFinite(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	var names []string
	var values []*stats.Stats
	for _, v := range []struct {
		name   string
		values []float64
	}{
		{"l.0.a", []float64{nan, nan}}, {"l.0.b", []float64{nan}}, {"l.0.c", []float64{nan, nan, nan}}, {"l.0.d", []float64{nan}},
		{"l.1.a", []float64{1, 2}}, {"l.1.b", []float64{3}}, {"l.1.c", []float64{1, nan, inf}}, {"l.1.d", []float64{inf}},
		{"l.2.a", []float64{nan, nan}}, {"l.2.b", []float64{nan}}, {"l.2.c", []float64{nan, nan, nan}}, {"l.2.d", []float64{nan}},
	} {
		x, err := statsOf(v.values)
		if err != nil {
			t.Fatal(err)
		}
		names, values = append(names, v.name), append(values, x)
	}
	want := []NotFinite{{"every tensor of layers 0, 2 of l: every value is NaN", 0}, {"l.1.c: 1 NaN and 1 infinity among 3 values", 6}, {"l.1.d: 1 infinity among 1 value", 7}}
	found := FindNotFinite(len(names), func(i int) string { return names[i] }, func(i int) *stats.Stats { return values[i] }, nil)
	if !slices.Equal(found, want) {
		t.Errorf("%+v, want %+v", found, want)
	}
	names, values = []string{"l.10.a", "l.2.a", "l.1.a", "l.20.a"}, []*stats.Stats{values[1], values[6], values[4], values[7]} // as safetensors sorts names
	want = []NotFinite{{"l.2.a: 1 NaN and 1 infinity among 3 values", 1}, {"l.10.a: every value is NaN", 0}, {"l.20.a: 1 infinity among 1 value", 3}}
	if found := FindNotFinite(len(names), func(i int) string { return names[i] }, func(i int) *stats.Stats { return values[i] }, nil); !slices.Equal(found, want) {
		t.Errorf("%+v, want %+v", found, want)
	}
}

func TestStats(t *testing.T) {
	s := &Values{Path: "dir/a<b>", Facts: []Fact{{Name: "format", Value: "safetensors"}}}
	for name, v := range map[string][]float64{"sound": {1, 2, 3, 3}, "one<i>": {7}, "broken": {1, math.NaN(), math.Inf(-1)}, "empty": nil} {
		x, err := statsOf(v)
		if err != nil {
			t.Fatal(err)
		}
		s.Tensors = append(s.Tensors, TensorValues{name, tensor.F32, []int64{int64(len(v))}, x})
	}
	path := filepath.Join(t.TempDir(), "page.html")
	if err := WriteStats(path, s, Origin{Command: []string{"griffin", "inspect"}}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<title>griffin inspect: a&lt;b&gt;</title>", "8 values in 4 tensors.", "1 tensor has NaN or infinities",
		">broken: 1 NaN and 1 infinity among 3 values</a>", "one&lt;i&gt;", ` class="bad"><th scope="row"><code class="name">broken`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(string(text), "one<i>") || strings.Contains(string(text), "ZgotmplZ") {
		t.Error("a name is taken for markup, or a value was refused")
	}
	if n := len(regexp.MustCompile(`<svg class="bars"`).FindAll(text, -1)); n != 3 {
		t.Errorf("%d histograms, not one for each tensor with finite values", n)
	}
}

func statsOf(v []float64) (*stats.Stats, error) {
	var raw []byte
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(x))
	}
	return stats.Of(context.Background(), tensortest.Stored("t", tensor.F64, []int64{int64(len(v))}, raw))
}

// Bars lie within their frame, whatever the values.
func TestBarsFit(t *testing.T) {
	number := regexp.MustCompile(`-?[0-9.]+(e[+-]?[0-9]+)?|NaN|Inf`)
	for _, v := range [][]float64{{1}, {-1e308, 1e308, 0}, {5e-324, 0}, {1, 1 + 1e-15}, {-3, -2, -2, 9}} {
		x, err := statsOf(v)
		if err != nil {
			t.Fatal(err)
		}
		path := regexp.MustCompile(` d="([^"]*)"`).FindStringSubmatch(string(bars(x.Histogram)))
		if path == nil || path[1] == "" || strings.Contains(path[1], "-") {
			t.Errorf("%v: %v", v, path)
			continue
		}
		for _, n := range number.FindAllString(path[1], -1) {
			if strings.ContainsAny(n, "NI") || len(n) > len("160.0") {
				t.Errorf("%v: %s in %s", v, n, path[1])
			}
		}
	}
}
