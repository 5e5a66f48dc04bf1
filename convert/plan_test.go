package convert

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func plan(t *testing.T, s model.Settings, d tensor.DType, tensors ...*tensor.Tensor) (*Plan, error) {
	t.Helper()
	m, err := model.Recognize(checkpoint(t, tensors...), model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return NewPlan(m, PlanOptions{Settings: s, DType: d})
}

func TestPlanListsTransformersTensors(t *testing.T) {
	for _, l := range []model.Layout{model.Flax, model.Torch} {
		p, err := plan(t, tinySettings, tensor.BF16, modelTensors(&tinyConfig, l, "params.")...)
		if err != nil {
			t.Fatal(err)
		}
		want := written(&tinyConfig, model.HuggingFace)
		if len(p.Dests) != len(want) || len(p.Moves) != len(want) {
			t.Fatalf("%s: %d tensors and %d moves, want %d", l, len(p.Dests), len(p.Moves), len(want))
		}
		for i, d := range p.Dests {
			if d.Name != want[i].Name || !slices.Equal(d.Shape, want[i].Shape) || d.DType != tensor.BF16 {
				t.Errorf("%s: tensor %d is %+v, want %+v", l, i, d, want[i])
			}
			v := p.Moves[i].View
			if p.Moves[i].Dest != i || p.Moves[i].Offset != 0 || !slices.Equal(v.Shape, d.Shape) {
				t.Errorf("%s: %s is moved as %+v", l, d.Name, p.Moves[i])
			}
			if err := tensor.CheckView(v, p.Moves[i].Source.Elements()); err != nil {
				t.Errorf("%s: %s: %v", l, d.Name, err)
			}
		}
		if p.Config.AttentionWindow != 8 || p.Config.LogitsSoftCap != 30 || !p.Config.EmbeddingScale || p.DType != tensor.BF16 || p.Keep || len(p.Notes) != 0 {
			t.Errorf("%s: %+v", l, p)
		}
	}
}

// TestPlanOfBlocksOutOfOrder: blocks.10 comes after blocks.2.
func TestPlanOfBlocksOutOfOrder(t *testing.T) {
	c := tinyConfig
	c.BlockTypes = model.Repeat(13, model.Recurrent, model.Recurrent, model.Attention)
	tensors := modelTensors(&c, model.Torch, "")
	slices.SortFunc(tensors, func(a, b *tensor.Tensor) int { return strings.Compare(a.Name, b.Name) })
	p, err := plan(t, tinySettings, tensor.Invalid, tensors...)
	if err != nil {
		t.Fatal(err)
	}
	want := written(&c, model.HuggingFace)
	for i, d := range p.Dests {
		if d.Name != want[i].Name {
			t.Fatalf("tensor %d is %s, want %s", i, d.Name, want[i].Name)
		}
	}
}

func TestPlanErrors(t *testing.T) {
	whole := func(l model.Layout, prefix string) []*tensor.Tensor { return modelTensors(&tinyConfig, l, prefix) }
	retyped := func(name string, d tensor.DType, ts []*tensor.Tensor) []*tensor.Tensor {
		for _, x := range ts {
			if x.Name == name {
				x.DType = d
			}
		}
		return ts
	}
	turned := whole(model.Torch, "")
	for _, x := range turned {
		if strings.HasSuffix(x.Name, ".weight") {
			slices.Reverse(x.Shape)
		}
	}
	heads := whole(model.Flax, "")
	for _, x := range heads {
		if strings.Contains(x.Name, "proj_k") || strings.Contains(x.Name, "proj_v") {
			x.Shape[1] = 16
		}
	}
	for _, tt := range []struct {
		name    string
		tensors []*tensor.Tensor
		want    []string
	}{
		{"embedding missing", replace(whole(model.Flax, "params."), "params.embedder.input_embedding", nil),
			[]string{"not a complete Griffin model: 1 missing", "  missing     params.embedder.input_embedding"}},
		{"half of everything", replace(replace(replace(whole(model.Flax, ""), "blocks.2.attention_block.proj_k.kernel", nil), "blocks.0.mlp_block.ffw_up.w", nil), "final_norm.scale", named("final_norm.scale", 33)),
			[]string{": 2 missing, 1 misshapen\n", "missing     blocks.2.attention_block.proj_k.kernel: [32, 8]", "missing     blocks.0.mlp_block.ffw_up.w: [2, 32, 96]", "misshapen   final_norm.scale: [33], not [32]"}},
		{"a block missing", slices.DeleteFunc(whole(model.Torch, ""), func(x *tensor.Tensor) bool { return strings.HasPrefix(x.Name, "blocks.1.") }),
			[]string{": 1 missing", "missing     blocks.1: the whole block"}},
		{"unexpected", append(whole(model.Flax, "params."), named("params.adapter.kernel", 3, 3)), []string{"unexpected  params.adapter.kernel: not a parameter of the family"}},
		{"unexpected at the top", append(whole(model.Torch, ""), named("value_head.weight", 1, 32)), []string{"unexpected  value_head.weight: not a parameter of the family"}},
		{"unexpected in a block", append(whole(model.Torch, ""), named("blocks.0.mlp_block.ffw_up.scale", 3)), []string{"unexpected  blocks.0.mlp_block.ffw_up.scale"}},
		{"other layout", replace(whole(model.Flax, ""), "blocks.0.mlp_block.ffw_down.kernel", named("blocks.0.mlp_block.ffw_down.weight", 32, 96)),
			[]string{"missing     blocks.0.mlp_block.ffw_down.kernel: [96, 32]", "unexpected  blocks.0.mlp_block.ffw_down.weight: a name of the torch layout in a model of the flax layout"}},
		{"transposed", turned, []string{"misshapen   blocks.0.mlp_block.ffw_down.weight: [96, 32], not [32, 96]; it looks transposed (a torch weight is [out, in], a Flax kernel [in, out])",
			"misshapen   blocks.2.attention_block.proj_k.weight: [32, 8], not [8, 32]; it looks transposed"}},
		{"rank", replace(whole(model.Flax, ""), "blocks.0.mlp_block.ffw_up.b", named("blocks.0.mlp_block.ffw_up.b", 192)), []string{"misshapen   blocks.0.mlp_block.ffw_up.b: [192], not [2, 1, 1, 96]"}},
		{"heads", heads, []string{"keys of 16 channels make 2 heads of a width of 32, but the RG-LRU gates have 4", "misshapen   blocks.2.attention_block.proj_k.kernel: [32, 16], not [32, 8]"}},
		{"mistyped", retyped("final_norm.scale", tensor.I32, whole(model.Flax, "")), []string{"mistyped    final_norm.scale: int32; weights are"}},
		{"float8", retyped("final_norm.scale", tensor.F8E4M3, whole(model.Flax, "")), []string{"mistyped    final_norm.scale: float8_e4m3fn; weights are"}},
		{"twice", append(whole(model.Torch, ""), named("blocks.0._orig_mod.temporal_pre_norm.scale", 32)), []string{"unexpected  blocks.0._orig_mod.temporal_pre_norm.scale: a second blocks.0.temporal_pre_norm.scale"}},
		{"head of its own", append(whole(model.Torch, ""), named("lm_head.weight", 130, 32)), []string{"misshapen   lm_head.weight: [130, 32], which is not an output head for an embedding of [128, 32]"}},
		{"gates", replace(whole(model.Flax, ""), "blocks.0.recurrent_block.rg_lru.a_gate.w", named("blocks.0.recurrent_block.rg_lru.a_gate.w", 12, 4, 4)),
			[]string{"misshapen   blocks.0.recurrent_block.rg_lru.a_gate.w: [12, 4, 4], not [4, 12, 12]"}},
	} {
		_, err := plan(t, tinySettings, tensor.Invalid, tt.tensors...)
		var bad *model.MismatchError
		var format *tensor.FormatError
		if !errors.As(err, &bad) || !errors.As(err, &format) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: no %q in\n%v", tt.name, want, err)
			}
		}
		if lines := strings.Count(err.Error(), "\n"); lines != len(bad.Missing)+len(bad.Unexpected)+len(bad.Misshapen)+len(bad.Mistyped) {
			t.Errorf("%s: %d lines\n%v", tt.name, lines, err)
		}
	}
}

