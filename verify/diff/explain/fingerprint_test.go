package explain

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// The sums of a fingerprint are those of the digests by index of each axis, wherever the pieces end that are read. An axis that is too long has none.
func TestFingerprint(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 1))
	for _, shape := range [][]int64{{}, {1}, {7}, {3, 4, 5}, {1, 4, 1, 3}, {5, 1}, {2, pieceElements + 3}, {pieceElements - 1, 3}} {
		x := random(rng, tensor.F32, shape)
		zeros := 0
		for i := range x.values {
			if i%5 == 3 {
				x.values[i] = math.Copysign(0, float64(i%2)-0.5)
				zeros++
			}
		}
		some := sampleOf(int64(len(x.values)))
		f, err := newFingerprint(t.Context(), x.tensor("x"), some)
		if err != nil {
			t.Fatal(err)
		}
		long := squeeze(shape)
		want, sum := make([][]uint64, len(long)), uint64(0)
		for k, n := range long {
			want[k] = make([]uint64, n)
		}
		for i, v := range x.values {
			d := digest(math.Float64bits(v))
			sum += d
			for k, j := range tensor.Unravel(int64(i), long) {
				want[k][j] += d
			}
		}
		if f.sum != sum || !slices.EqualFunc(f.axes, want, slices.Equal) || f.zeros != int64(zeros) || f.constant != (len(x.values) == 1) {
			t.Errorf("%v: sum %x, not %x; %d zeros, constant %t", shape, f.sum, sum, f.zeros, f.constant)
		}
		for _, i := range some {
			if valueOf(f.code(i)) != x.values[i] {
				t.Errorf("%v: element %d is %g, not %g", shape, i, valueOf(f.code(i)), x.values[i])
			}
		}
	}
	for _, n := range []int64{maxAxis, maxAxis + 1} {
		f, err := newFingerprint(t.Context(), &tensor.Tensor{DType: tensor.U8, Shape: []int64{n, 2}, Data: stored{make([]byte, 2*n)}}, nil)
		if err != nil || len(f.axes) != 2 || (len(f.axes[0]) > 0) != (n == maxAxis) || len(f.axes[1]) != 2 || f.axes[1][0] != uint64(n)*digest(0) || f.sum != 2*uint64(n)*digest(0) || !f.constant {
			t.Errorf("an axis of %d: %v", n, err)
		}
		f, err = newFingerprint(t.Context(), &tensor.Tensor{DType: tensor.U8, Shape: []int64{2, n}, Data: stored{make([]byte, 2*n)}}, nil)
		if err != nil || len(f.axes) != 2 || (len(f.axes[1]) > 0) != (n == maxAxis) || f.axes[0][1] != uint64(n)*digest(0) || f.sum != 2*uint64(n)*digest(0) {
			t.Errorf("a last axis of %d: %v", n, err)
		}
	}
}

// Elements of one kind can be compared, and the codes of complex numbers are of both parts.
func TestCodes(t *testing.T) {
	for _, tt := range []struct {
		a, b tensor.DType
		want bool
	}{
		{tensor.F32, tensor.F32, true}, {tensor.F32, tensor.BF16, true}, {tensor.I32, tensor.I32, true},
		{tensor.F32, tensor.I32, false}, {tensor.I32, tensor.F32, false}, {tensor.I32, tensor.U32, false}, {tensor.C64, tensor.F32, false},
	} {
		if comparable(&tensor.Tensor{DType: tt.a}, &tensor.Tensor{DType: tt.b}) != tt.want {
			t.Errorf("%s and %s: %t", tt.a, tt.b, !tt.want)
		}
	}
	code := func(parts ...float64) uint64 {
		var raw []byte
		for _, x := range parts {
			raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(x))
		}
		out := make([]uint64, 1)
		decoderOf(tensor.C128, 1)(out, raw)
		return out[0]
	}
	first, again := code(1, 2), code(1, 2)
	if code(1, 0) != math.Float64bits(1) || first == code(1, 0) || first == code(1, 3) || first != again {
		t.Error("codes of complex numbers")
	}
}
