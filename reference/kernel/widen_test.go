package kernel

import (
	"math"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func TestFloat16(t *testing.T) {
	for bits := range 1 << 16 {
		sign, exponent, fraction := 1-2*float64(bits>>15), bits>>10&31, float64(bits&0x3ff)
		want := sign * math.Ldexp(1+fraction/1024, exponent-15)
		switch {
		case exponent == 0:
			want = sign * math.Ldexp(fraction, -24)
		case exponent == 31 && fraction == 0:
			want = math.Inf(int(sign))
		case exponent == 31:
			want = math.NaN()
		}
		if bits == 0x8000 {
			want = math.Copysign(0, -1)
		}
		if got := Float16(uint16(bits)); !same(float64(got), want) {
			t.Fatalf("%#04x is %v, want %v", bits, got, want)
		}
	}
}

func TestRoundBF16(t *testing.T) {
	for _, c := range []struct{ x, want float32 }{
		{1, 1}, {1 + 0x1p-8, 1}, {1 + 0x1p-8 + 0x1p-23, 1 + 0x1p-7}, {1 + 3*0x1p-8, 1 + 0x1p-6}, {-1 - 3*0x1p-8, -1 - 0x1p-6},
		{0, 0}, {float32(math.Copysign(0, -1)), float32(math.Copysign(0, -1))}, {0x1p-149, 0}, {0x1p-133, 0x1p-133},
		{math.MaxFloat32, float32(math.Inf(1))}, {0x1.fep127, 0x1.fep127}, {float32(math.Inf(-1)), float32(math.Inf(-1))},
		{float32(math.NaN()), float32(math.NaN())}, {math.Float32frombits(0x7fffffff), float32(math.NaN())},
		{50.59644256269407, 50.5}, // sqrt(2560), the embedding scale of 2B
	} {
		if got := RoundBF16(c.x); !same(got, c.want) {
			t.Errorf("%x rounds to %x, want %x", c.x, got, c.want)
		}
	}
}

// TestNarrow: weights in a wider type are rounded to bfloat16 if Narrow is set.
func TestNarrow(t *testing.T) {
	values := []float64{1, 1 + 0x1p-8, 1 + 3*0x1p-8, -2.71828}
	for _, inOut := range []bool{false, true} {
		w := &Matrix{DType: tensor.F32, Data: encode(tensor.F32, values), Rows: 1, Cols: 4, Stride: 4, InOut: inOut, Narrow: true}
		x, y := []float32{1, 1, 1, 1}, make([]float32, 4)
		var s Scratch[float32]
		Multiply(y, w.Out(), x, w.In(), 1, w, 0, w.Out(), nil, &s)
		want := []float32{1, 1, 1 + 0x1p-6, -2.71875}
		if !inOut {
			want = []float32{1 + 1 + 1 + 0x1p-6 - 2.71875}
		}
		for i := range want {
			if y[i] != want[i] {
				t.Errorf("inout=%v: element %d is %v, want %v", inOut, i, y[i], want[i])
			}
		}
	}
}
