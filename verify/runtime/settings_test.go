package runtime

import (
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
)

// runSettings returns the settings with which a model of one block runs.
func runSettings(semantics reference.Semantics, block model.BlockType, change func(c *model.Config)) *Settings {
	c := model.Config{BlockTypes: []model.BlockType{block}, AttentionWindow: 16, LogitsSoftCap: 30, EmbeddingScale: true}
	if change != nil {
		change(&c)
	}
	s := settingsOf(&c, semantics)
	return &s
}

// What sets two runs of the same weights apart is named with both values.
func TestSettingsApart(t *testing.T) {
	other := model.Numerics{Activation: "silu", NormEpsilon: 1e-5, RopeTheta: 20000, RotaryFactor: 0.25}
	with := func(n model.Numerics) func(c *model.Config) { return func(c *model.Config) { c.Numerics = n } }
	window := func(n int64) func(c *model.Config) { return func(c *model.Config) { c.AttentionWindow = n } }
	usual := runSettings(reference.Original, model.Attention, nil)
	for _, tt := range []struct {
		name  string
		other *Settings
		text  string // of the other
		apart []string
	}{
		{"the same", usual, "attention window 16, logits soft cap 30, embedding scale true", nil},
		{"cap and scale", runSettings(reference.Original, model.Attention, func(c *model.Config) { c.LogitsSoftCap, c.EmbeddingScale = 5, false }),
			"attention window 16, logits soft cap 5, embedding scale false", []string{"logits soft cap 30 and 5", "embedding scale true and false"}},
		{"a cap that stands for none", runSettings(reference.Transformers5, model.Attention, func(c *model.Config) { c.LogitsSoftCap = 1 << 20 }),
			"attention_window_size 16, logits soft cap 1048576, embedding scale true", []string{"logits soft cap 30 and 1048576"}},
		{"window", runSettings(reference.Original, model.Attention, window(20)), "attention window 20, logits soft cap 30, embedding scale true", []string{"attention window 16 and 20"}},
		{"the same tokens, counted otherwise", runSettings(reference.Transformers5, model.Attention, window(17)), "attention_window_size 17, logits soft cap 30, embedding scale true", nil},
		{"other tokens by the semantics alone", runSettings(reference.Transformers5, model.Attention, nil), "attention_window_size 16, logits soft cap 30, embedding scale true", nil},
		{"other tokens", runSettings(reference.Transformers5, model.Attention, window(20)), "attention_window_size 20, logits soft cap 30, embedding scale true", []string{"attention window 16 and 20"}},
		{"no window", runSettings(reference.Transformers4, model.Attention, nil), "logits soft cap 30, embedding scale true", nil},
		{"numerics", runSettings(reference.Original, model.Attention, with(other)),
			"attention window 16, logits soft cap 30, embedding scale true, hidden_activation silu, rms_norm_eps 1e-05, rope_theta 20000, partial_rotary_factor 0.25",
			[]string{"hidden_activation gelu_pytorch_tanh and silu", "rms_norm_eps 1e-06 and 1e-05", "rope_theta 10000 and 20000", "partial_rotary_factor 0.5 and 0.25"}},
		{"no attention", runSettings(reference.Original, model.Recurrent, with(other)), "logits soft cap 30, embedding scale true, hidden_activation silu, rms_norm_eps 1e-05",
			[]string{"hidden_activation gelu_pytorch_tanh and silu", "rms_norm_eps 1e-06 and 1e-05"}},
		{"another name of the function", runSettings(reference.Original, model.Attention, with(model.Numerics{Activation: "gelu_new", NormEpsilon: 1e-6, RopeTheta: 10000, RotaryFactor: 0.5})),
			"attention window 16, logits soft cap 30, embedding scale true", nil},
	} {
		if got := tt.other.String(); got != tt.text {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.text)
		}
		if got := usual.Apart(tt.other); !slices.Equal(got, tt.apart) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.apart)
		}
	}
}
