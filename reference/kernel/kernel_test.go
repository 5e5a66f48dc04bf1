package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// encode is the inverse of Widen for values that the dtype represents exactly.
func encode(dtype tensor.DType, values []float64) []byte {
	var out []byte
	for _, v := range values {
		switch dtype {
		case tensor.BF16:
			out = binary.LittleEndian.AppendUint16(out, uint16(math.Float32bits(float32(v))>>16))
		case tensor.F16:
			out = binary.LittleEndian.AppendUint16(out, float16Bits(v))
		case tensor.F32:
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(v)))
		case tensor.F64:
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(v))
		}
	}
	return out
}

// float16Bits returns the bits of v as a float16, which must be exact.
func float16Bits(v float64) uint16 {
	fraction, exponent := math.Frexp(math.Abs(v))
	var bits uint16
	switch {
	case v == 0:
	case exponent < -13:
		bits = uint16(math.Ldexp(fraction, exponent+24))
	default:
		bits = uint16(exponent+14)<<10 | uint16(math.Ldexp(fraction, 11))&0x3ff
	}
	if math.Signbit(v) {
		bits |= 0x8000
	}
	return bits
}

// multiplyPlainly is the definition of Multiply: each element is a running sum in order, with one
// rounding for each term.
func multiplyPlainly[T Float](y, x []T, n, in, out int, weight func(k, j int) float64) {
	for r := range n {
		for j := range out {
			sum := y[r*out+j]
			for k := range in {
				switch s := any(&sum).(type) {
				case *float32:
					*s = fma32(float32(x[r*in+k]), float32(weight(k, j)), *s)
				case *float64:
					*s = math.FMA(float64(x[r*in+k]), weight(k, j), *s)
				}
			}
			y[r*out+j] = sum
		}
	}
}

// eachSet runs a test with each instruction set that the processor has.
func eachSet(t *testing.T, test func(t *testing.T)) {
	defer func(set *instructions) { use = set }(use)
	for _, use = range available {
		t.Run(use.name, test)
	}
}

// packed returns rows of x as a product of many parts packs them.
func packed[T Float](x []T, ldx, n, in int) *Rows[T] {
	var r Rows[T]
	r.Reset(n, in, nil)
	for block := range r.Blocks() {
		r.Pack(x, ldx, block, &Scratch[T]{})
	}
	return &r
}

// between returns a copy of data that begins at an offset from a cache line and has NaN before and after it.
func between(data []byte, offset int) []byte {
	all := bytes.Repeat([]byte{0xff}, len(data)+256)
	from := (64-int(uintptr(unsafe.Pointer(&all[0])))%64)%64 + 64 + offset
	copy(all[from:], data)
	return all[from:][:len(data)]
}

// testMultiply compares Multiply with its definition.
func testMultiply[T Float](t *testing.T, dtype tensor.DType, inOut bool, n, in, out int) {
	rng := rand.New(rand.NewPCG(uint64(in), uint64(out)))
	values := make([]float64, in*out)
	for i := range values {
		values[i] = float64(rng.IntN(255)-127) / 64 // exact in every dtype
	}
	w := &Matrix{DType: dtype, Data: between(encode(dtype, values), rng.IntN(64)), Rows: out, Cols: in, Stride: in, InOut: inOut}
	weight := func(k, j int) float64 { return values[j*in+k] }
	if inOut {
		w.Rows, w.Cols, w.Stride = in, out, out
		weight = func(k, j int) float64 { return values[k*out+j] }
	}
	x := make([]T, n*in)
	for i := range x {
		x[i] = T(rng.NormFloat64())
	}
	want, got := make([]T, n*out), make([]T, n*out)
	for i := range want {
		want[i] = T(rng.NormFloat64())
		got[i] = want[i]
	}
	multiplyPlainly(want, x, n, in, out, weight)
	var s Scratch[T]
	cut := out / 3 // two calls, as from two goroutines
	Multiply(got, out, x, in, n, w, 0, cut, nil, &s)
	MultiplyPacked(got, out, packed(x, in, n, in), 0, w, cut, out, &s)
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("element %d is %v, want %v", i, got[i], want[i])
		}
	}
}

func TestMultiply(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		for _, dtype := range dtypes {
			for _, inOut := range []bool{false, true} {
				for _, size := range [][3]int{{1, 1, 1}, {1, 7, 130}, {7, 300, 33}, {13, 257, 65}, {6, 512, 16}, {16, 64, 32}, {35, 270, 300}, {3, 9, 0}, {0, 9, 3}} {
					t.Run(fmt.Sprintf("%s/inout=%v/%v", dtype, inOut, size), func(t *testing.T) {
						testMultiply[float32](t, dtype, inOut, size[0], size[1], size[2])
						testMultiply[float64](t, dtype, inOut, size[0], size[1], size[2])
					})
				}
			}
		}
	})
}