func TestSettings(t *testing.T) {
	two := model.Griffin.Preset("2b").Config
	two.VocabSize = 10
	hawk := tinyConfig
	hawk.BlockTypes = model.Repeat(4, model.Recurrent)
	odd := tinyConfig
	odd.Width, odd.NumHeads, odd.LRUWidth = 24, 4, 48
	all := func(w int64, cap float64, scale bool) model.Settings {
		return model.Settings{AttentionWindow: &w, LogitsSoftCap: &cap, EmbeddingScale: &scale}
	}
	type result struct {
		window int64
		cap    float64
		scale  bool
		preset string
	}
	for _, tt := range []struct {
		name   string
		config model.Config
		s      model.Settings
		want   result
		usage  string // of a SettingsError
		format string // of a FormatError
	}{
		{"preset by shape", two, model.Settings{}, result{2048, 30, true, "2b"}, "", ""},
		{"preset by name", two, model.Settings{Preset: "2b"}, result{2048, 30, true, "2b"}, "", ""},
		{"flags win", two, model.Settings{AttentionWindow: ptr(int64(5)), LogitsSoftCap: ptr(2.5)}, result{5, 2.5, true, "2b"}, "", ""},
		{"flags only", tinyConfig, tinySettings, result{8, 30, true, ""}, "", ""},
		{"no window without attention", hawk, model.Settings{LogitsSoftCap: ptr(30.0), EmbeddingScale: ptr(true)}, result{2048, 30, true, ""}, "", ""},
		{"but one that is given is written", hawk, tinySettings, result{8, 30, true, ""}, "", ""},
		{"nothing known", tinyConfig, model.Settings{}, result{}, "unknown: attention window, logits soft cap, embedding scale", ""},
		{"one missing", tinyConfig, model.Settings{AttentionWindow: ptr(int64(8)), EmbeddingScale: ptr(true)}, result{}, "settings; unknown: logits soft cap", ""},
		{"no window needed", hawk, model.Settings{}, result{}, "settings; unknown: logits soft cap, embedding scale", ""},
		{"unknown preset", tinyConfig, model.Settings{Preset: "7b"}, result{}, `no preset "7b"`, ""},
		{"wrong preset", tinyConfig, model.Settings{Preset: "2b"}, result{}, " is not of preset 2b: width 32, not 2560; ", ""},
		{"window", tinyConfig, all(0, 30, true), result{}, "attention window 0", ""},
		{"cap", tinyConfig, all(8, -1, true), result{}, "logits soft cap -1", ""},
		{"cap NaN", tinyConfig, all(8, math.NaN(), true), result{}, "logits soft cap NaN", ""},
		{"cap Inf", tinyConfig, all(8, math.Inf(1), true), result{}, "logits soft cap +Inf", ""},
		{"no cap", tinyConfig, all(8, 0, true), result{8, 0, true, ""}, "", ""},
		{"no scale", tinyConfig, all(8, 30, false), result{}, "", "no exact Hugging Face form: transformers always scales embeddings by sqrt(width) in bfloat16, here 5.65625, and"},
		{"heads that cannot be rotated", odd, tinySettings, result{}, "", "each head of 6 channels"},
	} {
		p, err := plan(t, tt.s, tensor.Invalid, modelTensors(&tt.config, model.Torch, "")...)
		var usage *OptionError
		var format *tensor.FormatError
		switch {
		case tt.usage != "":
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.usage) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.usage)
			}
		case tt.format != "":
			if !errors.As(err, &format) || !strings.Contains(err.Error(), tt.format) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.format)
			}
		case err != nil:
			t.Errorf("%s: %v", tt.name, err)
		default:
			got := result{p.Config.AttentionWindow, p.Config.LogitsSoftCap, p.Config.EmbeddingScale, p.Preset}
			if got != tt.want {
				t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
			}
		}
	}
}

