package model

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// TestRecognizeVariants: the shapes of a Hugging Face model show how many heads its keys and values have, how wide its query heads
// are, its biases and its taps.
func TestRecognizeVariants(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for round := range 200 {
		groups := 1 + rng.Int64N(3)
		c := Config{VocabSize: 7, Width: 1 + rng.Int64N(40), MLPExpandedWidth: 1 + rng.Int64N(9), KVHeads: 1 + rng.Int64N(4), ConvWidth: 1 + rng.Int64N(7),
			BlockTypes: []BlockType{Attention, Recurrent}, AttentionBias: rng.IntN(2) == 0, Numerics: originalNumerics}
		c.NumHeads = groups * c.KVHeads
		c.LRUWidth, c.AttentionWidth = c.NumHeads*(1+rng.Int64N(9)), c.NumHeads*(1+rng.Int64N(9))
		m, err := Recognize(checkpoint(t, modelTensors(&c, HuggingFace, "model.")...), Options{})
		if err != nil || m.Problems() != nil {
			t.Fatalf("round %d: %v, %v", round, err, m.Problems())
		}
		if fmt.Sprint(m.Config) != fmt.Sprint(c) {
			t.Fatalf("round %d: %+v, want %+v", round, m.Config, c)
		}
		if m.Parameters() != Griffin.Parameters(&c) {
			t.Fatalf("round %d: %d parameters, want %d", round, m.Parameters(), Griffin.Parameters(&c))
		}
	}
}

// TestStatedHeads: without recurrent blocks, config.json decides how many heads there are.
func TestStatedHeads(t *testing.T) {
	c := Config{VocabSize: 7, Width: 24, MLPExpandedWidth: 9, NumHeads: 6, KVHeads: 2, BlockTypes: []BlockType{Attention}}
	sizes := griffinSizes(&c)
	for _, tt := range []struct {
		stated        *hfconfig.Config
		heads, shared int64
	}{
		{&hfconfig.Config{NumAttentionHeads: 6}, 6, 2},
		{&hfconfig.Config{NumAttentionHeads: 12}, 12, 4},
		{nil, 3, 1},
	} {
		s := sizes
		s['H'] = 0
		if conflict := resolveGriffin(&s, HuggingFace, tt.stated); conflict != "" {
			t.Error(conflict)
		}
		got := griffinConfig(&s, c.BlockTypes, func(string) bool { return false })
		if got.NumHeads != tt.heads || got.KVHeads != tt.shared {
			t.Errorf("%v: %d heads and %d of keys, want %d and %d", tt.stated, got.NumHeads, got.KVHeads, tt.heads, tt.shared)
		}
	}
}

