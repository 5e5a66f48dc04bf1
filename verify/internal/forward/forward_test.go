package forward_test

import (
	"context"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/internal/forward"
)

// Logits that do not fit into memory at once have the same bits, and so has decoding.
func TestRunInPieces(t *testing.T) {
	c := cases.Open(t, "odd-griffin")
	m := c.Model(t, filepath.Join(c.Dir, "original", "torch.pt"))
	want, err := golden.Open(c.Recording("jax"))
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	for _, precision := range []reference.Precision{reference.Float32, reference.Float64, reference.BFloat16} {
		run := m.Reference(reference.Original, reference.Arithmetic{Precision: precision})
		pass := reference.Pass{Tokens: want.Passes[0].Tokens, Positions: want.Pass("packed").Positions, Batch: 2}
		whole := collect(t, run, pass)
		memory := forward.SetLogitsMemory(7 * 8 * int(m.Config.VocabSize))
		pieces := collect(t, run, pass)
		var decoded []float64
		err := forward.Decode(context.Background(), run, pass.Tokens, 2, 4, func(position int, logits *reference.Activations) error {
			for i := range logits.Len() {
				decoded = append(decoded, logits.At(i))
			}
			return nil
		})
		forward.SetLogitsMemory(memory)
		if err != nil {
			t.Fatal(err)
		}
		if len(whole) != 9 || !reflect.DeepEqual(whole, pieces) {
			t.Errorf("%s: in pieces it is not the same", precision)
		}
		pass.Positions = nil
		plain := collect(t, run, pass)["logits"]
		vocabulary := int(m.Config.VocabSize)
		for i, got := range decoded {
			position, row, k := 3+i/(2*vocabulary), i/vocabulary%2, i%vocabulary
			if at := (row*15+position)*vocabulary + k; plain[at] != got {
				t.Fatalf("%s: decoding gives %v at position %d of row %d, the pass %v", precision, got, position, row, plain[at])
			}
		}
		if len(decoded) != 2*(15-3)*vocabulary {
			t.Errorf("%d numbers were decoded", len(decoded))
		}
	}
	if err := forward.Decode(context.Background(), m.Reference(0, reference.Arithmetic{}), []int32{1, 2}, 1, 3, nil); err == nil {
		t.Error("decoding began after the end")
	}
}

// collect puts the results of a pass together.
func collect(t *testing.T, m *reference.Model, p reference.Pass) map[string][]float64 {
	t.Helper()
	out := map[string][]float64{}
	err := forward.Run(context.Background(), m, p, func(r forward.Result) error {
		if r.Token*r.Width != len(out[r.Name()]) {
			t.Errorf("%s: token %d comes after %d numbers", r.Name(), r.Token, len(out[r.Name()]))
		}
		for i := range r.Len() {
			out[r.Name()] = append(out[r.Name()], r.At(i))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
