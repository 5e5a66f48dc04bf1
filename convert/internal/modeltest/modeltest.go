// Package modeltest has models for the tests of package convert.
package modeltest

import (
	"slices"
	"strconv"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// Tiny is the configuration of testdata/tiny-griffin, which is of no preset.
var Tiny = model.Config{VocabSize: 128, Width: 32, MLPExpandedWidth: 96, NumHeads: 4, LRUWidth: 48, ConvWidth: 4,
	BlockTypes:      []model.BlockType{model.Recurrent, model.Recurrent, model.Attention, model.Recurrent, model.Recurrent},
	AttentionWindow: 8, LogitsSoftCap: 30, EmbeddingScale: true}

// TinySettings are the settings of Tiny.
var TinySettings = model.SettingsOf(&Tiny)

// Specs returns the tensors of a Griffin model in a layout, with their names from the model's root on.
func Specs(c *model.Config, l model.Layout) []tensor.Spec {
	specs := huggingFace(c)
	if l == model.HuggingFace {
		return specs
	}
	var tensors []*tensor.Tensor
	for _, s := range specs {
		tensors = append(tensors, &tensor.Tensor{Name: s.Name, DType: s.DType, Shape: s.Shape})
	}
	checkpoint, err := tensor.NewCheckpoint("", "", tensors)
	if err != nil {
		panic(err)
	}
	m, err := model.Recognize(checkpoint, model.Options{})
	if err == nil {
		err = m.Problems()
	}
	if err != nil {
		panic(err)
	}
	var out []tensor.Spec
	for transfer := range m.Transfers(l) {
		if !slices.ContainsFunc(out, func(s tensor.Spec) bool { return s.Name == transfer.Name }) {
			out = append(out, tensor.Spec{Name: transfer.Name, DType: tensor.F32, Shape: transfer.Shape})
		}
	}
	return out
}

// huggingFace returns the tensors in the layout that the rules state directly.
func huggingFace(c *model.Config) []tensor.Spec {
	f := model.Griffin
	sizes := f.Sizes(c)
	spec := func(prefix string, r *model.Rule) tensor.Spec {
		var shape []int64
		for _, axis := range []byte(r.Axes) {
			n := sizes[axis]
			if axis >= '0' && axis <= '9' {
				n = int64(axis - '0')
			}
			shape = append(shape, n)
		}
		return tensor.Spec{Name: prefix + r.At[model.HuggingFace].Tail, DType: tensor.F32, Shape: shape}
	}
	var before, after, blocks []tensor.Spec
	for i := range f.Rules {
		switch r := &f.Rules[i]; {
		case r.Scope != model.Once:
		case len(before) == 0:
			before = append(before, spec("", r))
		default:
			after = append(after, spec("", r))
		}
	}
	for b, kind := range c.BlockTypes {
		for i := range f.Rules {
			if r := &f.Rules[i]; (r.Scope == model.EveryBlock || r.Scope == model.EachBlock(kind)) && (r.If == nil || r.If(c)) {
				blocks = append(blocks, spec(f.Blocks[model.HuggingFace]+strconv.Itoa(b)+".", r))
			}
		}
	}
	return slices.Concat(before, blocks, after)
}

// Tensors returns the tensors of a Griffin model under a prefix, without data.
func Tensors(c *model.Config, l model.Layout, prefix string) []*tensor.Tensor {
	var out []*tensor.Tensor
	for _, s := range Specs(c, l) {
		out = append(out, &tensor.Tensor{Name: prefix + s.Name, DType: s.DType, Shape: s.Shape})
	}
	return out
}

// Checkpoint returns a checkpoint of tensors, at the path model.ckpt.
func Checkpoint(t testing.TB, tensors ...*tensor.Tensor) *tensor.Checkpoint {
	t.Helper()
	c, err := tensor.NewCheckpoint("model.ckpt", "test", tensors)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Tensor returns a float32 tensor without data.
func Tensor(name string, shape ...int64) *tensor.Tensor {
	return &tensor.Tensor{Name: name, DType: tensor.F32, Shape: shape}
}

// SetData gives a tensor elements in memory. It returns the tensor.
func SetData(t *tensor.Tensor, data []byte) *tensor.Tensor {
	t.Data = tensortest.Stored(t.Name, t.DType, t.Shape, data).Data
	return t
}

// Replace replaces the tensor of a name in a list, or removes it if with is nil.
func Replace(tensors []*tensor.Tensor, name string, with *tensor.Tensor) []*tensor.Tensor {
	i := slices.IndexFunc(tensors, func(t *tensor.Tensor) bool { return t.Name == name })
	if i < 0 {
		panic("no tensor " + name)
	}
	if with == nil {
		return slices.Delete(slices.Clone(tensors), i, i+1)
	}
	out := slices.Clone(tensors)
	out[i] = with
	return out
}