// TestMultiplyAtAnyOffset: rows of weights that begin anywhere in a cache line, with numbers of terms that fill lines and that do not.
func TestMultiplyAtAnyOffset(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, in := range []int{1, 5, 31, 32, 33, 64, 96, 320} {
			const rows, out = 4, 70
			for offset := range 64 {
				stride := (in + 31) / 32 * 32
				values := make([]float64, out*stride)
				for i := range values {
					values[i] = float64(rng.IntN(255)-127) / 64
				}
				w := &Matrix{DType: tensor.BF16, Data: between(encode(tensor.BF16, values[:(out-1)*stride+in]), offset), Rows: out, Cols: in, Stride: stride}
				x := make([]float32, rows*in)
				for i := range x {
					x[i] = float32(rng.NormFloat64())
				}
				n := 1 + offset%rows
				want, got := make([]float32, n*out), make([]float32, n*out)
				for i := range want {
					want[i] = float32(math.Copysign(0, -1)) // which adding 0 would change
					got[i] = want[i]
				}
				if offset%3 == 0 {
					clear(x)
				}
				multiplyPlainly(want, x, n, in, out, func(k, j int) float64 { return values[j*stride+k] })
				Multiply(got, out, x, in, n, w, 0, out, nil, &Scratch[float32]{})
				for i := range want {
					if !same(got[i], want[i]) {
						t.Fatalf("%d terms, offset %d, %d rows: element %d is %x, want %x", in, offset, n, i, got[i], want[i])
					}
				}
			}
		}
	})
}

// TestMultiplyInPieces: rows multiplied together or alone, and sums in one piece or several, give the
// same bits.
func TestMultiplyInPieces(t *testing.T) {
	const n, in, out = 9, 600, 40
	rng := rand.New(rand.NewPCG(1, 2))
	x, data := make([]float32, n*in), make([]float32, in*out)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for i := range data {
		data[i] = float32(rng.NormFloat64())
	}
	w := Dense(data, in, out, out, true)
	var s Scratch[float32]
	whole, pieces := make([]float32, n*out), make([]float32, n*out)
	for _, order := range []*Order{nil, SeededOrder(5)} {
		clear(whole)
		clear(pieces)
		Multiply(whole, out, x, in, n, w, 0, out, order, &s)
		for r := range n {
			for k := 0; k < in; k += BlockTerms {
				piece := Dense(data[k*out:], min(BlockTerms, in-k), out, out, true)
				Multiply(pieces[r*out:], out, x[r*in+k:], in, 1, piece, 0, out, order, &s)
			}
		}
		for i := range whole {
			if whole[i] != pieces[i] {
				t.Fatalf("element %d is %v in one piece but %v in several", i, whole[i], pieces[i])
			}
		}
	}
}

// TestOrder: an Order changes only roundings, and its result does not depend on how the weights are
// stored.
func TestOrder(t *testing.T) {
	const n, in, out = 5, 700, 20
	rng := rand.New(rand.NewPCG(3, 4))
	x, inOut, outIn := make([]float32, n*in), make([]float32, in*out), make([]float32, in*out)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for k := range in {
		for j := range out {
			inOut[k*out+j] = float32(rng.NormFloat64())
			outIn[j*in+k] = inOut[k*out+j]
		}
	}
	var s Scratch[float32]
	plain := make([]float32, n*out)
	Multiply(plain, out, x, in, n, Dense(inOut, in, out, out, true), 0, out, nil, &s)
	moved := 0
	for seed := range uint64(6) {
		order := SeededOrder(seed + 1)
		a, b := make([]float32, n*out), make([]float32, n*out)
		Multiply(a, out, x, in, n, Dense(inOut, in, out, out, true), 0, out, order, &s)
		Multiply(b, out, x, in, n, Dense(outIn, out, in, in, false), 0, out, order, &s)
		for i := range a {
			if a[i] != b[i] {
				t.Fatalf("seed %d: element %d is %v from [in, out], %v from [out, in]", seed, i, a[i], b[i])
			}
			if math.Abs(float64(a[i]-plain[i])) > 1e-4 {
				t.Fatalf("seed %d: element %d is %v, in plain order %v", seed, i, a[i], plain[i])
			}
			if a[i] != plain[i] {
				moved++
			}
		}
	}
	if moved < 6*n*out/2 {
		t.Errorf("only %d of %d sums are rounded differently", moved, 6*n*out)
	}
}

// TestMultiplyAllocatesNothing: Multiply is called for each piece of the weights and must leave no
// garbage.
func TestMultiplyAllocatesNothing(t *testing.T) {
	w := Dense(make([]float32, 64*64), 64, 64, 64, false)
	x, y := make([]float32, 3*64), make([]float32, 3*64)
	var s Scratch[float32]
	if n := testing.AllocsPerRun(5, func() { Multiply(y, 64, x, 64, 3, w, 0, 64, nil, &s) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
