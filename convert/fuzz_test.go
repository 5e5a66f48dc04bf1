package convert

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// FuzzRecognize reads lines of a name and a shape as a checkpoint. Whatever they are, the answer is
// a plan or an error of a kind that says whose fault it is.
func FuzzRecognize(f *testing.F) {
	for _, l := range []Layout{Flax, Torch, HuggingFace} {
		c := tinyConfig
		c.BlockTypes = []BlockType{Recurrent, Attention}
		var lines []string
		for _, n := range described(&c, l) {
			line := n.name
			for _, s := range n.shape {
				line += " " + strconv.FormatInt(s, 10)
			}
			lines = append(lines, line)
		}
		f.Add(strings.Join(lines, "\n"))
	}
	f.Add("params.blocks.0.mlp_block.ffw_up.w 2 3 4\nopt_state.0.mu.blocks.0.mlp_block.ffw_up.w 2 3 4\nstep")
	f.Add("blocks.0.attention_block.proj_k.kernel 4 0\nblocks.9.temporal_pre_norm.scale 9223372036854775807")
	f.Fuzz(func(t *testing.T, text string) {
		var tensors []*tensor.Tensor
		for line := range strings.SplitSeq(text, "\n") {
			name, rest, _ := strings.Cut(line, " ")
			x := &tensor.Tensor{Name: name, DType: tensor.F32}
			for _, s := range strings.Fields(rest) {
				size, err := strconv.ParseInt(s, 10, 64)
				if err != nil {
					return
				}
				x.Shape = append(x.Shape, size)
			}
			if _, _, err := tensor.SizeOf(x.DType, x.Shape); err != nil {
				return // no reader gives such a tensor
			}
			tensors = append(tensors, x)
		}
		c, err := tensor.NewCheckpoint("x", "test", tensors)
		if err != nil {
			return
		}
		var bad *tensor.FormatError
		m, err := Recognize(c)
		if err != nil {
			if !errors.As(err, &bad) {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(m.Tensors)+len(m.Rest) != len(tensors) {
			t.Fatalf("%d and %d of %d tensors", len(m.Tensors), len(m.Rest), len(tensors))
		}
		p, err := NewPlan(m, PlanOptions{Settings: tinySettings})
		if err != nil {
			if !errors.As(err, &bad) {
				t.Fatalf("%v", err)
			}
			_ = err.Error()
			return
		}
		for i, d := range p.Dests {
			v := p.Moves[i].View
			if v.Elements() != (&tensor.Tensor{Shape: d.Shape}).Elements() || tensor.CheckView(v, p.Moves[i].Source.Elements()) != nil {
				t.Fatalf("%+v is moved as %+v", d, p.Moves[i])
			}
		}
		if _, err := HFFiles(p, FilesOptions{}); err != nil {
			t.Fatal(err)
		}
	})
}
