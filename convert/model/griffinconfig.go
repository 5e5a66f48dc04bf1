package model

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

var recurrentGemmaTokens = huggingface.TokenIDs{Pad: 0, EOS: 1, BOS: 2}

// recurrentGemmaFields returns config.json. transformers 5 reads dtype and rope_parameters,
// transformers 4 and other programs torch_dtype, rope_theta and partial_rotary_factor; both accept
// both.
func recurrentGemmaFields(c *Config, form *manifest.HuggingFace, dtype tensor.DType) map[string]any {
	layers, n := int64(len(c.BlockTypes)), c.KnownNumerics()
	return map[string]any{
		"architectures":               []string{"RecurrentGemmaForCausalLM"},
		"attention_bias":              c.AttentionBias,
		"attention_dropout":           manifest.Float(0),
		"attention_window_size":       form.AttentionWindowSize,
		"block_types":                 c.Pattern(),
		"bos_token_id":                recurrentGemmaTokens.BOS,
		"conv1d_width":                c.ConvWidth,
		"dtype":                       dtype.String(),
		"eos_token_id":                recurrentGemmaTokens.EOS,
		"final_w_init_variance_scale": manifest.Float(2 / float64(layers)),
		"head_dim":                    c.HeadDim(),
		"hidden_activation":           n.Activation,
		"hidden_size":                 c.Width,
		"intermediate_size":           2 * c.MLPExpandedWidth,
		"logits_soft_cap":             form.LogitsSoftCap,
		"lru_width":                   c.LRUWidth,
		"model_type":                  "recurrent_gemma",
		"num_attention_heads":         c.NumHeads,
		"num_hidden_layers":           layers,
		"num_key_value_heads":         c.KeyHeads(),
		"pad_token_id":                recurrentGemmaTokens.Pad,
		"partial_rotary_factor":       manifest.Float(n.RotaryFactor),
		"rms_norm_eps":                manifest.Float(n.NormEpsilon),
		"rope_parameters": map[string]any{
			"partial_rotary_factor": manifest.Float(n.RotaryFactor),
			"rope_theta":            manifest.Float(n.RopeTheta),
			"rope_type":             "default",
		},
		"rope_theta":            manifest.Float(n.RopeTheta),
		"tie_word_embeddings":   form.TieWordEmbeddings,
		"torch_dtype":           dtype.String(),
		"transformers_version":  huggingface.Version,
		"use_cache":             c.Has(Attention),
		"vocab_size":            c.VocabSize,
		"w_init_variance_scale": manifest.Float(0.01),
	}
}

// changedRecurrentGemma compares the fields that a conversion between Hugging Face directories may
// change.
func changedRecurrentGemma(stated *hfconfig.Config, c *Config, form *manifest.HuggingFace) []huggingface.Field {
	var set []huggingface.Field
	change := func(changed bool, name string, value any) {
		if changed {
			set = append(set, huggingface.Field{Name: name, Value: value})
		}
	}
	aliased := stated.Has(hfconfig.SlidingWindow)
	change(aliased || stated.AttentionWindowSize != form.AttentionWindowSize, "attention_window_size", form.AttentionWindowSize)
	change(stated.LogitsSoftCap != float64(form.LogitsSoftCap), "logits_soft_cap", form.LogitsSoftCap)
	if aliased {
		set = append(set, huggingface.Field{Name: hfconfig.SlidingWindow, Remove: true,
			Note: fmt.Sprintf("config.json gets attention_window_size %d alone, without sliding_window, so that all versions of transformers take the same", form.AttentionWindowSize)})
	}
	for _, name := range hfconfig.FloatFields {
		x, isInteger := stated.Integers[name]
		if !isInteger {
			continue
		}
		value := manifest.Float(x)
		if name == "logits_soft_cap" {
			value = form.LogitsSoftCap
		}
		set = slices.DeleteFunc(set, func(f huggingface.Field) bool { return f.Name == name })
		set = append(set, huggingface.Field{Name: name, Value: value, Note: fmt.Sprintf("config.json gets %s as a float, which transformers 5.23 demands", name)})
	}
	set = append(set, changedRope(stated)...)
	for _, name := range hfconfig.Unsettable {
		if stated.Has(name) {
			set = append(set, huggingface.Field{Name: name, Remove: true, Note: fmt.Sprintf("config.json loses %s, with which transformers 5.23 does not load it", name)})
		}
	}
	change(stated.TieWordEmbeddings != form.TieWordEmbeddings, "tie_word_embeddings", form.TieWordEmbeddings)
	change(stated.VocabSize != c.VocabSize, "vocab_size", c.VocabSize) // an adapter may add tokens
	return append(set, sharedFields(stated, c, set)...)
}

