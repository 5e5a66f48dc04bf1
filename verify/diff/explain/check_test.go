package explain

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// At most one in a hundred elements is few. The first three are named, and the first hundred listed.
func TestMismatches(t *testing.T) {
	for _, tt := range []struct {
		n, elements int64
		few         bool
		detail      string
	}{
		{0, 1000, false, "0 of 1000 elements: "},
		{1, 99, false, "1 of 99 elements: [0]"},
		{1, 100, true, "1 of 100 elements: [0]"},
		{3, 1000, true, "3 of 1000 elements: [0], [1], [2]"},
		{4, 1000, true, "4 of 1000 elements: [0], [1], [2], …"},
		{10, 1000, true, "10 of 1000 elements: [0], [1], [2], …"},
		{11, 1000, false, "11 of 1000 elements: [0], [1], [2], …"},
		{101, 20_000, true, "101 of 20000 elements: [0], [1], [2], …"},
	} {
		var m mismatches
		for i := range tt.n {
			m.add(func() Changed { return Changed{Index: []int64{i}} })
		}
		if e := m.explanation(tt.elements); m.few(tt.elements) != tt.few || e.Detail != tt.detail || len(e.Elements) != int(min(tt.n, 100)) || e.Changed != tt.n {
			t.Errorf("%d of %d: few %t, %s, %d listed", tt.n, tt.elements, m.few(tt.elements), e.Detail, len(e.Elements))
		}
	}
}

// The elements that were changed are listed with their indices and values, wherever they lie in a large tensor.
func TestChangedElements(t *testing.T) {
	shape := []int64{3, 20_000}
	for _, d := range []tensor.DType{tensor.F32, tensor.I32} {
		x := random(rand.New(rand.NewPCG(4, 4)), d, shape)
		y := x.clone()
		changed := []int{0, 511, 512, 513, 32_767, 32_768, 59_999}
		for _, i := range changed {
			y.values[i] = 7 + float64(i)
		}
		e, err := New([]*Pair{{Name: "x", A: x.tensor("x"), B: y.tensor("x")}}).Explain(t.Context(), &Pair{Name: "x", A: x.tensor("x"), B: y.tensor("x")})
		if err != nil || e.Kind != Sparse || len(e.Elements) != len(changed) || e.Changed != int64(len(changed)) {
			t.Fatalf("%s: %s, %v", d, oneLine(e), err)
		}
		for k, i := range changed {
			c := e.Elements[k]
			if want := tensor.Unravel(int64(i), shape); !slices.Equal(c.Index, want) || float64(c.A) != x.values[i] || float64(c.B) != y.values[i] {
				t.Errorf("%s: %+v, want %v: %g, %g", d, c, want, x.values[i], y.values[i])
			}
		}
	}
}

// The strictest pattern that holds in every row is named.
func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		row   int64
		zeros string // 1 for zero
		want  string
	}{
		{8, "11101110", "1:4 (of every 4 elements of a row at least 3 are zero"}, {8, "11111101", "1:4 (of every 4 elements of a row at least 3 are zero"}, {8, "11101100", "2:4 (of every 4 elements of a row at least 2 are zero"}, {8, "01100011", "2:4 (of every 4 elements of a row at least 2 are zero"}, {8, "11110000", "4:8 (of every 8 elements of a row at least 4 are zero"}, {8, "11100001", "4:8 (of every 8 elements of a row at least 4 are zero"},
		{8, "11100000", "(elements"}, {8, "1110111011101100", "2:4 (of every 4 elements of a row at least 2 are zero"}, {8, "1110111011100000", "(elements"}, {4, "1100", "2:4 (of every 4 elements of a row at least 2 are zero"}, {6, "111011101110", "(elements"}, {12, "110011001100", "2:4 (of every 4 elements of a row at least 2 are zero"},
	} {
		p := newPatterns(tt.row)
		for i, c := range tt.zeros {
			p.add(int64(i), c == '1')
		}
		if got := p.describe(); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s in rows of %d: %s, want %s", tt.zeros, tt.row, got, tt.want)
		}
	}
	for content, want := range map[string]bool{"\x00\x00": true, "\x00\x80": true, "\x01\x00": false, "\x00\x01": false, "\x00\x81": false, "\x80\x80": false} {
		if zeroBits([]byte(content)) != want {
			t.Errorf("%x: %t", content, !want)
		}
	}
}

// Samples are of different elements, ascending, and all of a small tensor.
func TestSamples(t *testing.T) {
	for _, n := range []int64{0, 1, 255, 256, 257, 512, 513, 100_000} {
		for name, x := range map[string]struct {
			of   func(n int64) []int64
			most int64
		}{"elements": {sampleOf, maxSample}, "indices": {someOf, maxPatch}} {
			some := x.of(n)
			if !slices.IsSorted(some) || len(slices.Compact(slices.Clone(some))) != len(some) || n > 0 && (some[0] < 0 || some[len(some)-1] >= n) {
				t.Errorf("%s of %d: %v", name, n, some)
			}
			if n <= x.most && int64(len(some)) != n || int64(len(some)) > x.most || n > x.most && int64(len(some)) < x.most/2 {
				t.Errorf("%d %s of %d", len(some), name, n)
			}
		}
	}
	for n, want := range map[int]int{0: 0, 11: 11, 12: 11, 24: 22, 256: 235} {
		if got := nearlyAll(n); got != want {
			t.Errorf("nearly all of %d are %d", n, got)
		}
		s := sample{make([]uint64, n), make([]uint64, n)}
		for i := range n - want {
			s.b[i] = 1
		}
		if !s.nearlyEqual() || s.equal() != (n == want) {
			t.Errorf("%d of %d are equal", want, n)
		}
		if n > 0 {
			if s.b[n-1] = 1; s.nearlyEqual() {
				t.Errorf("%d of %d are not nearly all", want-1, n)
			}
		}
	}
}
