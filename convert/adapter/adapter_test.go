package adapter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// randomTensor returns a tensor of random numbers between -1 and 1.
func randomTensor(rng *rand.Rand, name string, d tensor.DType, shape ...int64) *tensor.Tensor {
	values := make([]float64, tensor.RowMajor(shape...).Elements())
	for i := range values {
		values[i] = rng.Float64()*2 - 1
	}
	data := make([]byte, int64(len(values))*d.Size())
	rounders[d].round(data, values)
	return tensortest.Stored(name, d, shape, data)
}

func elementsOf(t *testing.T, x *tensor.Tensor) []float64 {
	t.Helper()
	all := make([]byte, x.Bytes())
	if _, err := x.ReadAt(all, 0); err != nil {
		t.Fatal(err)
	}
	out := make([]float64, x.Elements())
	tensor.ValuesOf(x.DType).Decode(out, all)
	return out
}

// TestMergedStreams: streams that begin at any offset give the same elements, also if a row is longer than
// a panel, or the rank is so large that a factor is read in parts.
func TestMergedStreams(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for _, tt := range []struct{ height, width, rank int64 }{{3, panelElements + 5, 3}, {300, 700, 5}, {7, 1300, 500}, {2, panelElements * 2, 6}, {2000, 3, 40}, {1, 1, 1}} {
		base := randomTensor(rng, "w", tensor.F32, tt.height, tt.width)
		change := &peft.Change{Parameter: "w", Scale: 0.5, Left: &peft.Factor{Tensor: randomTensor(rng, "l", tensor.F32, tt.height, tt.rank)},
			Right: &peft.Factor{Tensor: randomTensor(rng, "r", tensor.BF16, tt.rank, tt.width)}}
		u, err := NewUpdate(change, base.Shape, tensor.RowMajor(base.Shape...), 0)
		if err != nil {
			t.Fatal(err)
		}
		x, err := Apply(base, base.Shape, []*Update{u})
		if err != nil {
			t.Fatal(err)
		}
		whole := elementsOf(t, x)
		left, right, w := elementsOf(t, change.Left.Tensor), elementsOf(t, change.Right.Tensor), elementsOf(t, base)
		for range 200 {
			i := rng.Int64N(int64(len(whole)))
			sum := 0.0
			for k := range tt.rank {
				sum += left[i/tt.width*tt.rank+k] * right[k*tt.width+i%tt.width]
			}
			if want := float64(float32(w[i] + 0.5*sum)); whole[i] != want {
				t.Fatalf("%v: element %d is %v, want %v", tt, i, whole[i], want)
			}
		}
		all := make([]byte, x.Bytes())
		if _, err := x.ReadAt(all, 0); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			off := rng.Int64N(x.Bytes())
			part := make([]byte, min(1+rng.Int64N(5000), x.Bytes()-off))
			if _, err := x.ReadAt(part, off); err != nil || !bytes.Equal(part, all[off:][:len(part)]) {
				t.Fatalf("%v: %d bytes from %d on: %v", tt, len(part), off, err)
			}
		}
	}
}

// TestSmallMatrices: a stream of a small matrix takes memory for its elements, not for a panel. A checkpoint can have 100,000.
func TestSmallMatrices(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 7))
	base := randomTensor(rng, "w", tensor.F32, 4, 4)
	change := &peft.Change{Parameter: "w", Scale: 0.5, Left: &peft.Factor{Tensor: randomTensor(rng, "l", tensor.F32, 4, 1)},
		Right: &peft.Factor{Tensor: randomTensor(rng, "r", tensor.F32, 1, 4)}, Magnitude: randomTensor(rng, "m", tensor.F32, 4)}
	const n = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		u, err := NewUpdate(change, base.Shape, tensor.RowMajor(base.Shape...), 0)
		if err != nil {
			t.Fatal(err)
		}
		x, err := Apply(base, base.Shape, []*Update{u})
		if err != nil {
			t.Fatal(err)
		}
		elementsOf(t, x)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 32<<10 {
		t.Errorf("%d bytes for a matrix of 64", each)
	}
}

