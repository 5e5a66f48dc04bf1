package convert

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/reference"
)

// TestMappedWeights: mapped weights give the logits of weights that are read, and a file that becomes
// shorter while it is mapped is an error.
func TestMappedWeights(t *testing.T) {
	for _, name := range []string{filepath.Join("hf", "model.safetensors"), filepath.Join("original", "torch.pt")} {
		t.Run(name, func(t *testing.T) {
			from, err := os.ReadFile(filepath.Join("..", "testdata", "tiny-griffin", name))
			if err != nil {
				t.Skip(err)
			}
			path := filepath.Join(t.TempDir(), filepath.Base(name))
			if err := os.WriteFile(path, from, 0o600); err != nil {
				t.Fatal(err)
			}
			ckpt, err := formats.Open(path, formats.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer ckpt.Close()
			m, err := Recognize(ckpt)
			if err != nil {
				t.Fatal(err)
			}
			config := m.config()
			config.AttentionWindow = 8
			logits := func(w reference.Weights) (all []float32, err error) {
				model := &reference.Model{Config: config.Reference(), Weights: w}
				err = model.Run(context.Background(), reference.Pass{Tokens: []int32{1, 2, 3}, Batch: 1, Observe: func(o reference.Observation) error {
					all = o.Float32
					return nil
				}})
				return all, err
			}
			want, err := logits(m.Weights())
			if err != nil {
				t.Fatal(err)
			}
			mapped := m.MappedWeights()
			defer mapped.Close()
			p, err := mapped.Parameter(reference.Outer, reference.FinalNorm)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := p.Data.(reference.Bytes); !ok {
				t.Fatalf("data is %T, not mapped", p.Data)
			}
			got, err := logits(mapped)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("mapped weights give other logits, or %v", err)
			}
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			if _, err := logits(mapped); !errors.Is(err, reference.ErrMapping) {
				t.Errorf("after truncation: %v", err)
			}
		})
	}
}
