package huggingface

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// TestEmbeddingScale has the values of torch.tensor(width**0.5, dtype=torch.bfloat16).
func TestEmbeddingScale(t *testing.T) {
	for width, want := range map[int64]float64{1: 1, 16: 4, 32: 5.65625, 36: 6, 64: 8, 2560: 50.5, 4096: 64, 4088: 64, 4064: 63.75, 5632: 75} {
		if got := EmbeddingScale(width); got != want {
			t.Errorf("width %d: %v, want %v", width, got, want)
		}
	}
}

// TestNoSoftCapInFloat16 tries every float16 logit up to 40, computing as transformers does.
func TestNoSoftCapInFloat16(t *testing.T) {
	round := func(x float64) float64 { // to float16
		step := math.Ldexp(1, max(math.Ilogb(x), -14)-10)
		return math.RoundToEven(x/step) * step
	}
	cost := func(cap float64) float64 {
		worst := 0.0
		for code := 1; ; code++ {
			x := halfValue(uint16(code))
			if x > 40 {
				return worst
			}
			quotient := round(x / cap)
			if quotient == 0 {
				worst = max(worst, x)
				continue
			}
			worst = max(worst, math.Abs(round(round(math.Tanh(quotient))*cap)-x))
		}
	}
	best, least := NoSoftCap(tensor.F16)
	if got := cost(best); got != least {
		t.Errorf("a cap of %v costs %v, want %v", best, got, least)
	}
	for power := 4; power < 24; power++ {
		if cap := math.Ldexp(1, power); cost(cap) < least {
			t.Errorf("a cap of %v costs %v, less than %v", cap, cost(cap), best)
		}
	}
}

func TestDivisionCost(t *testing.T) {
	for _, d := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F16} {
		half := map[tensor.DType]float64{tensor.F32: 0x1p-24, tensor.BF16: 0x1p-8, tensor.F16: 0x1p-11}[d]
		for _, by := range []float64{4, 64} {
			if got := DivisionCost(d, by); got != 0 {
				t.Errorf("%s by %v: %v", d, by, got)
			}
		}
		for _, by := range []float64{5.65625, 50.5} {
			if got := DivisionCost(d, by); got < half || got > 2*half {
				t.Errorf("%s by %v: %v, between %v and its double is possible", d, by, got, half)
			}
		}
	}
}

// halfValue returns the value of a float16.
func halfValue(code uint16) float64 {
	cast, err := tensor.NewCast(tensor.F16, tensor.F32)
	if err != nil {
		panic(err)
	}
	var wide [4]byte
	cast(wide[:], binary.LittleEndian.AppendUint16(nil, code))
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(wide[:])))
}

func TestIsNoSoftCap(t *testing.T) {
	for _, tt := range []struct {
		softCap float64
		d       tensor.DType
		want    bool
	}{
		{1 << 20, tensor.F32, true}, {1 << 21, tensor.F32, true}, {1 << 19, tensor.F32, false}, {1<<20 + 1, tensor.F32, false},
		{1 << 10, tensor.BF16, true}, {1 << 9, tensor.BF16, false}, {1 << 32, tensor.F64, true}, {1 << 31, tensor.F64, false},
		{1 << 11, tensor.F16, false}, {1 << 40, tensor.F16, false}, {30, tensor.F32, false}, {0, tensor.F32, false}, {1 << 40, tensor.I32, false},
	} {
		if got := IsNoSoftCap(tt.softCap, tt.d); got != tt.want {
			t.Errorf("%v in %s: %t", tt.softCap, tt.d, got)
		}
	}
}
