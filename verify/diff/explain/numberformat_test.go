package explain

import (
	"maps"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// nearest rounds x by the definition: to the number of the format with the smallest distance, and of two with
// the same distance to the one with an even last bit.
func nearest(f *numberFormat, x *big.Float) float64 {
	near, _ := x.Float64()
	y := f.round(near)
	if math.IsInf(y, 0) || math.IsNaN(y) {
		return y
	}
	best := y
	for _, z := range []float64{y - f.step(y), y - f.step(y)/2, y + f.step(y)/2, y + f.step(y)} {
		if f.round(z) != z {
			continue
		}
		distance := func(z float64) *big.Float {
			d := new(big.Float).SetPrec(300).Sub(x, big.NewFloat(z))
			return d.Abs(d)
		}
		switch c := distance(z).Cmp(distance(best)); {
		case c < 0, c == 0 && math.Mod(z/f.step(z), 2) == 0:
			best = z
		}
	}
	return best
}

// Products, sums and quotients of float64 are rounded to the nearest number.
func TestRound(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, d := range []tensor.DType{tensor.F32, tensor.F16, tensor.BF16, tensor.F8E4M3, tensor.F8E5M2} {
		f := numberFormats[d]
		for range 3000 {
			a := f.round(rng.NormFloat64())
			for _, v := range []float64{0.7, -0.1, 1.1, 0.3, 0.011, 1 + rng.Float64()} {
				for x, c := range map[float64]constant{
					a * v: {kind: Scaled, value: v}, a + v: {kind: Added, value: v}, a / v: {kind: Scaled, value: v, divide: true},
				} {
					got := []float64{a}
					c.apply(got)
					f.roundAll(got)
					if want := nearest(f, new(big.Float).SetPrec(300).SetFloat64(x)); got[0] != want {
						t.Fatalf("%s: %g and %+v: %g, not %g", d, a, c, got[0], want)
					}
				}
			}
		}
	}
}

// Whatever rounds to a number lies within its preimage, and rounding agrees with that of package tensor.
func TestPreimage(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 3))
	for d, f := range numberFormats {
		for range 5000 {
			x := rng.NormFloat64() * math.Ldexp(1, rng.IntN(40)-30)
			y := f.round(x)
			if y != y {
				continue
			}
			if in := f.preimage(y); !in.has(x) {
				t.Fatalf("%s: %g is %g, not within %g", d, x, y, in)
			}
			if d == tensor.F16 || d == tensor.BF16 {
				if want := (array{tensor.F64, []int64{1}, []float64{x}}).rounded(d).values[0]; y != want {
					t.Fatalf("%s: %g is %g, not %g", d, x, y, want)
				}
			}
		}
	}
}

// A format has the numbers of its dtype: the largest, the smallest, and the steps between them.
func TestNumberFormats(t *testing.T) {
	for d, f := range numberFormats {
		if f.name != d.String() {
			t.Errorf("%s is called %s", d, f.name)
		}
		if d.Size() > 2 {
			continue // of too many numbers
		}
		codes := 1 << d.Bits()
		raw := make([]byte, 0, 2*codes)
		for code := range codes {
			raw = append(raw, byte(code))
			if d.Size() == 2 {
				raw = append(raw, byte(code>>8))
			}
		}
		values := make([]float64, codes)
		tensor.ValuesOf(d).Decode(values, raw)
		infinite := slices.ContainsFunc(values, func(x float64) bool { return math.IsInf(x, 0) })
		values = slices.DeleteFunc(values, func(x float64) bool { return !(x >= 0 && x <= math.MaxFloat64) })
		slices.Sort(values)
		values = slices.CompactFunc(values, func(x, y float64) bool { return x == y })
		if last := values[len(values)-1]; last != f.largest || values[1] != math.Ldexp(1, f.least) || infinite != f.infinite {
			t.Errorf("%s: from %g to %g, infinite %t", d, values[1], last, infinite)
		}
		for i, x := range values[:len(values)-1] {
			if next := values[i+1]; x+f.step(x) != next || f.round(x) != x || f.truncate((x+next)/2) != x || f.truncate(-next) != -next {
				t.Errorf("%s: after %g comes %g", d, x, next)
				break
			}
		}
		if x := f.truncate(2 * f.largest); x != f.largest {
			t.Errorf("%s: %g is truncated to %g", d, 2*f.largest, x)
		}
	}
	if in := numberFormats[tensor.F16].preimage(math.Inf(1)); in != (interval{65520, math.Inf(1)}) {
		t.Errorf("%v rounds to infinity", in)
	}
	if in := numberFormats[tensor.F16].preimage(math.Inf(-1)); in != (interval{math.Inf(-1), -65520}) {
		t.Errorf("%v rounds to minus infinity", in)
	}
}

