package diff

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// A value that transformers does not load is shown as its file has it, with what is wanted, on the side that has it.
func TestRefusedDifferences(t *testing.T) {
	const (
		neither = ": neither transformers 5.23 nor 4.57 loads the model"
		only5   = ": transformers 5.23 does not load the model"
		float   = "transformers wants a floating-point type of torch"
	)
	null := json.RawMessage("null")
	for _, tt := range []struct {
		other, changes map[string]any // of both files
		want           string
	}{
		{nil, map[string]any{"dtype": "torch.float16"}, `dtype: "float16", "torch.float16", ` + float + neither},
		{nil, map[string]any{"dtype": nil, "torch_dtype": "bf16"}, `dtype: "float16", "bf16", ` + float + neither},
		{nil, map[string]any{"dtype": "bf16", "torch_dtype": "bfloat16"}, `dtype: "float16", "bf16", ` + float + neither + `|torch_dtype: "float16", "bfloat16", transformers before 4.56, and other programs, load the weights, or compute, in another dtype`},
		{nil, map[string]any{"model_type": nil}, `model_type: "recurrent_gemma", "recurrent_gemma", transformers wants "recurrent_gemma": transformers does not load the model, unless the name of the directory says its type`},
		{nil, map[string]any{"vocab_size": 128.5}, "vocab_size: 40, 128.5, transformers wants int" + only5},
		{map[string]any{"attention_bias": nil}, map[string]any{"attention_bias": null, "vocab_size": 128.5}, "attention_bias: , null, transformers wants bool" + only5 + "|vocab_size: 40, 128.5, transformers wants int" + only5},
		{nil, map[string]any{"vocab_size": map[string]any{"a": 1, "b": map[string]any{"c": 2}}}, "vocab_size: 40, an object, transformers wants int" + only5},
		{nil, map[string]any{"attention_dropout": map[string]any{"a": 1}, "use_cache": map[string]any{"a": 1}}, "attention_dropout: 0, an object, transformers wants float or int" + only5},
		{nil, map[string]any{"attention_dropout": map[string]any{}}, "attention_dropout: 0, an object, transformers wants float or int" + only5},
		{nil, map[string]any{"hidden_activation": []any{"gelu"}}, `hidden_activation: "gelu_pytorch_tanh", ["gelu"], transformers wants str` + only5},
	} {
		sides := []*tensor.Checkpoint{configWith(t, tt.other), configWith(t, tt.changes)}
		for swapped, side := range []string{"in B ", "in A "} {
			if swapped == 1 {
				slices.Reverse(sides)
			}
			r, err := Diff(t.Context(), sides[0], sides[1], Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range r.Config {
				if swapped == 1 {
					c.A, c.B = c.B, c.A
				}
				got = append(got, fmt.Sprintf("%s: %s, %s, %s", c.Field, c.A, c.B, strings.TrimPrefix(c.Detail, side)))
			}
			if strings.Join(got, "|") != tt.want {
				t.Errorf("%v, swapped %d:\ngot  %s\nwant %s", tt.changes, swapped, strings.Join(got, "|"), tt.want)
			}
		}
	}
	if got := effectOf("logits_soft_cap", 30.0, nil); got != "logits are capped differently" {
		t.Errorf("no soft cap is stated: %s", got)
	}
	if got := effectOf("tie_word_embeddings", false, true); got != "only one of them ties the output head to the embedding" { // both may have a head
		t.Errorf("a tied head: %s", got)
	}
}

// A tensor that was paired with one of another name is no copy, although its layer is one.
func TestPairedTensorIsNoCopy(t *testing.T) {
	a, b := checkpointOf(t, append(layered(t, "", 1, 2, 3).Tensors(), vector("other.x", 2, 3, -2))...), layered(t, "", 1, 2, 2, 3)
	for _, sides := range [][2]*tensor.Checkpoint{{a, b}, {b, a}} {
		r, err := Diff(t.Context(), sides[0], sides[1], Options{})
		if err != nil {
			t.Fatal(err)
		}
		copies, renamed := 0, 0
		for _, e := range r.Tensors {
			if e.CopyOf != "" {
				copies++
			}
			if e.Renamed {
				renamed++
			}
			if e.CopyOf != "" && (e.Renamed || e.Status != OnlyA && e.Status != OnlyB) {
				t.Errorf("%+v", e)
			}
		}
		if copies != 2 || renamed != 1 {
			t.Errorf("%d copies, %d renamed: %+v", copies, renamed, r.Tensors)
		}
	}
}

// If the last layers of one side are copies of others, those of the other side are compared with them by their numbers, and are not called missing.
func TestCopiesBehindOtherLayers(t *testing.T) {
	r, err := Diff(t.Context(), layered(t, "", 1, 2, 9), layered(t, "", 1, 2, 1, 2), Options{})
	if err != nil || strings.Join(r.Notes, "|") != "layers 2, 3 of B are copies of layers 0, 1 of A" {
		t.Errorf("%v, %q", err, r.Notes)
	}
}

// As many layers as are sampled at most, and one more.
func TestMostLayersThatAreSampled(t *testing.T) {
	// of returns n layers: zeros at first, and at the end some that are nearly those of the other side.
	of := func(n, alike int, noise float64) *tensor.Checkpoint {
		layers := make([][]float64, n)
		for i := range layers {
			x := make([]float64, 2*alike)
			if k := i - (n - alike); k >= 0 {
				x[k], x[alike+k] = 1, noise
			}
			layers[i] = x
		}
		return alikeLayers(t, layers...)
	}
	for _, tt := range []struct {
		a, b, alike int
		want        string
	}{
		{maxAlike / 128, 128, 128, "layers 0 to 127 of B look like layers 384 to 511 of A; B lacks layers 0 to 383 of A"},
		{maxAlike/128 + 1, 128, 128, ""},
		{2, maxLayers - 2, 2, "layers 1020, 1021 of B look like layers 0, 1 of A; layers 0 to 1019 of B have no counterpart in A"},
		{2, maxLayers - 1, 2, ""},
	} {
		r, err := Diff(t.Context(), of(tt.a, tt.alike, 0), of(tt.b, tt.alike, 0.1), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if notes := strings.Join(r.Notes, "; "); notes != tt.want {
			t.Errorf("%d and %d layers: %q", tt.a, tt.b, notes)
		}
	}
}
