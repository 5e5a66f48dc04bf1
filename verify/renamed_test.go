package verify

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Layers that were removed or added, and tensors that have other names, are said in one line each, and the weights are compared under the
// names that they have.
func TestTextOfRenamedTensors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		do     func(m *made)
		says   []string
		not    string
		proven bool // of the weights
	}{
		{"removed", func(m *made) { m.renumber(1, func(block int) []int { return []int{block - 1} }) },
			[]string{"layers 0-3 of the conversion are layers 1-4 of the source; the conversion lacks layer 0 of the source", "identical to the source, bit for bit; 76 tensors under another name; 21 more tensors could not be compared"}, "structure: ", false},
		{"added", func(m *made) {
			m.renumber(0, func(block int) []int { return [][]int{{0}, {1}, {2, 3}, {4}, {5}}[block] })
		}, []string{"layers 0-1,3-5 of the conversion are layers 0-4 of the source; the source lacks layer 2 of the conversion|layers 0-2,4-5 of the conversion are layers 0-4 of the source; the source lacks layer 3 of the conversion"}, "structure: ", true},
		{"an element of a moved layer", func(m *made) {
			m.renumber(1, func(block int) []int { return []int{block - 1} })
			flip(3, 2)(m.get(in(0, "mlp_block.down_proj.bias")))
		}, []string{"layers 0-3 of the conversion are layers 1-4", "model.layers.0.mlp_block.down_proj.bias (blocks.1.mlp_block.ffw_down.bias): 1 of 32 elements differ"}, "structure: ", false},
		{"a tensor of every layer", func(m *made) { renamed("gate_proj", "gate")(m) },
			[]string{"structure: 10 failures\n  all layers (5) of model.layers: mlp_block.gate_proj.weight: 5 tensors, renamed to mlp_block.gate.weight\n"}, "missing", true},
		{"the list of layers", func(m *made) { renamed("model.layers.", "model.blocks.")(m) },
			[]string{"structure: 97 failures", "tensors, model.layers renamed to model.blocks"}, "missing", true},
		{"one that is wrong too", func(m *made) {
			m.get(finalNorm).name = "model.last_norm.weight"
			flip(3, 2)(m.get("model.last_norm.weight"))
		}, []string{"model.final_norm.weight (final_norm.scale): missing", "model.last_norm.weight: not a tensor of the model"}, "renamed", false},
	} {
		m := baseOf(t, "bfloat16, torch").made.clone()
		tt.do(m)
		v, err := m.judge(t)
		if err != nil || v.Same || v.Weights.OK != tt.proven {
			t.Fatalf("%s: %v, %+v", tt.name, err, v)
		}
		var b strings.Builder
		if err := WriteText(&b, v, "--all"); err != nil {
			t.Fatal(err)
		}
		for _, say := range tt.says {
			said := false
			for _, one := range strings.Split(say, "|") {
				said = said || strings.Contains(b.String(), one)
			}
			if !said || strings.Contains(b.String(), "\n"+tt.not) || strings.Count(b.String(), "\n") > 30 {
				t.Errorf("%s: %s\nshould say %q", tt.name, b.String(), say)
			}
		}
	}
}

// Among very many tensors, renamed ones are not looked for.
func TestVeryManyRenamed(t *testing.T) {
	for _, n := range []int{10, maxCompared} {
		source := &tensor.Tensor{Name: "a", DType: tensor.F32, Shape: []int64{2}, Data: memory{1, 2, 3, 4, 5, 6, 7, 8}}
		renamed := *source
		renamed.Name = "b"
		tensors := []*tensor.Tensor{&renamed}
		for i := range n {
			tensors = append(tensors, shaped(fmt.Sprint("w", i), tensor.BF16, 3))
		}
		many, err := tensor.NewCheckpoint("", "test", tensors)
		if err != nil {
			t.Fatal(err)
		}
		p := &convert.Plan{}
		p.Dests = []moves.Dest{{Name: "a", DType: tensor.F32, Shape: []int64{2}}}
		p.Moves = []moves.Move{{Source: source, View: tensor.RowMajor(2)}}
		r, err := findRenamed(t.Context(), p, many, nil, nil)
		if err != nil || (r != nil) != (n == 10) || r != nil && r.name("a") != "b" {
			t.Errorf("%d tensors: %+v, %v", n, r, err)
		}
	}
}

// memory is Data in memory.
type memory []byte

func (m memory) Stream(off int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m[off:])), nil
}