// Nearly all values have to be those of a format.
func TestRoundedTypes(t *testing.T) {
	names := func(d tensor.DType, values ...float64) (all string) {
		for _, f := range roundedTypes(d, values) {
			all += f.name + " "
		}
		return all
	}
	twelve := slices.Repeat([]float64{1.5}, 12)
	if got := names(tensor.F32, twelve...); got != "float32 float16 bfloat16 float8_e4m3fn float8_e5m2 " {
		t.Error(got)
	}
	twelve[0] = math.NaN()
	twelve[1] = 1 + 1.0/512 // of float16, not of bfloat16
	if got := names(tensor.F32, twelve...); got != "float32 float16 bfloat16 float8_e4m3fn float8_e5m2 " {
		t.Errorf("one of twelve: %s", got)
	}
	twelve[2] = twelve[1]
	if got := names(tensor.F32, twelve...); got != "float32 float16 " {
		t.Errorf("two of twelve: %s", got)
	}
	if got := names(tensor.BF16, 1.5); got != "bfloat16 float8_e4m3fn float8_e5m2 " {
		t.Error(got)
	}
}

// A tensor is truncated if every element of a narrower type is the next one towards zero.
func TestTruncated(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	a := random(rng, tensor.F32, []int64{20, 30})
	cutOff := cut(rng, a)
	b := array{tensor.BF16, a.shape, cutOff.values}
	other := b.clone()
	other.values[599] = 0
	for _, tt := range []struct {
		name string
		a, b array
		want string
	}{
		{"truncated", a, b, "truncated (to bfloat16)"},
		{"one element is another", a, other, "truncated (to bfloat16), then sparse (1 of 600 elements: [19, 29])"},
		{"rounded", a, a.rounded(tensor.BF16), "rounded (to bfloat16)"},
		{"of the same type", a, cutOff, "truncated (to bfloat16)"},
		{"of a wider type", b, a, "other"},
		{"to integers", a, random(rng, tensor.I32, a.shape), "other"},
		{"of integers", random(rng, tensor.I32, a.shape), b, "other"},
	} {
		if got := explained(t, pairOf("w", tt.a, tt.b)); got != tt.want {
			t.Errorf("%s: %s, not %s", tt.name, got, tt.want)
		}
	}
}

// Elements that were rounded to one type and then to another are said to be, in every pair of types, if any of them shows it.
func TestRoundedThrough(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 2))
	types := []tensor.DType{tensor.F64, tensor.F32, tensor.F16, tensor.BF16}
	exact := weights(rng, tensor.F64, 64, 40)
	for i := range 100 {
		exact.values[i] = math.Ldexp(exact.values[i], -i/4) // below the normal numbers of float16
	}
	exact.values[100], exact.values[101] = 1+0x1p-8+0x1p-30, 1+0x1p-11+0x1p-30 // in the middle of two numbers of bfloat16, and of float16, in float32
	through := map[string]int{}
	for _, from := range types {
		x := exact.rounded(from)
		for _, by := range types {
			for _, to := range types {
				twice := x.rounded(by).rounded(to)
				f, own := numberFormats[by], numberFormats[to]
				want := "other" // A itself
				switch {
				case !slices.Equal(twice.values, x.rounded(to).values) && own.contains(f):
					want = "rounded (to " + f.name + ")"
				case !slices.Equal(twice.values, x.rounded(to).values):
					want = "rounded (through " + f.name + ")"
					through[f.name+" "+own.name]++
				case !slices.Equal(twice.values, x.values):
					want = "rounded (to " + own.name + ")"
				}
				if got := explained(t, pairOf("w", x, twice)); got != want {
					t.Errorf("%s, %s, %s: %s, not %s", from, by, to, got, want)
				}
			}
		}
	}
	if want := map[string]int{"float32 bfloat16": 1, "float32 float16": 1, "float16 bfloat16": 3, "bfloat16 float16": 3}; !maps.Equal(through, want) {
		t.Errorf("%v, not %v", through, want)
	}
}

// Rounding that explains no more elements than it leaves is not said of last bits.
func TestRoundingOfFewElements(t *testing.T) {
	x := random(rand.New(rand.NewPCG(31, 3)), tensor.BF16, []int64{400})
	x.dtype = tensor.F32
	for i, v := range x.values {
		x.values[i] += numberFormats[tensor.BF16].unit(v) / 8 * float64(1-i%2*2)
	}
	for i := range 3 {
		x.values[i] = 1 + 0x1p-8 + 0x1p-13 // 1 by way of float16
	}
	for n, want := range map[int]string{0: "rounded (through float16)", 2: "rounded (through float16), then sparse", 3: "other"} {
		y := x.rounded(tensor.F16).rounded(tensor.BF16)
		for i := range n {
			y.values[200+i] *= -1
		}
		if got := explained(t, pairOf("w", x, y)); got != want && kindsOf(got) != kindsOf(want) {
			t.Errorf("%d left: %s, not %s", n, got, want)
		}
	}
}
