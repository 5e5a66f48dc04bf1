package explain

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// An element allows the constants with which it becomes what it became, and says which only if it is finite and not a zero that is scaled.
func TestAllowed(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	f := numberFormats[tensor.BF16]
	for _, tt := range []struct {
		k                 Kind
		a, b              float64
		certain, possible bool
		in, out           []float64
	}{
		{Scaled, 2, 1, true, true, []float64{0.5, 0.5009, 0.4991}, []float64{0.51, 0.49, -0.5}},
		{Scaled, -2, 1, true, true, []float64{-0.5, -0.5009, -0.4991}, []float64{-0.51, -0.49, 0.5}},
		{Scaled, 2, 0, true, true, []float64{0}, []float64{1e-30, -1e-30}},
		{Added, 2, 1, true, true, []float64{-1, -1.001, -0.999}, []float64{-1.01, -0.98, 1}},
		{Added, 0, 3, true, true, []float64{3}, []float64{3.1, 2.9}},
		{Scaled, 0, 0, false, true, nil, nil}, {Scaled, 0, 1, false, false, nil, nil},
		{Scaled, nan, nan, false, true, nil, nil}, {Scaled, nan, 1, false, false, nil, nil}, {Added, 1, nan, false, false, nil, nil},
		{Scaled, inf, inf, false, true, nil, nil}, {Scaled, inf, -inf, false, true, nil, nil}, {Scaled, inf, 1, false, false, nil, nil},
		{Added, inf, inf, false, true, nil, nil}, {Added, inf, -inf, false, false, nil, nil}, {Added, -inf, 1, false, false, nil, nil},
	} {
		in, certain, possible := tt.k.allowed(tt.a, tt.b, f)
		if certain != tt.certain || possible != tt.possible {
			t.Errorf("%s: %g to %g: certain %t, possible %t", tt.k, tt.a, tt.b, certain, possible)
		}
		for _, x := range tt.in {
			if !in.has(x) {
				t.Errorf("%s: %g to %g: %v lacks %g", tt.k, tt.a, tt.b, in, x)
			}
		}
		for _, x := range tt.out {
			if in.has(x) {
				t.Errorf("%s: %g to %g: %v has %g", tt.k, tt.a, tt.b, in, x)
			}
		}
	}
}

// Eight elements have to determine a constant, and nearly all of the sample have to allow it.
func TestAgreed(t *testing.T) {
	f := numberFormats[tensor.F32]
	series := func(n int, b func(i int) float64) (x, y []float64) {
		for i := range n {
			x, y = append(x, float64(i+1)), append(y, b(i))
		}
		return x, y
	}
	for _, tt := range []struct {
		name string
		n    int
		b    func(i int) float64
		ok   bool
	}{
		{"eight", 8, func(i int) float64 { return 3 * float64(i+1) }, true},
		{"seven", 7, func(i int) float64 { return 3 * float64(i+1) }, false},
		{"one of 1000 is another", 1000, func(i int) float64 {
			if i == 500 {
				return 1
			}
			return 3 * float64(i+1)
		}, true},
		{"one of 1000 is NaN", 1000, func(i int) float64 {
			if i == 500 {
				return math.NaN()
			}
			return 3 * float64(i+1)
		}, true},
		{"a tenth is NaN", 1000, func(i int) float64 {
			if i%10 == 9 {
				return math.NaN()
			}
			return 3 * float64(i+1)
		}, false},
		{"a tenth is another", 1000, func(i int) float64 {
			if i%10 == 9 {
				return 1
			}
			return 3 * float64(i+1)
		}, false},
		{"none agree", 1000, func(i int) float64 { return float64(i * i) }, false},
	} {
		a, b := series(tt.n, tt.b)
		in, ok := Scaled.agreed(a, b, f)
		if ok != tt.ok || ok && (!in.has(3) || in.high-in.low > 1e-6) {
			t.Errorf("%s: %v, %t", tt.name, in, ok)
		}
	}
	zeros := make([]float64, 1000)
	ones := slices.Repeat([]float64{1}, 1000)
	for n, ok := range map[int]bool{49: false, 50: true} { // elements that are not zero: a twentieth
		a := slices.Concat(ones[:n], zeros[n:])
		if _, got := Scaled.agreed(a, slices.Concat(slices.Repeat([]float64{2}, n), zeros[n:]), f); got != ok {
			t.Errorf("%d of 1000 are not zero: %t", n, got)
		}
		if _, got := Scaled.agreed(a, a, f); got {
			t.Errorf("%d of 1000 are the same: a factor", n)
		}
	}
}

func TestDeepest(t *testing.T) {
	for _, tt := range []struct {
		all  []interval
		best interval
		n    int
	}{
		{[]interval{{0, 2}, {1, 3}, {1.5, 4}, {10, 11}}, interval{1.5, 2}, 3},
		{[]interval{{0, 1}, {1, 2}}, interval{1, 1}, 2},
		{[]interval{{5, 6}, {0, 1}, {0.5, 0.6}}, interval{0.5, 0.6}, 2},
		{[]interval{{3, 4}}, interval{3, 4}, 1},
	} {
		if best, n := deepest(tt.all); best != tt.best || n != tt.n {
			t.Errorf("%v: %v of %d, want %v of %d", tt.all, best, n, tt.best, tt.n)
		}
	}
}

func TestOverlap(t *testing.T) {
	near, far := interval{1, 2}, func(i int) interval { return interval{10 * float64(i), 10*float64(i) + 1} }
	for _, tt := range []struct {
		all  []interval
		want bool
	}{
		{[]interval{near, {1.5, 3}, {2, 4}}, true},
		{[]interval{near, far(1), far(2), {0, 1}, near, near, near, {2, 5}, near}, true},
		{[]interval{far(1), far(2), near, near, near, near, near, near, far(3)}, true}, // six of nine
		{[]interval{far(1), far(2), near, near, near, near, near, far(4), far(3)}, false},
		{[]interval{far(1), far(2), far(3), near, near, near, near, near, near}, false}, // none of the first three
	} {
		if got := overlap(tt.all); got != tt.want {
			t.Errorf("%v: %t", tt.all, got)
		}
	}
}

