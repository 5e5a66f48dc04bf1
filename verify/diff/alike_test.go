package diff

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// trained returns a checkpoint of layers with matrices that are made from the seeds, changed by noise.
func trained(t *testing.T, noise float64, seeds ...uint64) *tensor.Checkpoint {
	t.Helper()
	var tensors []*tensor.Tensor
	rng := rand.New(rand.NewPCG(1, uint64(1000*noise)))
	for i, seed := range seeds {
		for k, name := range []string{"up", "down"} {
			own := rand.New(rand.NewPCG(seed, uint64(k)))
			m := array{tensor.F32, []int64{40, 50}, make([]float64, 2000)}
			for j := range m.values {
				m.values[j] = float64(float32(own.NormFloat64() + noise*rng.NormFloat64()))
			}
			tensors = append(tensors, m.tensor(fmt.Sprintf("layers.%d.%s", i, name)))
		}
		tensors = append(tensors, vector(fmt.Sprintf("layers.%d.norm", i), 1, 1, 1))
	}
	return checkpointOf(t, tensors...)
}

// Layers that were removed or added before more training are found by what the others look like.
func TestRemovedLayersOfTrainedModels(t *testing.T) {
	for _, tt := range []struct {
		name         string
		noise        float64
		b            []uint64
		onlyA, onlyB int
		note         string
	}{
		{"removed", 0.1, []uint64{1, 4, 5}, 6, 0, "layers 0 to 2 of B look like layers 0, 3, 4 of A; B lacks layers 1, 2 of A"},
		{"added", 0.1, []uint64{1, 2, 9, 3, 4, 5}, 0, 3, "layers 0, 1, 3 to 5 of B look like layers 0 to 4 of A; layer 2 of B has no counterpart in A"},
		{"far trained", 1, []uint64{2, 3, 4, 5}, 3, 0, "layers 0 to 3 of B look like layers 1 to 4 of A; B lacks layer 0 of A"},
		{"not trained", 0, []uint64{1, 3, 4, 5}, 3, 0, "layers 0 to 3 of B are layers 0, 2 to 4 of A; B lacks layer 1 of A"},
		{"upscaled", 0.1, []uint64{1, 2, 3, 2, 3, 4, 5}, 0, 6, "layers 0 to 2, 5, 6 of B look like layers 0 to 4 of A; layers 3, 4 of B look like layers 1, 2 of A"},
		{"upscaled at the end", 0.1, []uint64{1, 2, 3, 4, 5, 4, 5}, 0, 6, "layers 5, 6 of B look like layers 3, 4 of A"},
		{"another model", 0, []uint64{11, 12, 13, 14}, 3, 0, ""},
		{"the last removed", 0.1, []uint64{1, 2, 3}, 6, 0, ""},
	} {
		r, err := Diff(t.Context(), trained(t, 0, 1, 2, 3, 4, 5), trained(t, tt.noise, tt.b...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if notes := strings.Join(r.Notes, "\n"); notes != tt.note || r.Summary.OnlyA != tt.onlyA || r.Summary.OnlyB != tt.onlyB {
			t.Errorf("%s: %q, %+v", tt.name, notes, r.Summary)
		}
	}
	c, err := FindCounterparts(t.Context(), trained(t, 0, 1, 2, 3), trained(t, 0.1, 2, 3), nil)
	if err != nil || c.Layers == nil || c.Layers.Words("the source", "the conversion") != "layers 0, 1 of the conversion look like layers 1, 2 of the source; the conversion lacks layer 0 of the source" ||
		c.Names["layers.2.up"] != "layers.1.up" || c.Names["layers.0.up"] != "" {
		t.Errorf("%+v, %v", c, err)
	}
}

// Samples of a layer are those of matrices that are finite and not 0.
func TestSamples(t *testing.T) {
	nan := func(name string, values ...float64) *tensor.Tensor {
		return array{tensor.F32, []int64{2, 2}, values}.tensor(name)
	}
	c := checkpointOf(t, nan("zero", 0, 0, 0, 0), nan("a", 3, 4, 0, 0), vector("norm", 1, 2))
	l := &layer{0, map[string]*operand{}}
	for _, x := range c.Tensors() {
		l.operands[x.Name] = whole(x)
	}
	s, err := sample(t.Context(), l)
	if err != nil || len(s) != 1 || fmt.Sprint(s["a"]) != "[0.6 0.8 0 0]" {
		t.Errorf("%v, %v", s, err)
	}
	if got := likeness(s, s); got < 0.99 || likeness(samples{}, samples{}) != 0 || likeness(s, samples{"b": {1}, "c": {1}, "a": s["a"]}) != 0 {
		t.Errorf("%v", got)
	}
}
