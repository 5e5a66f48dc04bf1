package model_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/reference"
)

// mappings counts how often a file is mapped, 0 where the system does not tell.
func mappings(path string) int {
	maps, _ := os.ReadFile("/proc/self/maps")
	return bytes.Count(maps, []byte(path))
}

// TestMappedWeights: mapped weights give the logits of weights that are read, and a file that becomes
// shorter while it is mapped is an error.
func TestMappedWeights(t *testing.T) {
	for _, name := range []string{"hf/model.safetensors", "original/torch.pt"} {
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(filepath.Join("../../testdata/tiny-griffin", name))
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), filepath.Base(name))
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			checkpoint, err := formats.Open(path, formats.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer checkpoint.Close()
			m, err := model.Open(t.Context(), checkpoint, model.Options{})
			if err != nil {
				t.Fatal(err)
			}
			config := m.Config
			config.AttentionWindow = 8
			logits := func(w reference.Weights) (all []float32, err error) {
				r := &reference.Model{Config: config.Reference(), Weights: w}
				err = r.Run(context.Background(), reference.Pass{Tokens: []int32{1, 2, 3}, Batch: 1, Observe: func(o reference.Observation) error {
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
			if again, err := mapped.Parameter(reference.Outer, reference.FinalNorm); err != nil || again != p {
				t.Errorf("a parameter that is asked for again is %p, not %p (%v)", again, p, err)
			}
			got, err := logits(mapped)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("mapped weights give other logits, or %v", err)
			}
			before := mappings(path)
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			if _, err := logits(mapped); !errors.Is(err, reference.ErrMapping) {
				t.Errorf("after truncation: %v", err)
			}
			if err := mapped.Close(); err != nil || mappings(path) >= before && before > 0 {
				t.Errorf("closed: %d mappings of %d, %v", mappings(path), before, err)
			}
		})
	}
}
