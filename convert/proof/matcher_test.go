package proof

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// Candidates match the views whose elements they hold, and do not if one bit is changed.
func TestMatcher(t *testing.T) {
	m, err := NewMatcher(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	rng := rand.New(rand.NewPCG(4, 4))
	for round := range 200 {
		shape := []int64{1 + rng.Int64N(40), 1 + rng.Int64N(40), 1 + rng.Int64N(3)}
		d := []tensor.DType{tensor.U8, tensor.BF16, tensor.F32, tensor.F64}[rng.IntN(4)]
		content := make([]byte, tensor.RowMajor(shape...).Elements()*d.Size())
		for i := range content {
			content[i] = byte(rng.Uint32())
		}
		source := tensortest.Stored("s", d, shape, content)
		if round%2 == 0 {
			source.Data = &tensortest.Stream{Content: content}
		}
		var candidates []Candidate
		var want []bool
		total := int64(0)
		for range 1 + rng.IntN(4) {
			view := tensortest.RandomView(rng, shape)
			var held []byte
			tensortest.EachIndex(view.Shape, func(index []int64) {
				held = append(held, content[view.At(index)*d.Size():][:d.Size()]...)
			})
			equal := len(held) == 0 || rng.IntN(2) == 0
			if !equal {
				held[rng.IntN(len(held))] ^= 1 << rng.IntN(8)
			} else {
				total += int64(len(held))
			}
			candidates = append(candidates, Candidate{view, tensortest.Stored("c", d, view.Shape, bytes.Clone(held))})
			want = append(want, equal)
		}
		compared := int64(0)
		got, err := m.Match(t.Context(), source, candidates, func(n int64) { compared += n })
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("round %d: view %+v of %v, equal %t: Match reports %t", round, candidates[i].View, shape, want[i], got[i])
			}
		}
		if compared < total || compared > total && !slices.Contains(want, false) {
			t.Errorf("round %d: %d bytes were compared, %d are equal", round, compared, total)
		}
	}
}
