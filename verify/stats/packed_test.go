package stats

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Statistics are unpacked as they were, in few bytes.
func TestPacked(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, d := range []tensor.DType{tensor.F64, tensor.F32, tensor.BF16, tensor.F16, tensor.I64, tensor.U8, tensor.Bool, tensor.F8E4M3, tensor.C64, tensor.F4x2} {
		for _, n := range []int{0, 1, 2, 7, 500, 5000} {
			data := make([]byte, n*d.Bits()/8)
			for i := range data {
				if data[i] = byte(rng.Uint32()); d == tensor.Bool {
					data[i] &= 1
				}
			}
			checkPacked(t, d, data, int64(n))
		}
	}
	for _, v := range [][]float64{{0}, {math.Copysign(0, -1)}, {0, math.Copysign(0, -1)}, {-3}, {5, 6}, {math.NaN()}, {math.Inf(1), math.NaN()}, {math.MaxFloat64, -math.MaxFloat64}, {5e-324, 1}} {
		checkPacked(t, tensor.F64, encode(tensor.F64, v), int64(len(v)))
	}
}

func checkPacked(t *testing.T, d tensor.DType, data []byte, n int64) {
	t.Helper()
	want, err := Of(context.Background(), tensorOf(d, data, n))
	if err != nil {
		t.Fatal(err)
	}
	packed := want.Pack()
	if got := packed.Stats(d); fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
		t.Errorf("%s of %d: got\n%#v, want\n%#v", d, n, got, want)
	}
	if most := 60 + 10*len(want.Histogram.Counts); len(packed) > most {
		t.Errorf("%s of %d: %d bytes, want at most %d", d, n, len(packed), most)
	}
}