// changedRope returns the fields with which transformers 4.57 takes the same parameters of the rotary embedding as 5.23.
func changedRope(stated *hfconfig.Config) []huggingface.Field {
	var set []huggingface.Field
	for _, f := range []struct {
		name         string
		newer, older float64
	}{{"rope_theta", stated.Rope.Theta, stated.Rope4.Theta}, {"partial_rotary_factor", stated.Rope.PartialFactor, stated.Rope4.PartialFactor}} {
		if f.newer != f.older {
			set = append(set, huggingface.Field{Name: f.name, Value: manifest.Float(f.newer),
				Note: fmt.Sprintf("config.json gets %s %v at the top level too, where transformers 4.57 reads it", f.name, f.newer)})
		}
	}
	if stated.Has(hfconfig.RopeScaling) {
		set = append(set, huggingface.Field{Name: hfconfig.RopeScaling, Remove: true}, huggingface.Field{Name: hfconfig.RopeParameters, Value: map[string]any{
			"partial_rotary_factor": manifest.Float(stated.Rope.PartialFactor), "rope_theta": manifest.Float(stated.Rope.Theta), "rope_type": stated.Rope.Type}})
	}
	return set
}

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

func checkRecurrentGemma(stated *hfconfig.Config, c *Config) []string {
	var out []string
	wrong := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if stated.ModelType != "recurrent_gemma" {
		wrong("model_type is %v, and the family's models have recurrent_gemma", stated.ModelType)
	}
	if _, ok := griffinActivations[stated.HiddenActivation]; !ok {
		wrong("hidden_activation is %s, %s", stated.HiddenActivation, cmp.Or(parametricActivations[stated.HiddenActivation], "which transformers does not have"))
	}
	if stated.PerLayer {
		wrong("per_layer_config gives layers fields of their own, which is not supported")
	}
	for _, f := range []struct {
		name       string
		have, want int64
		of         BlockType // that the field is about; "" for all models
	}{
		{"vocab_size", stated.VocabSize, c.VocabSize, ""},
		{"hidden_size", stated.HiddenSize, c.Width, ""},
		{"intermediate_size", stated.IntermediateSize - stated.IntermediateSize%2, 2 * c.MLPExpandedWidth, ""}, // half of it, rounded down, is the width of the MLP
		{"num_hidden_layers", stated.NumHiddenLayers, int64(len(c.BlockTypes)), ""},
		{"num_attention_heads", stated.NumAttentionHeads, c.NumHeads, ""},
		{"lru_width", stated.LRUWidth, c.LRUWidth, Recurrent},
		{"conv1d_width", stated.Conv1DWidth, c.ConvWidth, Recurrent},
		{"head_dim", stated.HeadDim, c.HeadDim(), Attention},
		{"num_key_value_heads", stated.NumKeyValueHeads, c.KeyHeads(), Attention},
	} {
		if f.have != f.want && (f.of == "" || c.Has(f.of)) {
			wrong("%s is %d, and the tensors' shapes show %d", f.name, f.have, f.want)
		}
	}
	if c.Has(Attention) {
		out = append(out, checkAttention(stated, c)...)
	}
	for i, kind := range stated.Layers() {
		if i < len(c.BlockTypes) && string(c.BlockTypes[i]) != kind {
			wrong("block_types say that block %d is %s, and its tensors are %s", i, kind, c.BlockTypes[i])
			break
		}
	}
	return out
}

// checkAttention is checkRecurrentGemma for the fields that only attention blocks use.
func checkAttention(stated *hfconfig.Config, c *Config) []string {
	var out []string
	wrong := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch {
	case stated.AttentionBias && !c.AttentionBias:
		wrong("attention_bias is true, and q_proj, k_proj and v_proj have no biases")
	case !stated.AttentionBias && c.AttentionBias:
		wrong("attention_bias is false, and q_proj, k_proj or v_proj has a bias, which transformers ignores")
	}
	if stated.Rope.Type != "default" {
		wrong("rope_type is %s, and transformers rotates models of this family only by the default type", stated.Rope.Type)
	}
	if !(stated.Rope.Theta > 0) {
		wrong("rope_theta is %v, which is not positive", stated.Rope.Theta)
	}
	factor := stated.Rope.PartialFactor
	if span := int64(float64(c.HeadDim()) * factor); !(factor >= 0 && factor <= 1) || (span+1)/2*2 > c.HeadDim() {
		wrong("partial_rotary_factor is %v, which of heads of %d channels leaves none that can be rotated in pairs", factor, c.HeadDim())
	}
	return out
}

func refuseRecurrentGemma(c *Config) string {
	if c.Has(Attention) && c.HeadDim()%4 != 0 {
		return fmt.Sprintf("half of each head of %d channels is rotated in pairs, which takes a multiple of 4", c.HeadDim())
	}
	return ""
}