func TestDTypes(t *testing.T) {
	tensors := modelTensors(&tinyConfig, model.Flax, "")
	for _, x := range tensors {
		x.DType = tensor.BF16
		if strings.HasSuffix(x.Name, ".scale") {
			x.DType = tensor.F32
		}
	}
	p, err := plan(t, tinySettings, tensor.Invalid, tensors...)
	if err != nil {
		t.Fatal(err)
	}
	if p.DType != tensor.BF16 || !p.Keep || len(p.Notes) != 1 || !strings.Contains(p.Notes[0].Text, "(bfloat16, float32)") {
		t.Errorf("%s, notes %q", p.DType, p.Notes)
	}
	for i, d := range p.Dests {
		if d.DType != p.Moves[i].Source.DType {
			t.Errorf("%s is %s, and the source %s", d.Name, d.DType, p.Moves[i].Source.DType)
		}
	}
	if p, err = plan(t, tinySettings, tensor.F16, tensors...); err != nil || p.DType != tensor.F16 || len(p.Notes) != 0 {
		t.Errorf("%v, %v", p, err)
	}
	var usage *OptionError
	if _, err = plan(t, tinySettings, tensor.I8, tensors...); !errors.As(err, &usage) {
		t.Errorf("int8: %v", err)
	}
}

