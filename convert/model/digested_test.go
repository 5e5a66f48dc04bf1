package model_test

import (
	"context"
	"io"
	"maps"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/reference"
)

// openModel opens a checkpoint of testdata and its model.
func openModel(t *testing.T, path string) *model.Model {
	t.Helper()
	checkpoint, err := formats.Open(path, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkpoint.Close() })
	m, err := model.Open(t.Context(), checkpoint, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// runWith runs the model on three tokens. One of them is token 0, the first row of the embedding.
func runWith(m *model.Model, w reference.Weights, skipLogits bool) error {
	config := m.Config
	config.AttentionWindow = 8
	r := &reference.Model{Config: config.Reference(), Weights: w}
	return r.Run(context.Background(), reference.Pass{Tokens: []int32{0, 1, 3}, Batch: 1, SkipLogits: skipLogits})
}

// readAgain is data that counts its streams.
type readAgain struct {
	tensor.Data
	count *atomic.Int32
}

// Stream implements tensor.Data.
func (r readAgain) Stream(off int64) (io.ReadCloser, error) {
	r.count.Add(1)
	return r.Data.Stream(off)
}

// The digests of the tensors that a pass reads are those of the tensors, and a whole pass leaves nothing to be read.
func TestDigestedWeights(t *testing.T) {
	for _, path := range []string{"hf", "original/torch.pt", "original/orbax-ocdbt"} {
		m := openModel(t, filepath.Join("../../testdata/tiny-griffin", path))
		for _, skipLogits := range []bool{false, true} {
			weights := model.NewDigestedWeights(m, digest.Default)
			if err := runWith(m, weights, skipLogits); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			var read atomic.Int32
			data := map[*tensor.Tensor]tensor.Data{}
			for _, x := range m.Checkpoint.Tensors() {
				data[x] = x.Data
				x.Data = readAgain{x.Data, &read}
			}
			sums, err := weights.Sums(t.Context())
			for x, d := range data {
				x.Data = d
			}
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			want := map[string]digest.Sum{}
			for _, p := range m.ParameterTensors(&m.Config) {
				if want[p.Tensor.Name], err = tensor.Digest(t.Context(), p.Tensor, digest.Default); err != nil {
					t.Fatal(err)
				}
			}
			if !skipLogits && !maps.Equal(sums, want) || skipLogits != (read.Load() > 0) {
				t.Errorf("%s, without logits %t: %d tensors were read again, digests %v, want %v", path, skipLogits, read.Load(), sums, want)
			}
		}
	}
}
