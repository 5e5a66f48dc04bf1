package kernel

import (
	"math"
	"os"
	"testing"
)

// functionsOfFloat32 are the functions with their exact form in float64.
var functionsOfFloat32 = []struct {
	name    string
	f       func(dst, src []float32)
	generic func(dst, src []float32)
	exact   func(float64) float64
}{
	{"exp", Exp, genericExp, math.Exp},
	{"tanh", Tanh, genericTanh, math.Tanh},
}

// ulps returns the error of y, whose exact value is want, in units of the last place of float32.
func ulps(y float32, want float64) float64 {
	if math.IsNaN(want) || math.IsInf(want, 0) || float32(want) == y {
		if same(y, float32(want)) {
			return 0.5
		}
		return math.Inf(1)
	}
	exponent := math.Max(float64(math.Ilogb(want)), -126)
	return math.Abs(float64(y)-want) / math.Ldexp(1, int(exponent)-23)
}

// TestFunctions: the error of exp and tanh over float32 numbers of all sizes, a prime number apart, and the same
// bits from every instruction set. With GRIFFIN_EXHAUSTIVE in the environment it is over all of them.
func TestFunctions(t *testing.T) {
	step := uint64(997)
	if os.Getenv("GRIFFIN_EXHAUSTIVE") != "" {
		step = 1
	}
	for _, c := range functionsOfFloat32 {
		eachSet(t, func(t *testing.T) {
			const block = 4093
			src, got, want := make([]float32, block), make([]float32, block), make([]float32, block)
			worst, at := 0.0, float32(0)
			for bits := uint64(0); bits < 1<<32; {
				for i := range src {
					src[i] = math.Float32frombits(uint32(bits))
					bits += step
				}
				c.f(got, src)
				c.generic(want, src)
				for i, x := range src {
					if !same(got[i], want[i]) {
						t.Fatalf("%s(%x) is %x, generic %x", c.name, x, got[i], want[i])
					}
					if e := ulps(got[i], c.exact(float64(x))); e > worst {
						worst, at = e, x
					}
				}
			}
			t.Logf("%s: at most %.6f ulp, at %x", c.name, worst, at)
			if worst > 0.50001 {
				t.Errorf("%s(%x) is off by %v ulp", c.name, at, worst)
			}
		})
	}
}

// FuzzFunctions compares the instruction sets on slices of any length.
func FuzzFunctions(f *testing.F) {
	f.Add([]byte{0, 0, 128, 63, 0, 0, 192, 127, 1, 0, 0, 0, 0, 0, 128, 255, 0, 0, 0, 128})
	f.Fuzz(func(t *testing.T, numbers []byte) {
		src := make([]float32, len(numbers)/4)
		Widen(src, dtypes[2], numbers)
		for _, c := range functionsOfFloat32 {
			want := make([]float32, len(src))
			c.generic(want, src)
			eachSet(t, func(t *testing.T) {
				got := append([]float32(nil), src...)
				c.f(got, got)
				for i := range got {
					if !same(got[i], want[i]) {
						t.Fatalf("%s(%x) is %x, generic %x", c.name, src[i], got[i], want[i])
					}
				}
			})
		}
	})
}
