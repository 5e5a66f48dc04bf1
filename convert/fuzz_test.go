package convert

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// FuzzRecognize takes lines of a name and a shape as a checkpoint. The result is a plan, a
// *tensor.FormatError or an *OptionError.
func FuzzRecognize(f *testing.F) {
	for _, l := range []model.Layout{model.Flax, model.Torch, model.HuggingFace} {
		c := tinyConfig
		c.BlockTypes = []model.BlockType{model.Recurrent, model.Attention}
		var lines []string
		for _, n := range written(&c, l) {
			line := n.Name
			for _, s := range n.Shape {
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
		m, err := model.Recognize(c, model.Options{})
		if err != nil {
			if !errors.As(err, &bad) {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(m.Tensors)+len(m.Rest) != len(tensors) {
			t.Fatalf("%d and %d of %d tensors", len(m.Tensors), len(m.Rest), len(tensors))
		}
		for _, to := range modelTargets {
			checkFuzzedPlan(t, m, PlanOptions{Settings: tinySettings, To: to})
		}
		checkFuzzedPlan(t, m, PlanOptions{To: ToTorch, DType: tensor.BF16})
		none := model.Settings{AttentionWindow: ptr(int64(8)), LogitsSoftCap: ptr(0.0), EmbeddingScale: ptr(false)}
		checkFuzzedPlan(t, m, PlanOptions{Settings: none, DType: tensor.F16, AllowInexact: true, MatchRuntime: Transformers5})
	})
}

// checkFuzzedPlan checks that a plan fills each element once.
func checkFuzzedPlan(t *testing.T, m *model.Model, o PlanOptions) {
	p, err := NewPlan(m, o)
	if err != nil {
		var bad *tensor.FormatError
		if !errors.As(err, &bad) {
			t.Fatalf("%v", err)
		}
		_ = err.Error()
		return
	}
	filled := make([]int64, len(p.Dests))
	for _, move := range p.Moves {
		if err := tensor.CheckView(move.View, move.Source.Elements()); err != nil {
			t.Fatalf("%+v: %v", move, err)
		}
		filled[move.Dest] += move.View.Elements()
	}
	for i, d := range p.Dests {
		if filled[i] != (&tensor.Tensor{Shape: d.Shape}).Elements() {
			t.Fatalf("%d elements of %+v are filled", filled[i], d)
		}
	}
	if o.To == ToHF {
		if err := (&conversion{plan: p}).planFiles(); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzProvenance takes any text as the conversion.json of a source, and does everything with it that
// needs no weights. The only error is a *tensor.FormatError.
func FuzzProvenance(f *testing.F) {
	small := tinyConfig
	small.BlockTypes = []model.BlockType{model.Attention}
	m := open(f, model.Options{}, modelTensors(&small, model.HuggingFace, "model.")...)
	p, err := NewPlan(m, PlanOptions{Settings: tinySettings, To: ToTorch})
	if err != nil {
		f.Fatal(err)
	}
	digests := moves.NewDigests(p.List)
	for _, s := range p.Sources() {
		digests.SetSource(s, digest.Of(digest.BLAKE3|digest.SHA256, nil))
	}
	whole, err := contentOf(newRecorder(p.outline(), "v1", "torch-zip", digests, digests, digest.Default, nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(whole))
	f.Add(`{"griffin": "v1", "origin": {"layout": "torch"}, "tensors": [{"name": "model.final_norm.weight", "dtype": "float32", "shape": [32], "sha256": "x",
		"origin": [{"name": "a", "dtype": "float32", "shape": [32], "sha256": "é"}, {"name": "a", "rounded": true}], "divided_by": 1e308}]}`)
	f.Add(`{"griffin": "", "tensors": null}`)
	f.Fuzz(func(t *testing.T, text string) {
		record, err := manifest.Parse([]byte(text))
		if err != nil || record == nil {
			if bad := (*tensor.FormatError)(nil); err != nil && !errors.As(err, &bad) {
				t.Fatal(err)
			}
			return
		}
		v, _, err := newProvenance(p.outline(), record, "conversion.json")
		if v != nil {
			for i := range p.Dests {
				digests.SetDest(i, digest.Of(digest.BLAKE3|digest.SHA256, nil))
			}
			err = v.check(p.outline(), digests, digests)
			if _, err := contentOf(newRecorder(p.outline(), "v1", "torch-zip", digests, digests, digest.Default, v)); err != nil {
				t.Fatal(err)
			}
		}
		if bad := (*tensor.FormatError)(nil); err != nil && !errors.As(err, &bad) {
			t.Fatal(err)
		}
	})
}
