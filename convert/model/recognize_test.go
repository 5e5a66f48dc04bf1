package model

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func TestRecognizeUnderWrappers(t *testing.T) {
	for _, tt := range []struct {
		layout Layout
		prefix string
	}{
		{Flax, ""}, {Flax, "params."}, {Flax, "params.params."}, {Flax, "state.params."}, {Flax, "model.params.params."},
		{Torch, ""}, {Torch, "model."}, {Torch, "state_dict."}, {Torch, "model_state_dict."}, {Torch, "module."}, {Torch, "_orig_mod."},
		{Torch, "model_state_dict.module._orig_mod."}, {Torch, "ckpt.0.model."},
		{HuggingFace, "model."}, {HuggingFace, ""}, {HuggingFace, "state_dict.model."}, {HuggingFace, "module.model."},
	} {
		m, err := Recognize(checkpoint(t, modelTensors(&tinyConfig, tt.layout, tt.prefix)...), Options{})
		if err != nil {
			t.Errorf("%s under %q: %v", tt.layout, tt.prefix, err)
			continue
		}
		want := tinyConfig
		want.AttentionWindow, want.LogitsSoftCap, want.EmbeddingScale = 0, 0, false
		if m.Layout != tt.layout || m.Prefix != tt.prefix || fmt.Sprint(m.Config) != fmt.Sprint(want) || m.Preset != "" || len(m.Rest) != 0 {
			t.Errorf("%s under %q: %s %q %+v, %d left", tt.layout, tt.prefix, m.Layout, m.Prefix, m.Config, len(m.Rest))
		}
		if m.Parameters() != Griffin.Parameters(&tinyConfig) {
			t.Errorf("%s under %q: %d parameters, want %d", tt.layout, tt.prefix, m.Parameters(), Griffin.Parameters(&tinyConfig))
		}
	}
}

