package kernel

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// same reports whether a and b have the same bits, or are both NaN.
func same[T Float](a, b T) bool {
	if a != a || b != b {
		return a != a && b != b
	}
	return a == b && math.Signbit(float64(a)) == math.Signbit(float64(b))
}

// awkward are values at the limits of rounding, overflow and underflow.
var awkward = []float32{
	0, float32(math.Copysign(0, -1)), 1, -1, 1 + 0x1p-23, 1 - 0x1p-24, 0x1p-149, -0x1p-149, 0x1p-126, 0x1.fffffcp-127,
	math.MaxFloat32, -math.MaxFloat32, 0x1p-75, 0x1p-74, 0x1p12 + 1, 0x1p24, -0x1p24, 0x1p-24, 3, 0x1.000002p-12,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
}

// exactly computes x·y + z with unlimited precision and rounds once.
func exactly(x, y, z float32) float32 {
	sum := new(big.Float).SetPrec(1200)
	sum.Mul(big.NewFloat(float64(x)).SetPrec(1200), big.NewFloat(float64(y)).SetPrec(1200))
	sum.Add(sum, big.NewFloat(float64(z)))
	out, _ := sum.Float32()
	return out
}

// checkFMA compares fma32 with exactly.
func checkFMA(t *testing.T, x, y, z float32) {
	t.Helper()
	got := fma32(x, y, z)
	plain := float64(x)*float64(y) + float64(z)
	if math.IsNaN(plain) || math.IsInf(plain, 0) || plain == 0 {
		if !same(got, float32(plain)) {
			t.Fatalf("fma32(%x, %x, %x) = %x, want %x", x, y, z, got, plain)
		}
		return
	}
	if want := exactly(x, y, z); !same(got, want) {
		t.Fatalf("fma32(%x, %x, %x) = %x, want %x", x, y, z, got, want)
	}
}

func TestFMA32(t *testing.T) {
	for _, x := range awkward {
		for _, y := range awkward {
			for _, z := range awkward {
				checkFMA(t, x, y, z)
			}
		}
	}
	for _, sign := range []float32{1, -1} { // the product 2²⁴+1 is a tie between two float32, which z decides
		for _, z := range []float32{0, 0x1p-40, -0x1p-40, 0x1p-149, -0x1p-149} {
			checkFMA(t, 97*sign, 172961, z)
		}
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 100_000 { // sums close to a tie
		x, y := math.Float32frombits(rng.Uint32()), 1+float32(rng.IntN(1<<12))*0x1p-12
		z := float32(math.Ldexp(float64(rng.IntN(1<<24)), rng.IntN(60)-30)) * x
		checkFMA(t, x, y, z)
	}
}

func FuzzFMA32(f *testing.F) {
	f.Add(uint32(0x3f800001), uint32(0x3f800001), uint32(0x4b800000))
	f.Fuzz(func(t *testing.T, x, y, z uint32) {
		checkFMA(t, math.Float32frombits(x), math.Float32frombits(y), math.Float32frombits(z))
	})
}