func TestCopies(t *testing.T) {
	const rows, width = 700, 2000 // more than a chunk
	rng := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, 4*rows*width)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	other := slices.Clone(data)
	other[4*1_000_000+2] ^= 1
	c := tinyConfig
	c.VocabSize, c.Width = rows, width
	head := func() *tensor.Tensor { return named("lm_head.weight", rows, width) }
	embedding := withData(named("embedder.input_embedding", rows, width), data)
	shared := head()
	shared.Data = embedding.Data
	elsewhere := head() // another part of the same storage
	both := slices.Concat(data, other)
	elsewhere.Data = &tensor.Strided{Store: bytes.NewReader(both), Base: int64(len(data)), Length: rows * width, DType: tensor.F32, View: tensor.RowMajor(rows, width)}
	inBoth := withData(named("embedder.input_embedding", rows, width), both)
	inBoth.Data.(*tensor.Strided).Store = elsewhere.Data.(*tensor.Strided).Store
	for _, tt := range []struct {
		name      string
		embedding *tensor.Tensor
		head      *tensor.Tensor
		want      string
	}{
		{"equal", embedding, withData(head(), slices.Clone(data)), ""},
		{"shared", embedding, shared, ""},
		{"same file", inBoth, elsewhere, `model.ckpt: tensor "lm_head.weight": differs from embedder.input_embedding from element 1000000 on`},
		{"different", embedding, withData(head(), other), `model.ckpt: tensor "lm_head.weight": differs from embedder.input_embedding from element 1000000 on`},
	} {
		tensors := append(replace(modelTensors(&c, model.Torch, ""), embedding.Name, tt.embedding), tt.head)
		p, err := plan(t, tinySettings, tensor.Invalid, tensors...)
		if err != nil {
			t.Fatal(err)
		}
		err = p.CheckCopies(context.Background())
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if len(p.Dests) != len(written(&c, model.HuggingFace)) {
			t.Errorf("%s: %d tensors", tt.name, len(p.Dests))
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if tt.name == "equal" && !errors.Is(p.CheckCopies(ctx), context.Canceled) {
			t.Errorf("%s: not cancelled", tt.name)
		}
	}
}
