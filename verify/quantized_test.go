package verify

import (
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// TestQuantized verifies a copy of which one matrix holds another one, and a tensor that was left alone is wrong.
func TestQuantized(t *testing.T) {
	open := func(sample string) *tensor.Checkpoint {
		c, err := formats.Open("../testdata/quantized/"+sample, formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	const down, norm = "model.layers.0.mlp_block.down_proj.weight", "model.layers.0.temporal_pre_norm.weight"
	stored := open("fp8-blocks")
	instead := map[string]string{
		down:                "model.layers.1.mlp_block.down_proj.weight",
		down + "_scale_inv": "model.layers.1.mlp_block.down_proj.weight_scale_inv",
		norm:                "model.layers.0.channel_pre_norm.weight",
	}
	var changed []*tensor.Tensor
	for _, x := range stored.Tensors() {
		if other := instead[x.Name]; other != "" {
			y := *stored.Tensor(other)
			y.Name = x.Name
			x = &y
		}
		changed = append(changed, x)
	}
	damaged, err := tensor.NewCheckpoint(stored.Path, stored.Format, changed)
	if err != nil {
		t.Fatal(err)
	}
	damaged.Source, damaged.Root = stored.Source, stored.Root
	for _, test := range []struct {
		copy      *tensor.Checkpoint
		quantized []string // findings of the section
		weights   []string
	}{
		{stored, nil, nil},
		{damaged, []string{down}, []string{norm}},
	} {
		v, err := Verify(t.Context(), open("base"), test.copy, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if v.Same || v.Quantized == nil || v.Quantized.OK || len(v.Quantized.Tensors) != 13 || len(v.Quantized.Kept) != 23 || !v.Structure.OK || !v.Config.OK || v.Runtime != nil {
			t.Errorf("verdict %+v, quantised %+v", v, v.Quantized)
		}
		if v.Weights.OK != (test.weights == nil) || v.Weights.Tensors != len(v.Quantized.Kept) || strings.Contains(v.Weights.Summary, "could not be compared") {
			t.Errorf("weights: %s", v.Weights.Summary)
		}
		for _, s := range []struct {
			findings []Finding
			want     []string
		}{{v.Quantized.Findings.All(), test.quantized}, {v.Weights.Findings.All(), test.weights}} {
			if len(s.findings) != len(s.want) {
				t.Fatalf("findings %v, want %v", s.findings, s.want)
			}
			for i := range s.want {
				if s.findings[i].Tensor != s.want[i] || strings.Contains(s.findings[i].String(), "%!") {
					t.Errorf("finding %s, want %s", &s.findings[i], s.want[i])
				}
			}
		}
		for _, x := range v.Quantized.Tensors {
			if bad := x.Name == down && test.quantized != nil; (x.Ratio > 10) != bad || x.Ratio < 1 {
				t.Errorf("%s: ratio %v", x.Name, x.Ratio)
			}
		}
	}
}