// The number with the fewest digits is found.
func TestShortestIn(t *testing.T) {
	for _, tt := range []struct {
		in    interval
		value float64
		text  string
	}{
		{interval{0.33325, 0.3334}, 0.3333, "0.3333"}, {interval{-0.3334, -0.33325}, -0.3333, "-0.3333"},
		{interval{-1, 1}, 0, "0"}, {interval{0, 1}, 0, "0"}, {interval{-1, 0}, 0, "0"},
		{interval{9.5, 10.5}, 10, "10"}, {interval{95, 105}, 100, "100"}, {interval{1234.5, 1239}, 1235, "1235"}, {interval{0.75, 1.25}, 1, "1"},
		{interval{2, 2}, 2, "2"}, {interval{0.1, 0.1}, 0.1, "0.1"}, {interval{1.2e-300, 3.1e-300}, 2e-300, "2e-300"}, {interval{2.3e20, 3.1e20}, 3e20, "3e+20"},
	} {
		if value, text := shortestIn(tt.in); value != tt.value || text != tt.text {
			t.Errorf("%v: %g, %s", tt.in, value, text)
		}
	}
}

// Powers of two come first, then short numbers, quotients, and roots of the sizes.
func TestConstantsIn(t *testing.T) {
	texts := func(all []constant) string {
		var out []string
		for _, c := range all {
			text := c.text
			if c.divide {
				text = "÷ " + text
			}
			if c.inFloat32 {
				text += " in float32"
			}
			out = append(out, text)
		}
		return strings.Join(out, "; ")
	}
	for _, tt := range []struct {
		k     Kind
		in    interval
		d     tensor.DType
		shape []int64
		want  string // how it begins
	}{
		{Scaled, interval{0.49, 0.51}, tensor.F32, nil, "0.5; ÷ 1/2"},
		{Scaled, interval{0.45, 0.62}, tensor.F32, nil, "0.5; ÷ 1/2; 0.535; "},
		{Added, interval{0.45, 0.62}, tensor.F32, nil, "0.5; 0.535; "},
		{Added, interval{-0x1.8p-25, -0x1p-26}, tensor.F16, nil, "-2.9802322387695312e-08; -2e-08"},
		{Scaled, interval{0.501, 0.62}, tensor.F32, nil, "0.6; "},
		{Scaled, interval{0.333, 0.334}, tensor.F32, nil, "0.333; 1/3; ÷ 1/3; "},
		{Scaled, interval{-0.334, -0.333}, tensor.F32, nil, "-0.333; -1/3; ÷ -1/3; "},
		{Scaled, interval{22.62, 22.63}, tensor.F32, []int64{3, 512}, "22.62; 22.627416997969522, sqrt(512); "},
		{Scaled, interval{-22.63, -22.62}, tensor.F32, []int64{512}, "-22.62; -22.627416997969522, sqrt(512); "},
		{Scaled, interval{0.04419, 0.0442}, tensor.F32, []int64{1, 512}, "0.0442; 0.044194173824159216, 1/sqrt(512); "},
		{Scaled, interval{0.6, 1.1}, tensor.F32, []int64{1}, "1; 0.85"},
		{Scaled, interval{0.7003, 0.7004}, tensor.BF16, nil, "0.7003; 0.7003; 0.7003 in float32; 0.70035; 0.70035 in float32; "},
		{Scaled, interval{0.7003, 0.7004}, tensor.F32, nil, "0.7003; 0.7003; 0.70035; "},
		{Added, interval{3, 3}, tensor.F64, nil, "3"},
		{Added, interval{0.7, math.Nextafter(math.Nextafter(0.7, 1), 1)}, tensor.F64, nil, "0.7; 0.7000000000000001; 0.7000000000000002"},
	} {
		if got := texts(tt.k.constantsIn(tt.in, numberFormats[tt.d], tt.shape)); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s %v: %s, want %s", tt.k, tt.in, got, tt.want)
		}
	}
	many := Added.constantsIn(interval{0.7, 0.8}, numberFormats[tensor.F64], nil)
	if len(many) != 13 { // 0.7 and its neighbours, and the middle
		t.Errorf("%d constants of float64: %s", len(many), texts(many))
	}
	for _, c := range Scaled.constantsIn(interval{-0.334, -0.333}, numberFormats[tensor.F32], nil) {
		e := c.explanation()
		if v := []float64{3}; !c.inFloat32 {
			if c.apply(v); math.Abs(v[0]-3*e.Factor) > 1e-15 || !strings.HasPrefix(e.Detail, "by ") {
				t.Errorf("%+v: 3 becomes %g, and the factor is %g", c, v[0], e.Factor)
			}
		}
	}
}

// A constant that is too small for all elements but a few did not change them: these were changed by themselves.
func TestFewChangedElements(t *testing.T) {
	for n, want := range map[int]string{1: "other", 7: "other", 8: "added (2.9802322387695312e-08)"} {
		a := array{tensor.BF16, []int64{40}, slices.Repeat([]float64{1}, 40)}
		b := a.clone()
		for i := range n {
			a.values[i] = 0x1p-18 + float64(i)*0x1p-25
			b.values[i] = a.values[i] + 0x1p-25
		}
		if got := explained(t, pairOf("w", a, b)); got != want {
			t.Errorf("%d of 40: %s, want %s", n, got, want)
		}
	}
}