func TestRoundBF16(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	cast, err := tensor.NewCast(tensor.F64, tensor.BF16)
	if err != nil {
		t.Fatal(err)
	}
	check := func(bits uint64) {
		var stored [8]byte
		var got, want [2]byte
		binary.LittleEndian.PutUint64(stored[:], bits)
		cast(want[:], stored[:])
		if roundBF16(got[:], []float64{math.Float64frombits(bits)}); got != want {
			t.Fatalf("%x rounds to %x, want %x", bits, got, want)
		}
	}
	for exponent := range uint64(0x800) {
		for _, fraction := range []uint64{0, 1, 1<<44 - 1, 1 << 44, 1<<44 + 1, 3 << 44, 1<<52 - 1, 1<<52 - 1<<44, 1<<52 - 1<<44 - 1, rng.Uint64N(1 << 52)} {
			check(exponent<<52 | fraction)
			check(1<<63 | exponent<<52 | fraction)
		}
	}
}

func TestMergeRefusesWhatIsNotFinite(t *testing.T) {
	for _, tt := range []struct {
		d    tensor.DType
		x    float64
		want string
	}{
		{tensor.F32, math.NaN(), "makes element [1, 0] of w NaN, which float32 cannot hold"},
		{tensor.BF16, math.Inf(1), "makes element [1, 0] of w +Inf, which bfloat16 cannot hold"},
		{tensor.F16, 60000, "makes element [1, 0] of w 120000"},
		{tensor.F16, 32000, ""},
		{tensor.BF16, 60000, ""},
	} {
		vector := func(shape ...int64) *tensor.Tensor {
			data := make([]byte, 16)
			rounders[tensor.F64].round(data, []float64{0, tt.x})
			return tensortest.Stored("f", tensor.F64, shape, data)
		}
		ones := make([]byte, 16)
		rounders[tensor.F64].round(ones, []float64{1, 1})
		one := tensortest.Stored("o", tensor.F64, []int64{1, 2}, ones)
		u, err := NewUpdate(&peft.Change{Parameter: "w", Scale: 2, Left: &peft.Factor{Tensor: vector(2, 1)}, Right: &peft.Factor{Tensor: one}}, []int64{2, 2}, tensor.RowMajor(2, 2), 0)
		if err != nil {
			t.Fatal(err)
		}
		base := tensortest.Stored("w", tt.d, []int64{2, 2}, make([]byte, 4*tt.d.Size()))
		x, err := Apply(base, base.Shape, []*Update{u})
		if err != nil {
			t.Fatal(err)
		}
		_, err = x.ReadAt(make([]byte, x.Bytes()), 0)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s of %v: %v; want %q", tt.d, tt.x, err, tt.want)
		}
	}
}

// TestNewUpdateRefuses gives changes that do not fit a parameter of shape [4, 6].
func TestNewUpdateRefuses(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	x := func(shape ...int64) *tensor.Tensor { return randomTensor(rng, "x", tensor.F32, shape...) }
	factors := func(left, right *tensor.Tensor) peft.Change {
		return peft.Change{Left: &peft.Factor{Tensor: left}, Right: &peft.Factor{Tensor: right}, Scale: 1}
	}
	magnitude := factors(x(4, 2), x(2, 6))
	magnitude.Magnitude = x(6)
	for _, test := range []struct {
		name, want string
		change     peft.Change
	}{
		{"rank 0", "the inner lengths must be equal and not 0", factors(x(4, 0), x(0, 6))},
		{"two ranks", "a product of [4, 2] and [3, 6]; the inner lengths", factors(x(4, 2), x(3, 6))},
		{"rows", "a product of shape [5, 6], and the parameter is [4, 6]", factors(x(5, 2), x(2, 6))},
		{"columns", "a product of shape [4, 7], and the parameter is [4, 6]", factors(x(4, 2), x(2, 7))},
		{"bias", "cannot be adapted in this way", peft.Change{Right: &peft.Factor{Tensor: x(6)}}},
		{"value", "[6, 4], and the parameter is [4, 6]", peft.Change{Value: x(6, 4)}},
		{"magnitude", "[6], for a matrix of 4 rows", magnitude},
		{"width of rows", "[1, 5], for rows of 6 elements", peft.Change{Rows: x(1, 5), Indices: []int64{0}}},
		{"one axis of rows", "[6], for rows of 6 elements", peft.Change{Rows: x(6), Indices: []int64{0}}},
		{"token", "token 4 of a vocabulary of 4", peft.Change{Rows: x(1, 6), Indices: []int64{4}}},
		{"negative token", "token -1 of a vocabulary of 4", peft.Change{Rows: x(1, 6), Indices: []int64{-1}}},
		{"indices", "2 rows for 1 tokens", peft.Change{Rows: x(2, 6), Indices: []int64{1}}},
	} {
		_, err := NewUpdate(&test.change, []int64{4, 6}, tensor.RowMajor(4, 6), 0)
		var bad *tensor.FormatError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}
