package model

import (
	"bytes"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// modelTensors returns the tensors of a model, without data.
func modelTensors(c *Config, l Layout, prefix string) []*tensor.Tensor {
	var out []*tensor.Tensor
	seen := map[string]bool{}
	for _, p := range Griffin.parameters(c) {
		if name := prefix + Griffin.nameOf(p, l); !seen[name] {
			seen[name] = true
			out = append(out, &tensor.Tensor{Name: name, DType: tensor.F32, Shape: sizesOf(c).shapeIn(p.rule, l)})
		}
	}
	return out
}

func checkpoint(t testing.TB, tensors ...*tensor.Tensor) *tensor.Checkpoint {
	t.Helper()
	c, err := tensor.NewCheckpoint("model.ckpt", "test", tensors)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func named(name string, shape ...int64) *tensor.Tensor {
	return &tensor.Tensor{Name: name, DType: tensor.F32, Shape: shape}
}

// withData gives a tensor elements in memory.
func withData(t *tensor.Tensor, data []byte) *tensor.Tensor {
	n := t.Elements()
	t.Data = &tensor.Strided{Store: bytes.NewReader(data), Length: n, DType: t.DType, View: tensor.RowMajor(t.Shape...)}
	return t
}

func sizesOf(c *Config) *Sizes {
	s := Griffin.Sizes(c)
	return &s
}

func readAll(t *testing.T, x *tensor.Tensor) []byte {
	t.Helper()
	data := make([]byte, x.Bytes())
	if _, err := x.ReadAt(data, 0); err != nil {
		t.Fatal(err)
	}
	return data
}

func ptr[T any](v T) *T { return &v }

// tinySettings are the settings of the tiny model, which is of no preset.
var tinySettings = Settings{AttentionWindow: ptr(int64(8)), LogitsSoftCap: ptr(30.0), EmbeddingScale: ptr(true)}

// patternString prints blocks as "R R A".
func patternString(blocks []BlockType) string {
	letters := make([]string, len(blocks))
	for i, b := range blocks {
		letters[i] = "R"
		if b == Attention {
			letters[i] = "A"
		}
	}
	return strings.Join(letters, " ")
}
