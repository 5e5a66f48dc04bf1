package diff

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// NaN and infinities of equal tensors are noted, whatever the layouts are.
func TestNotFiniteOnBothSides(t *testing.T) {
	const flax, hf = testdata + "micro-griffin/original/orbax-ocdbt", testdata + "micro-griffin/hf"
	for _, tt := range []struct {
		a, b string
		nan  map[string]int // bytes of tensors of either side that become NaN
		want []string
	}{
		{flax, hf, nil, nil},
		{hf, hf, map[string]int{"model.final_norm.weight": 2}, []string{"1 NaN in 1 tensor of A, and the same in B: model.final_norm.weight"}},
		{flax, flax, map[string]int{"params.final_norm.scale": 2}, []string{"1 NaN in 1 tensor of A, and the same in B: params.final_norm.scale"}},
		{flax, hf, map[string]int{"params.blocks.0.mlp_block.ffw_up.w": math.MaxInt, "model.layers.0.mlp_block.up_proj.weight": math.MaxInt, "model.layers.0.mlp_block.gate_proj.weight": math.MaxInt},
			[]string{"768 NaN in 2 tensors of A, and the same in B: model.layers.0.{mlp_block.gate_proj.weight, mlp_block.up_proj.weight}"}},
	} {
		var sides []*tensor.Checkpoint
		for _, path := range []string{tt.a, tt.b} {
			c, contents := loaded(t, path)
			for name, n := range tt.nan {
				content := contents[name]
				copy(content, bytes.Repeat([]byte{0xff}, min(n, len(content))))
			}
			sides = append(sides, c)
		}
		r, err := Diff(t.Context(), sides[0], sides[1], Options{})
		if err != nil || !r.Equal || !slices.Equal(r.Notes, tt.want) {
			t.Errorf("%s and %s with %v: %v, %+v", tt.a, tt.b, tt.nan, err, r.Notes)
		}
	}
	// What differs is said to have them.
	a, contents := loaded(t, hf)
	copy(contents["model.final_norm.weight"], []byte{0xff, 0xff})
	b, contents := loaded(t, hf)
	copy(contents["model.final_norm.weight"], []byte{0xff, 0xff, 0, 1})
	r, err := Diff(t.Context(), a, b, Options{})
	if err != nil || r.Summary.NonFinite != 1 || len(r.Notes) > 0 {
		t.Errorf("%v, %+v, %q", err, r.Summary, r.Notes)
	}
	// If it is within a tolerance, it is equal.
	r, err = Diff(t.Context(), a, b, Options{Tolerance: &Tolerance{Abs: 1}})
	if want := []string{"1 NaN in 1 tensor of A, and the same in B: model.final_norm.weight"}; err != nil || !r.Equal || !slices.Equal(r.Notes, want) {
		t.Errorf("%v, %q, want %q", err, r.Notes, want)
	}
}
