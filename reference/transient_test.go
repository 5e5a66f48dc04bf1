package reference

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// TestTransient: a pass that uses the memory of its results again computes the same, and so does the next one.
func TestTransient(t *testing.T) {
	m, p := oddGriffin(t)
	for _, arithmetic := range []Arithmetic{{}, {Precision: Float64}, {Precision: BFloat16}, {Precision: Fast}} {
		m.Arithmetic = arithmetic
		want := results(t, m, p)
		for range 2 {
			got := map[string]Activations{}
			transient := p
			transient.Transient = true
			transient.Observe = func(o Observation) error {
				o.Float32, o.Float64 = slices.Clone(o.Float32), slices.Clone(o.Float64)
				got[o.Name()] = o.Activations
				return nil
			}
			if err := m.Run(context.Background(), transient); err != nil {
				t.Fatal(err)
			}
			sameBits(t, want, got)
		}
	}
}

// TestLogitsInParts: the logits in parts of any size have the bits of all logits at once, in both storage orders.
func TestLogitsInParts(t *testing.T) {
	defer func(piece, part int) { pieceBytes, partBytes = piece, part }(pieceBytes, partBytes)
	const n, width, vocabulary = 5, 300, 1000
	config := Config{VocabSize: vocabulary, Width: width, LogitsSoftCap: 3}
	rng := rand.New(rand.NewPCG(1, 1))
	x, values, across := make([]float32, n*width), make([]float32, width*vocabulary), make([]float32, width*vocabulary)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for o := range vocabulary {
		for i := range width {
			values[o*width+i] = float32(rng.NormFloat64()) / 8
			across[i*vocabulary+o] = values[o*width+i]
		}
	}
	bytesOf := func(v []float32) Bytes { return Bytes(kernel.Dense(v, vocabulary, width, width, false).Data) }
	straight := &Parameter{DType: tensor.F32, Shape: []int64{vocabulary, width}, Data: bytesOf(values)}
	turned := &Parameter{DType: tensor.F32, Shape: []int64{width, vocabulary}, Data: bytesOf(across), InOut: true}
	want, err := testEngine[float32](config, single{straight}, Float32).logits(x, n, Original)
	if err != nil {
		t.Fatal(err)
	}
	pieceBytes = 1 // pieces of 256 outputs
	for _, tt := range []struct {
		p            *Parameter
		bytes, parts int
	}{{straight, 1, 4}, {straight, n * 4 * 600, 2}, {straight, 1 << 30, 1}, {turned, 1, 1}} {
		partBytes = tt.bytes
		got, parts := make([]float32, n*vocabulary), 0
		p := &Pass{Batch: 1, Tokens: make([]int32, n), Transient: true, Observe: func(o Observation) error {
			parts++
			for r := range n {
				copy(got[r*vocabulary+o.First:], o.Float32[r*o.Width:][:o.Width])
			}
			return nil
		}}
		if err := testEngine[float32](config, single{tt.p}, Float32).logitsInParts(x, p, Original); err != nil {
			t.Fatal(err)
		}
		if parts != tt.parts || !slices.Equal(want, got) {
			t.Errorf("InOut %t, %d bytes: %d parts, or the bits differ", tt.p.InOut, tt.bytes, parts)
		}
	}
}