// TestHeadConflicts has shapes that contradict each other, whatever the configuration says.
func TestHeadConflicts(t *testing.T) {
	for _, tt := range []struct {
		layout     Layout
		h, w, q, k int64
		want       string
	}{
		{HuggingFace, 4, 32, 32, 12, "keys of 12 channels make 1.5 heads of 8 channels, which cannot serve 4 query heads equally"},
		{HuggingFace, 4, 32, 32, 24, "keys of 24 channels make 3 heads"},
		{HuggingFace, 4, 30, 33, 8, "queries of 33 channels cannot be divided into 4 heads"},
		{HuggingFace, 0, 8, 8, 9, "queries of 8 channels, which is less than the 9 of the keys"},
		{Torch, 4, 32, 32, 16, "keys of 16 channels make 2 heads of a width of 32, but the RG-LRU gates have 4"},
		{Flax, 0, 32, 32, 12, "do not divide a width of 32 into heads"},
	} {
		s := Sizes{'H': tt.h, 'W': tt.w, 'Q': tt.q, 'K': tt.k}
		if got := resolveGriffin(&s, tt.layout, nil); !strings.Contains(got, tt.want) {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

// TestBiases: models without all of the biases that one of them has are incomplete, and an original has none.
func TestBiases(t *testing.T) {
	c := tinyConfig
	c.AttentionBias = true
	tensors := modelTensors(&c, HuggingFace, "model.")
	tensors = slices.DeleteFunc(tensors, func(x *tensor.Tensor) bool { return strings.HasSuffix(x.Name, "k_proj.bias") })
	m, err := Recognize(checkpoint(t, tensors...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if problems := m.Problems(); problems == nil || !strings.Contains(problems.Error(), "missing     model.layers.2.temporal_block.k_proj.bias: [8]") {
		t.Error(problems)
	}
}

// TestBeyondOriginal: everything that the original does not compute is named by its field, and nothing else.
func TestBeyondOriginal(t *testing.T) {
	if got := beyondGriffin(&tinyConfig); got != nil {
		t.Errorf("%q", got)
	}
	for want, change := range map[string]func(c *Config){
		"":                           func(c *Config) { c.Numerics.Activation = "gelu_new" },
		"hidden_activation is gelu":  func(c *Config) { c.Numerics.Activation = "gelu" },
		"rms_norm_eps is 0":          func(c *Config) { c.Numerics.NormEpsilon = 0 },
		"rope_theta is 500":          func(c *Config) { c.Numerics.RopeTheta = 500 },
		"partial_rotary_factor is 1": func(c *Config) { c.Numerics.RotaryFactor = 1 },
		"num_key_value_heads is 2":   func(c *Config) { c.KVHeads = 2 },
		"head_dim is 12":             func(c *Config) { c.AttentionWidth = 48 },
		"attention_bias is true":     func(c *Config) { c.AttentionBias = true },
		"conv1d_width is 3":          func(c *Config) { c.ConvWidth = 3 },
	} {
		c := tinyConfig
		change(&c)
		if got := strings.Join(beyondGriffin(&c), "; "); !strings.HasPrefix(got, want) || want == "" && got != "" || strings.Contains(got, ";") {
			t.Errorf("%q, want %q", got, want)
		}
		if r := c.Reference(); (r.Variant == nil) != (want == "") {
			t.Errorf("%s: variant %+v", want, r.Variant)
		}
	}
	c := tinyConfig
	c.BlockTypes, c.AttentionBias, c.KVHeads, c.Numerics.RopeTheta = []BlockType{Recurrent}, true, 2, 3
	if got := beyondGriffin(&c); got != nil {
		t.Errorf("without attention blocks: %q", got)
	}
}

// TestActivationNames: the names are those of transformers' table, and each function of package reference has one.
func TestActivationNames(t *testing.T) {
	seen := map[reference.Activation]bool{}
	for name, a := range griffinActivations {
		if griffinActivations[a.String()] != a {
			t.Errorf("%s is the name of %d, which is %d", a, a, griffinActivations[a.String()])
		}
		seen[a] = true
		c, err := hfconfig.Read(fstest.MapFS{hfconfig.Name: {Data: []byte(`{"hidden_activation": "` + name + `"}`)}}, hfconfig.Name)
		if err != nil || c.HiddenActivation != name {
			t.Error(name, err)
		}
	}
	for a := reference.GELUTanh; a <= reference.Linear; a++ {
		if !seen[a] {
			t.Errorf("activation %d has no name", a)
		}
	}
	if SameActivation("gelu", "gelu_new") || !SameActivation("silu", "swish") || SameActivation("prelu", "xielu") ||
		SameActivation("prelu", "gelu_pytorch_tanh") || SameActivation("gelu_pytorch_tanh", "prelu") || !SameActivation("prelu", "prelu") {
		t.Error("names are taken for others")
	}
}

// TestHeadsThatTheOriginalLacks: a model whose only peculiarity is the width of its heads is run as transformers runs it.
func TestHeadsThatTheOriginalLacks(t *testing.T) {
	for heads, want := range map[int64]int{16: 0, 8: 0, 32: 2, 12: 5, 10: 6} {
		dim := map[int64]int64{16: 4, 8: 8, 32: 2, 12: 5, 10: 6}[heads]
		c := Config{Width: heads * dim, NumHeads: heads, KVHeads: 1, ConvWidth: 4, BlockTypes: []BlockType{Attention}, Numerics: originalNumerics}
		got := 0
		if v := c.variant(); v != nil {
			got = v.HeadDim
		}
		if got != want {
			t.Errorf("heads of %d channels: %d, want %d", dim, got, want)
		}
	}
}