func TestRecognizeWrappersWithinNames(t *testing.T) {
	tensors := modelTensors(&tinyConfig, Torch, "_orig_mod.")
	for _, x := range tensors {
		x.Name = strings.Replace(x.Name, ".mlp_block.", "._checkpoint_wrapped_module.mlp_block.", 1)
		x.Name = strings.Replace(x.Name, "blocks.2.", "blocks.2._orig_mod.", 1)
	}
	m, err := Recognize(checkpoint(t, tensors...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Problems(); err != nil {
		t.Error(err)
	}
}

func TestRecognizeBesideOptimizerState(t *testing.T) {
	for _, tt := range []struct {
		name   string
		prefix string
		mirror []string
		more   []*tensor.Tensor
	}{
		{"flax train state", "params.params.", []string{"opt_state.0.mu.params.", "opt_state.0.nu.params."}, []*tensor.Tensor{named("step"), named("opt_state.0.count")}},
		{"flat", "", []string{"opt_state.0.mu.", "ema."}, []*tensor.Tensor{named("step"), named("rng", 2), named("lr_scheduler.x", 3)}},
		{"torch", "model.", []string{"optimizer.exp_avg."}, []*tensor.Tensor{named("optimizer.state.0.exp_avg", 4), named("epoch", 1)}},
		{"moments by name", "target.", []string{"mu.", "x.nu.", "exp_avg.", "grads."}, nil},
		{"old flax optimizer", "optimizer_.target.", []string{"optimizer_.state.param_states."}, nil},
	} {
		tensors := modelTensors(&tinyConfig, Flax, tt.prefix)
		n := len(tensors)
		rest := slices.Clone(tt.more)
		for _, prefix := range tt.mirror {
			mirrored := modelTensors(&tinyConfig, Flax, prefix)
			if prefix == "ema." { // not the whole model, or it would be another
				mirrored = mirrored[:20]
			}
			rest = append(rest, mirrored...)
		}
		m, err := Recognize(checkpoint(t, append(rest, tensors...)...), Options{})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if m.Prefix != tt.prefix || len(m.Tensors) != n || len(m.Rest) != len(rest) {
			t.Errorf("%s: %d tensors under %q and %d left, want %d under %q and %d", tt.name, len(m.Tensors), m.Prefix, len(m.Rest), n, tt.prefix, len(rest))
		}
		if err := m.Problems(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestRecognizeRefuses(t *testing.T) {
	two := append(modelTensors(&tinyConfig, Flax, "params."), modelTensors(&tinyConfig, Flax, "ema_params.")...)
	for _, tt := range []struct {
		name    string
		tensors []*tensor.Tensor
		want    string
	}{
		{"two models", two, "holds 2 models: params (89 parameter tensors), ema_params (89 parameter tensors)"},
		{"top level and another", append(modelTensors(&tinyConfig, Torch, ""), modelTensors(&tinyConfig, Torch, "teacher.")...), "holds 2 models: the top level (89 parameter tensors), teacher (89 parameter tensors)"},
		{"a small one of another convention", append(modelTensors(&tinyConfig, HuggingFace, "model."), modelTensors(&tinyConfig, Torch, "")[:20]...), "holds 2 models: model (99 parameter tensors), the top level (20 parameter tensors)"},
		{"one of half the size", append(modelTensors(&tinyConfig, Torch, "")[1:], modelTensors(&tinyConfig, Torch, "teacher.")[1:45]...), "holds 2 models: the top level (88 parameter tensors), teacher (44 parameter tensors)"},
		{"five tensors", []*tensor.Tensor{named("a"), named("b"), named("c"), named("d"), named("e")}, "it holds a, b, c, d, e"},
		{"six tensors", []*tensor.Tensor{named("a"), named("b"), named("c"), named("d"), named("e"), named("f")}, "it holds a, b, c, d, …"},
		{"optimizer of a Griffin", modelTensors(&tinyConfig, Flax, "opt_state.0.mu."), "optimizer state of a Griffin model, but not its parameters"},
		{"optimizer", []*tensor.Tensor{named("state.0.exp_avg", 3)}, "looks like optimizer state only: state.0.exp_avg"},
		{"nothing", nil, "holds no tensors"},
		{"unknown", []*tensor.Tensor{named("a", 1), named("b", 1)}, "no tensor has a name of its blocks; it holds a, b"},
		{"llama", []*tensor.Tensor{named("model.embed_tokens.weight", 8, 4), named("model.layers.0.self_attn.q_proj.weight", 4, 4)}, "looks like a Gemma- or Llama-like transformer: model.embed"},
		{"gemma flax", []*tensor.Tensor{named("transformer/layer_0/attn/q_einsum.w", 8, 4, 2)}, "a Gemma model in its Flax layout"},
		{"mamba", []*tensor.Tensor{named("backbone.layers.0.mixer.A_log", 8, 4)}, "a Mamba model"},
		{"gpt2", []*tensor.Tensor{named("transformer.h.0.attn.c_attn.weight", 8, 4)}, "a GPT-2 model"},
		{"bert", []*tensor.Tensor{named("bert.encoder.layer.0.attention.self.query.weight", 8, 4)}, "a BERT-like encoder"},
		{"t5", []*tensor.Tensor{named("encoder.block.0.layer.0.SelfAttention.q.weight", 8, 4)}, "a T5 model"},
		{"rwkv", []*tensor.Tensor{named("blocks.0.att.time_decay", 8)}, "an RWKV model"},
		{"lora", []*tensor.Tensor{named("base_model.model.model.layers.0.temporal_block.q_proj.lora_A.weight", 8, 4)}, "a LoRA adapter"},
		{"vit", []*tensor.Tensor{named("blocks.0.attn.qkv.weight", 8, 4), named("patch_embed.proj.weight", 8, 4)}, "a vision transformer"},
		{"line ends", []*tensor.Tensor{named("a\nb", 1), named("c\x1b[0m", 1), named(strings.Repeat("x", 300), 1)}, `it holds "a\nb", "c\x1b[0m", xxxx`},
		{"empty axis", modelTensors(&Config{VocabSize: 0, Width: 8, MLPExpandedWidth: 8, NumHeads: 2, LRUWidth: 8, ConvWidth: 4, BlockTypes: tinyBlocks}, Flax, ""), "empty axis"},
	} {
		_, err := Recognize(checkpoint(t, tt.tensors...), Options{})
		var bad *tensor.FormatError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "model.ckpt: ") {
			t.Errorf("%s: %v; want %q", tt.name, err, tt.want)
		}
	}
}

// TestRecognizeAnyShape recognises random models of both kinds in all layouts.
func TestRecognizeAnyShape(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for round := range 300 {
		c := Config{VocabSize: 1 + rng.Int64N(300), MLPExpandedWidth: 1 + rng.Int64N(99), NumHeads: 1 + rng.Int64N(9), ConvWidth: 4, KVHeads: 1, Numerics: originalNumerics}
		c.Width = c.NumHeads * (1 + rng.Int64N(20))
		c.AttentionWidth = c.Width
		c.LRUWidth = c.NumHeads * (1 + rng.Int64N(20))
		for range 1 + rng.IntN(9) {
			c.BlockTypes = append(c.BlockTypes, []BlockType{Recurrent, Attention}[rng.IntN(2)])
		}
		if !c.Has(Recurrent) {
			c.LRUWidth = c.Width
		}
		l := Flax + Layout(rng.IntN(3))
		tensors := modelTensors(&c, l, "params.")
		rng.Shuffle(len(tensors), func(i, j int) { tensors[i], tensors[j] = tensors[j], tensors[i] })
		m, err := Recognize(checkpoint(t, tensors...), Options{})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if fmt.Sprint(m.Config) != fmt.Sprint(c) || m.Layout != l {
			t.Fatalf("round %d: %s %+v, want %s %+v", round, m.Layout, m.Config, l, c)
		}
	}
}

func TestPresetsByShape(t *testing.T) {
	for _, name := range Griffin.PresetNames() {
		c := Griffin.Preset(name).Config
		c.VocabSize = 1000 // whatever the vocabulary
		for _, l := range []Layout{Flax, Torch, HuggingFace} {
			m, err := Recognize(checkpoint(t, modelTensors(&c, l, "")...), Options{})
			if err != nil || m.Preset != name {
				t.Errorf("%s: %v, %v", name, m, err)
			}
		}
		c.LRUWidth += c.NumHeads
		if m, err := Recognize(checkpoint(t, modelTensors(&c, Flax, "")...), Options{}); err != nil || m.Preset != "" {
			t.Errorf("%s with a wider RG-LRU: %v, %v", name, m, err)
		}
	}
}

// Every list of up to ten blocks has the period that comparing all of them gives.
func TestPeriodOf(t *testing.T) {
	for n := range 11 {
		for bits := range 1 << n {
			var blocks []BlockType
			for i := range n {
				blocks = append(blocks, []BlockType{Recurrent, Attention}[bits>>i&1])
			}
			want := 1
			for want < n && !slices.Equal(blocks[want:], blocks[:n-want]) {
				want++
			}
			if got := periodOf(blocks); got != want {
				t.Errorf("%s: %d, want %d", patternString(blocks), got, want)
			}
		}
	}
}

// The names of a directory lack the root where no tensor has it, and no other prefix stands in its place.
func TestLacksRoot(t *testing.T) {
	rootless := modelTensors(&tinyConfig, HuggingFace, "")
	for _, tt := range []struct {
		name    string
		tensors []*tensor.Tensor
		family  *Family
		want    bool
	}{
		{"as the layout has them", modelTensors(&tinyConfig, HuggingFace, "model."), Griffin, false},
		{"without the root", rootless, Griffin, true},
		{"under another prefix", modelTensors(&tinyConfig, HuggingFace, "student."), Griffin, false},
		{"beside a tensor that has it", append(slices.Clone(rootless), named("model.step")), Griffin, false},
		{"of a family without roots", rootless, &Family{}, false},
	} {
		m, err := Recognize(checkpoint(t, tt.tensors...), Options{KeepExtra: true})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if m.Family = tt.family; LacksRoot(m) != tt.want {
			t.Errorf("%s: %t, prefix %q", tt.name, !tt.want, m.Prefix)
		}
	}
}

func TestPattern(t *testing.T) {
	const R, A = Recurrent, Attention
	for _, tt := range []struct {
		blocks []BlockType
		want   string
	}{
		{Repeat(26, R, R, A), "R R A"},
		{[]BlockType{R, R, A, R, R}, "R R A"},
		{[]BlockType{R, R, R, R}, "R"},
		{[]BlockType{A}, "A"},
		{[]BlockType{R, A, A, R, R}, "R A A R"},
		{[]BlockType{R, A, R}, "R A"},
		{Repeat(100, R), "R"},
		{Repeat(101, R), "R R"}, // transformers repeats a pattern 100 times and no more
		{Repeat(301, R, A, A), "R A A R A A"},
	} {
		c := Config{BlockTypes: tt.blocks}
		p := c.Pattern()
		if patternString(p) != tt.want {
			t.Errorf("%s: %s, want %s", patternString(tt.blocks), patternString(p), tt.want)
		}
		var made []BlockType
		for range 100 {
			made = append(made, p...)
		}
		if !slices.Equal(made[:len(tt.blocks)], tt.blocks) {
			t.Errorf("%s: transformers would make %s", patternString(tt.blocks), patternString(made[:len(tt.blocks)]))
		}
	}
}

// TestRecognizeHostileNames has names and block numbers that must not cost much time or memory.
func TestRecognizeHostileNames(t *testing.T) {
	tensors := modelTensors(&tinyConfig, Flax, "")
	tensors = append(tensors,
		named(strings.Repeat("blocks.0.", 400)+"temporal_pre_norm.scale", 32),
		named(strings.Repeat(".", 1000), 1),
		named("blocks.9223372036854775807.temporal_pre_norm.scale", 32),
		named("blocks.92233720368547758079.temporal_pre_norm.scale", 32),
		named("blocks.007.temporal_pre_norm.scale", 32),
	)
	m, err := Recognize(checkpoint(t, tensors...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = m.Problems()
	var bad *MismatchError
	if !errors.As(err, &bad) || len(bad.Missing) > 40 || bad.Missing[0].Tensor != "blocks.5 to 9223372036854775806" {
		t.Errorf("%v", err)
	}
}

// A tensor among the parameters is part of the model, one beside them if that is asked for, and a number neither.
func TestExtraTensors(t *testing.T) {
	tensors := append(modelTensors(&tinyConfig, HuggingFace, "model."), named("model.value_head.weight", 1, 32), named("score.weight", 2, 32), named("model.temperature"), named("step"))
	for keep, want := range map[bool]string{false: "model.value_head.weight", true: "model.value_head.weight score.weight"} {
		m, err := Recognize(checkpoint(t, tensors...), Options{KeepExtra: keep})
		if err != nil {
			t.Fatal(err)
		}
		var extra []string
		for _, x := range m.Extra {
			extra = append(extra, x.Name)
		}
		if got := strings.Join(extra, " "); got != want || len(m.Extra)+len(m.Rest) != 4 {
			t.Errorf("extra tensors are kept %t: %q, %d left", keep, got, len(m.Rest))
		}
	}
}
