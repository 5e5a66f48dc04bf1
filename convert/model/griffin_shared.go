package model

import (
	"slices"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
)

// sharedFields returns the changes after which a config.json means the same to all runtimes: fields that mlx-lm and candle need at the
// top level, where transformers 5 does not write them or takes a default, and fields that these obey and transformers ignores.
// changed are the changes that are made anyway.
func sharedFields(stated *hfconfig.Config, c *Config, changed []huggingface.Field) []huggingface.Field {
	var set []huggingface.Field
	has := func(name string) bool {
		return stated.Has(name) || slices.ContainsFunc(changed, func(f huggingface.Field) bool { return f.Name == name })
	}
	for _, f := range []struct {
		name  string
		value any
	}{
		{"attention_bias", stated.AttentionBias},
		{"attention_window_size", stated.AttentionWindowSize},
		{"conv1d_width", stated.Conv1DWidth},
		{"head_dim", c.HeadDim()},
		{"hidden_activation", stated.HiddenActivation},
		{"hidden_size", stated.HiddenSize},
		{"intermediate_size", stated.IntermediateSize},
		{"logits_soft_cap", manifest.Float(stated.LogitsSoftCap)},
		{"num_attention_heads", stated.NumAttentionHeads},
		{"num_hidden_layers", stated.NumHiddenLayers},
		{"num_key_value_heads", stated.NumKeyValueHeads},
		{"partial_rotary_factor", manifest.Float(stated.Rope.PartialFactor)},
		{"rms_norm_eps", manifest.Float(stated.RMSNormEps)},
		{"rope_theta", manifest.Float(stated.Rope.Theta)},
		{"vocab_size", c.VocabSize},
	} {
		if !has(f.name) {
			set = append(set, huggingface.Field{Name: f.name, Value: f.value})
		}
	}
	older := stated.Has("_block_types")
	if !has("block_types") && (!older || stated.Repatterned) {
		set = append(set, huggingface.Field{Name: "block_types", Value: stated.BlockTypes})
	}
	if older && (has("block_types") || stated.Repatterned) {
		set = append(set, huggingface.Field{Name: "_block_types", Remove: true, Note: "config.json has block_types alone, without _block_types, which transformers ignores and candle takes for the same field"})
	}
	if stated.Unscaled {
		set = append(set, huggingface.Field{Name: "embeddings_scale_by_sqrt_dim", Remove: true, Note: "config.json loses embeddings_scale_by_sqrt_dim, false, which transformers ignores and mlx-lm obeys"})
	}
	return set
}
