package model

import (
	"errors"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// FuzzOpenWithAdapter applies random changes to a model. A merged tensor can be read to its end, unless a *tensor.FormatError
// refuses the change.
func FuzzOpenWithAdapter(f *testing.F) {
	f.Add("model.layers.0.temporal_block.linear_x.weight", int64(2), int64(32), int64(48), 2.0, false, uint8(0))
	f.Add("model.embed_tokens.weight", int64(3), int64(32), int64(128), 1e300, true, uint8(1))
	f.Add("lm_head.weight", int64(1), int64(32), int64(131), -1.0, false, uint8(2))
	f.Add("layers.0.mlp_block.up_proj.bias", int64(1), int64(96), int64(96), 0.0, false, uint8(7))
	const longest, highest = 136, 8 // length of an axis, and rank
	data := make([]byte, longest*longest*tensor.F32.Size())
	zeros := func(name string, shape ...int64) *tensor.Tensor {
		x := named(name, shape...)
		return withData(x, data[:x.Bytes()])
	}
	c := tinyConfig
	c.BlockTypes = []BlockType{Recurrent, Attention}
	bases := map[Layout]*tensor.Checkpoint{}
	for _, l := range []Layout{Flax, Torch, HuggingFace} {
		var tensors []*tensor.Tensor
		for _, x := range modelTensors(&c, l, "") {
			tensors = append(tensors, zeros(x.Name, x.Shape...))
		}
		bases[l] = checkpoint(f, tensors...)
	}
	f.Fuzz(func(t *testing.T, name string, rank, width, height int64, scale float64, transposed bool, kind uint8) {
		if min(rank, width, height) < 0 || rank > highest || max(width, height) > longest {
			return
		}
		zeros := func(shape ...int64) *tensor.Tensor { return zeros("x", shape...) }
		change := peft.Change{Parameter: name, Scale: scale}
		if kind&1 == 0 {
			change.Left, change.Right = &peft.Factor{Tensor: zeros(height, rank)}, &peft.Factor{Tensor: zeros(rank, width)}
			if transposed {
				change.Left, change.Right = &peft.Factor{Tensor: zeros(rank, height), Transposed: true}, &peft.Factor{Tensor: zeros(width, rank), Transposed: true}
			}
		} else {
			change.Right = &peft.Factor{Tensor: zeros(width)}
		}
		if kind&2 != 0 {
			change.Value = zeros(height, width)
		}
		if kind&4 != 0 {
			change.Magnitude = zeros(height)
		}
		if kind&8 != 0 {
			change.Left, change.Right, change.Rows, change.Indices = nil, nil, zeros(1, width), []int64{height}
		}
		base := bases[Flax+Layout(kind%3)]
		var bad *tensor.FormatError
		a := &peft.Adapter{Config: &peft.Config{}, Changes: func() []peft.Change { return []peft.Change{change} }}
		merged, err := Open(t.Context(), base, Options{Adapter: a})
		if err != nil {
			if !errors.As(err, &bad) {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, x := range merged.Tensors {
			if base.Tensor(x.Name) == x {
				continue
			}
			if _, err := tensor.Digest(t.Context(), x, digest.Default); err != nil && !errors.As(err, &bad) {
				t.Fatalf("%v", err)
			}
		}
	})
}
