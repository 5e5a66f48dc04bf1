package explain

import (
	"math"
	"math/big"
	"math/rand/v2"
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
