package diff_test

import (
	"fmt"
	"testing"

	"github.com/griffin-ckpt/griffin/verify/diff"
)

// TestLayersOf: layers are named by their kind where they are all of one kind, as a reader would say it.
func TestLayersOf(t *testing.T) {
	var kinds []string
	for i := range 26 {
		kinds = append(kinds, map[bool]string{true: "attention", false: "recurrent"}[i%3 == 2])
	}
	r := &diff.Result{A: diff.Side{BlockTypes: kinds}}
	for i := range 26 {
		r.Tensors = append(r.Tensors, diff.TensorDiff{Name: fmt.Sprintf("blocks.%d.w", i)}, diff.TensorDiff{Name: fmt.Sprintf("other.%d.w", 40+i%2)})
	}
	of := func(kind string, from, to int) []int {
		var out []int
		for i := from; i <= to; i++ {
			if kind == "" || kinds[i] == kind {
				out = append(out, i)
			}
		}
		return out
	}
	for _, tt := range []struct {
		layers []int
		want   string
	}{
		{of("", 0, 25), "all layers (26)"},
		{of("recurrent", 0, 25), "recurrent layers (18)"},
		{of("attention", 0, 25), "attention layers (8)"},
		{of("recurrent", 0, 10), "recurrent layers 0 to 10 (8)"},
		{of("attention", 3, 25), "attention layers 5 to 23 (7)"},
		{of("attention", 3, 8), "layers 5, 8"},
		{[]int{2, 5, 8, 11, 14, 17, 19, 20, 23}, "attention layers (8) and layer 19"},
		{[]int{2, 5, 6, 8, 9, 11, 17, 20, 23}, "attention layers but 14 (7) and layers 6, 9"},
		{[]int{0, 1, 3, 4, 6, 7, 12, 13, 15, 16, 18, 19, 21, 22, 24, 25}, "recurrent layers but 9, 10 (16)"},
		{[]int{1, 3, 6, 7, 9, 10}, "recurrent layers 1 to 10 but 4 (6)"},
		{[]int{2, 8, 14}, "layers 2, 8, 14"},
		{[]int{2, 8, 9, 12, 13, 20}, "layers 2, 8, 9, 12, 13, 20"},
		{of("", 2, 9), "layers 2 to 9"},
		{[]int{2, 3, 4, 12}, "layers 2 to 4, 12"},
		{[]int{0, 1}, "layers 0, 1"},
		{[]int{7}, "layer 7"},
	} {
		g := diff.Group{List: "blocks", Layers: tt.layers}
		if got := r.LayersOf(&g); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.layers, got, tt.want)
		}
	}
	if got := r.LayersOf(&diff.Group{List: "other", Layers: []int{40}}); got != "layer 40" {
		t.Errorf("another list of layers has %q", got)
	}
	r.A.BlockTypes, r.B.BlockTypes = nil, kinds
	if got := r.LayersOf(&diff.Group{List: "blocks", Layers: of("attention", 3, 25)}); got != "attention layers 5 to 23 (7)" {
		t.Errorf("a model without known blocks and one with them have %q", got)
	}
	r.A.BlockTypes, r.B.BlockTypes = kinds[:20], kinds
	if got := r.LayersOf(&diff.Group{List: "blocks", Layers: of("attention", 3, 25)}); got != "attention layers 5 to 23 (7)" {
		t.Errorf("a model and one with more blocks of the same kinds have %q", got)
	}
	r.A.BlockTypes = kinds
	r.B.BlockTypes = kinds[1:]
	if got := r.LayersOf(&diff.Group{List: "blocks", Layers: of("attention", 3, 25)}); got != "layers 5, 8, 11, 14, 17, 20, 23" {
		t.Errorf("two models of different blocks have %q", got)
	}
}

// Kinds name layers only where there is one for each of them.
func TestLayersWithoutKinds(t *testing.T) {
	three := []string{"recurrent", "recurrent", "attention"}
	for _, tt := range []struct {
		kinds         []string
		layers, group []int
		want          string
	}{
		{three, []int{0, 1, 2}, []int{0, 1}, "recurrent layers (2)"},
		{three, []int{1, 2, 3}, []int{1, 2}, "layers 1, 2"},
		{three, []int{0, 1}, []int{0}, "layer 0"},
		{append(three, "attention"), []int{0, 1, 2}, []int{0, 1}, "layers 0, 1"},
		{three, []int{0, 1, 2, 3}, []int{0, 1}, "layers 0, 1"},
		{[]string{"recurrent", "recurrent", "recurrent", "recurrent", "attention"}, []int{0, 1, 2, 3, 4}, []int{1, 2, 3}, "layers 1 to 3"},
		{[]string{"recurrent", "", "recurrent", "attention", "recurrent"}, []int{0, 2, 3, 4}, []int{0, 2, 4}, "recurrent layers (3)"},
		{[]string{"recurrent", "", "recurrent", "attention", "recurrent"}, []int{0, 1, 2, 3, 4}, []int{0, 2, 4}, "layers 0, 2, 4"},
		{nil, []int{7}, []int{7}, "layer 7"},
		{nil, nil, []int{1, 2}, "layers 1, 2"},
	} {
		r := &diff.Result{A: diff.Side{BlockTypes: tt.kinds}}
		for _, n := range tt.layers {
			r.Tensors = append(r.Tensors, diff.TensorDiff{Name: fmt.Sprintf("l.%d.w", n)})
		}
		if got := r.LayersOf(&diff.Group{List: "l", Layers: tt.group}); got != tt.want {
			t.Errorf("%q of layers %v: %q, want %q", tt.kinds, tt.layers, got, tt.want)
		}
	}
}
