package kernel

import (
	"math"
	"os"
	"slices"
	"testing"
)

// functionsOfFloat32 are the functions with their exact form in float64.
var functionsOfFloat32 = []struct {
	name    string
	f       func(dst, src []float32)
	generic func(dst, src []float32)
	exact   func(float64) float64
}{
	{"exp", Exp, genericFunctions.exp, math.Exp},
	{"tanh", Tanh, genericFunctions.tanh, math.Tanh},
}

// inSteps are the functions that round more than once, for x of src: each with its steps in this package's own exp and tanh.
var inSteps = []struct {
	name string
	f    func(dst, src []float32)
	want func(y, x float32) float32
}{
	{"sigmoid", Sigmoid, func(_, x float32) float32 { return 1 / (1 + exp(-x)) }},
	{"soft cap", func(dst, src []float32) { SoftCap(dst, src, 30) }, func(_, x float32) float32 { return 30 * tanh(x/30) }},
	{"GELU", MultiplyByGELU, func(y, x float32) float32 {
		cubic, scale := float32(0.044715), float32(math.Sqrt(2/math.Pi))
		square := x * x
		cube := square * x
		cube *= cubic
		sum := x + cube
		half := (1 + tanh(scale*sum)) / 2
		half *= x
		return y * half
	}},
	{"add", Add, func(y, x float32) float32 { return y + x }},
	{"add product", func(dst, src []float32) {
		negative := make([]float32, len(src))
		for i, x := range src {
			negative[i] = -x
		}
		AddProduct(dst, src, negative)
	}, func(y, x float32) float32 { square := x * -x; return y + square }},
}

// checkInSteps compares every instruction set with the definitions.
func checkInSteps(t *testing.T, dst, src []float32) {
	t.Helper()
	for _, c := range inSteps {
		eachSet(t, func(t *testing.T) {
			got := append([]float32(nil), dst[:len(src)]...)
			c.f(got, src)
			for i, x := range src {
				if want := c.want(dst[i], x); !same(got[i], want) {
					t.Fatalf("%s of %x, %x (%d of %d): %x, want %x", c.name, dst[i], x, i, len(src), got[i], want)
				}
			}
		})
	}
}

// TestInSteps: the functions of several steps, for slices of every length up to a few vectors, and over numbers of all sizes.
func TestInSteps(t *testing.T) {
	var src, dst []float32
	for bits := uint64(0); bits < 1<<32; bits += 1 << 32 / 40009 {
		src = append(src, math.Float32frombits(uint32(bits)))
		dst = append(dst, math.Float32frombits(uint32(bits*2654435761)))
	}
	checkInSteps(t, dst, src)
	for n := range 70 {
		checkInSteps(t, dst[n*n:], src[20000+n*n:][:n])
	}
}

// Nothing but dst is written, and nothing beyond it.
func TestFunctionsKeepWithinBounds(t *testing.T) {
	functions := []func(dst, src []float32){Exp, Tanh}
	for _, c := range inSteps {
		functions = append(functions, c.f)
	}
	eachSet(t, func(t *testing.T) {
		for _, f := range functions {
			for n := range 40 {
				dst, src := make([]float32, 50), make([]float32, 50)
				for i := range dst {
					dst[i], src[i] = 3, 0.5
				}
				f(dst[4:][:n:n], src[4:][:n:n])
				for i, y := range dst {
					if outside := i < 4 || i >= 4+n; outside && y != 3 || src[i] != 0.5 {
						t.Fatalf("of %d elements, element %d is %v, of src %v", n, i-4, y, src[i])
					}
				}
			}
		}
	})
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
		dst := append([]float32(nil), src...)
		slices.Reverse(dst)
		checkInSteps(t, dst, src)
	})
}
