package model

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// Griffin is the family of the models of arXiv 2402.19427: RecurrentGemma, Griffin and Hawk.
//
// Sources: google-deepmind/recurrentgemma 1.0.1 (jax/modules.py, torch/modules.py, conversion.py,
// common.py) and transformers 5.23 (models/recurrent_gemma).
var Griffin = &Family{
	Name:      "Griffin",
	Rules:     griffinRules,
	Roots:     PerLayout{Flax: "params.", HuggingFace: "model."},
	Blocks:    PerLayout{Flax: "blocks.", Torch: "blocks.", HuggingFace: "layers."},
	Embedding: reference.Embedding,
	Heads: []HeadName{
		{"lm_head.weight", same, true},
		{"lm_head.kernel", transposed, true},
		{"lm_head.w", transposed, false},
		{"output_head.weight", same, false},
		{"output_head.kernel", transposed, false},
		{"output_head.w", transposed, false},
		{"head.weight", same, false},
		{"head.kernel", transposed, false},
		{"head.w", transposed, false},
	},
	Ignored: []string{".rotary_emb.inv_freq"},

	// The RG-LRU, whose errors add up over all tokens, and the convolution before it.
	Sensitive: []string{".rg_lru.", ".conv_1d."},

	// V vocabulary, W width, E expanded MLP width, H heads, K head dimension, L RG-LRU width,
	// D RG-LRU channels of a head, C convolution taps
	Axes:    "VWEHKLDC",
	Kinds:   []BlockType{Recurrent, Attention},
	Pattern: []BlockType{Recurrent, Recurrent, Attention},
	Sizes:   griffinSizes,
	Resolve: resolveGriffin,
	Config:  griffinConfig,

	Presets: []Preset{
		{"2b", Config{Width: 2560, MLPExpandedWidth: 7680, NumHeads: 10, LRUWidth: 2560, ConvWidth: 4, BlockTypes: Repeat(26, Recurrent, Recurrent, Attention),
			AttentionWindow: 2048, LogitsSoftCap: 30, EmbeddingScale: true}},
		{"9b", Config{Width: 4096, MLPExpandedWidth: 12288, NumHeads: 16, LRUWidth: 4096, ConvWidth: 4, BlockTypes: Repeat(38, Recurrent, Recurrent, Attention),
			AttentionWindow: 2048, LogitsSoftCap: 30, EmbeddingScale: true}},
		{"griffin-paper-7b", Config{Width: 4096, MLPExpandedWidth: 12288, NumHeads: 32, LRUWidth: 5632, ConvWidth: 4, BlockTypes: Repeat(32, Recurrent, Recurrent, Attention),
			AttentionWindow: 1024}},
		{"hawk-paper-7b", Config{Width: 4096, MLPExpandedWidth: 12288, NumHeads: 32, LRUWidth: 5632, ConvWidth: 4, BlockTypes: Repeat(32, Recurrent),
			AttentionWindow: 1024}},
	},
	DefaultWindow: 2048, // what transformers assumes

	HuggingFace: ConfigFile{
		Tokens:   recurrentGemmaTokens,
		Read:     hfconfig.Read,
		Fields:   recurrentGemmaFields,
		Changed:  changedRecurrentGemma,
		Check:    checkRecurrentGemma,
		Refuse:   refuseRecurrentGemma,
		UseCache: func(c *Config) bool { return c.Has(Attention) },
	},
}

// The scopes and operations of the table.
var (
	recurrentBlock = EachBlock(Recurrent)
	attentionBlock = EachBlock(Attention)

	same       = Op(nil)
	transposed = Op{Permute(1, 0)}
	taps       = Op{Permute(1, 0), AddUnit(1)} // [taps, channels] to [channels, 1, taps]
)

// halfMatrix is one of the two matrices of ffw_up.w, [2, in, out].
func halfMatrix(i int64) Op { return Op{Take(i, 2), Permute(1, 0)} }

// halfVector is one of the two vectors of ffw_up.b, [2, 1, 1, out].
func halfVector(i int64) Op { return Op{Take(i, 2), DropUnit(0), DropUnit(0)} }

var griffinRules = []Rule{
	//  scope, name in package reference, axes, Flax, original torch, Hugging Face
	NewRule(Once, reference.Embedding, "VW", "embedder.input_embedding", same, "embedder.input_embedding", same, "embed_tokens.weight"),

	NewRule(EveryBlock, reference.TemporalNorm, "W", "temporal_pre_norm.scale", same, "temporal_pre_norm.scale", same, "temporal_pre_norm.weight"),

	NewRule(recurrentBlock, reference.LinearY+reference.Kernel, "LW", "recurrent_block.linear_y.kernel", transposed, "recurrent_block.linear_y.weight", same, "temporal_block.linear_y.weight"),
	NewRule(recurrentBlock, reference.LinearY+reference.Bias, "L", "recurrent_block.linear_y.bias", same, "recurrent_block.linear_y.bias", same, "temporal_block.linear_y.bias"),
	NewRule(recurrentBlock, reference.LinearX+reference.Kernel, "LW", "recurrent_block.linear_x.kernel", transposed, "recurrent_block.linear_x.weight", same, "temporal_block.linear_x.weight"),
	NewRule(recurrentBlock, reference.LinearX+reference.Bias, "L", "recurrent_block.linear_x.bias", same, "recurrent_block.linear_x.bias", same, "temporal_block.linear_x.bias"),
	NewRule(recurrentBlock, reference.LinearOut+reference.Kernel, "WL", "recurrent_block.linear_out.kernel", transposed, "recurrent_block.linear_out.weight", same, "temporal_block.linear_out.weight"),
	NewRule(recurrentBlock, reference.LinearOut+reference.Bias, "W", "recurrent_block.linear_out.bias", same, "recurrent_block.linear_out.bias", same, "temporal_block.linear_out.bias"),
	NewRule(recurrentBlock, reference.Conv1D+reference.Kernel, "L1C", "recurrent_block.conv_1d.w", taps, "recurrent_block.conv_1d.w", taps, "temporal_block.conv_1d.weight"),
	NewRule(recurrentBlock, reference.Conv1D+reference.Bias, "L", "recurrent_block.conv_1d.b", same, "recurrent_block.conv_1d.b", same, "temporal_block.conv_1d.bias"),
	NewRule(recurrentBlock, reference.AParam, "L", "recurrent_block.rg_lru.a_param", same, "recurrent_block.rg_lru.a_param", same, "temporal_block.rg_lru.recurrent_param"),
	NewRule(recurrentBlock, reference.InputGate+reference.Kernel, "HDD", "recurrent_block.rg_lru.input_gate.w", same, "recurrent_block.rg_lru.input_gate.w", same, "temporal_block.rg_lru.input_gate_weight"),
	NewRule(recurrentBlock, reference.InputGate+reference.Bias, "HD", "recurrent_block.rg_lru.input_gate.b", same, "recurrent_block.rg_lru.input_gate.b", same, "temporal_block.rg_lru.input_gate_bias"),
	NewRule(recurrentBlock, reference.AGate+reference.Kernel, "HDD", "recurrent_block.rg_lru.a_gate.w", same, "recurrent_block.rg_lru.a_gate.w", same, "temporal_block.rg_lru.recurrent_gate_weight"),
	NewRule(recurrentBlock, reference.AGate+reference.Bias, "HD", "recurrent_block.rg_lru.a_gate.b", same, "recurrent_block.rg_lru.a_gate.b", same, "temporal_block.rg_lru.recurrent_gate_bias"),

	NewRule(attentionBlock, reference.ProjQ+reference.Kernel, "WW", "attention_block.proj_q.kernel", transposed, "attention_block.proj_q.weight", same, "temporal_block.q_proj.weight"),
	NewRule(attentionBlock, reference.ProjK+reference.Kernel, "KW", "attention_block.proj_k.kernel", transposed, "attention_block.proj_k.weight", same, "temporal_block.k_proj.weight"),
	NewRule(attentionBlock, reference.ProjV+reference.Kernel, "KW", "attention_block.proj_v.kernel", transposed, "attention_block.proj_v.weight", same, "temporal_block.v_proj.weight"),
	NewRule(attentionBlock, reference.ProjFinal+reference.Kernel, "WW", "attention_block.proj_final.kernel", transposed, "attention_block.proj_final.weight", same, "temporal_block.o_proj.weight"),
	NewRule(attentionBlock, reference.ProjFinal+reference.Bias, "W", "attention_block.proj_final.bias", same, "attention_block.proj_final.bias", same, "temporal_block.o_proj.bias"),

	NewRule(EveryBlock, reference.ChannelNorm, "W", "channel_pre_norm.scale", same, "channel_pre_norm.scale", same, "channel_pre_norm.weight"),
	NewRule(EveryBlock, reference.MLPGate+reference.Kernel, "EW", "mlp_block.ffw_up.w", halfMatrix(0), "mlp_block.ffw_up.w", halfMatrix(0), "mlp_block.gate_proj.weight"),
	NewRule(EveryBlock, reference.MLPGate+reference.Bias, "E", "mlp_block.ffw_up.b", halfVector(0), "mlp_block.ffw_up.b", halfVector(0), "mlp_block.gate_proj.bias"),
	NewRule(EveryBlock, reference.MLPUp+reference.Kernel, "EW", "mlp_block.ffw_up.w", halfMatrix(1), "mlp_block.ffw_up.w", halfMatrix(1), "mlp_block.up_proj.weight"),
	NewRule(EveryBlock, reference.MLPUp+reference.Bias, "E", "mlp_block.ffw_up.b", halfVector(1), "mlp_block.ffw_up.b", halfVector(1), "mlp_block.up_proj.bias"),
	NewRule(EveryBlock, reference.MLPDown+reference.Kernel, "WE", "mlp_block.ffw_down.kernel", transposed, "mlp_block.ffw_down.weight", same, "mlp_block.down_proj.weight"),
	NewRule(EveryBlock, reference.MLPDown+reference.Bias, "W", "mlp_block.ffw_down.bias", same, "mlp_block.ffw_down.bias", same, "mlp_block.down_proj.bias"),

	NewRule(Once, reference.FinalNorm, "W", "final_norm.scale", same, "final_norm.scale", same, "final_norm.weight"),
}

func griffinSizes(c *Config) Sizes {
	s := Sizes{'V': c.VocabSize, 'W': c.Width, 'E': c.MLPExpandedWidth, 'H': c.NumHeads, 'K': c.HeadDim(), 'L': c.LRUWidth, 'C': c.ConvWidth}
	if c.NumHeads > 0 {
		s['D'] = c.LRUWidth / c.NumHeads
	}
	return s
}

// resolveGriffin finds the number of heads: that of the RG-LRU gates, and that of the attention
// blocks, which have one key head as wide as a query head.
func resolveGriffin(s *Sizes) (conflict string) {
	if s['H'] > 0 {
		if s['D'] > 0 && s['L'] > 0 && s['L'] != s['H']*s['D'] {
			conflict = fmt.Sprintf("the RG-LRU gates are %d of %d channels each, but the RG-LRU has %d", s['H'], s['D'], s['L'])
		}
		if s['K'] > 0 && s['W'] > 0 && s['K']*s['H'] != s['W'] {
			conflict = fmt.Sprintf("keys of %d channels make %s heads of a width of %d, but the RG-LRU gates have %d",
				s['K'], strconv.FormatFloat(float64(s['W'])/float64(s['K']), 'g', 4, 64), s['W'], s['H'])
			if s['W']%s['H'] == 0 {
				s['K'] = s['W'] / s['H']
			}
		}
	} else if s['K'] > 0 && s['W'] > 0 {
		if s['W']%s['K'] != 0 {
			conflict = fmt.Sprintf("keys of %d channels do not divide a width of %d into heads", s['K'], s['W'])
		}
		s['H'] = s['W'] / s['K']
	}
	return conflict
}

func griffinConfig(s *Sizes, blocks []BlockType) Config {
	c := Config{VocabSize: s['V'], Width: s['W'], MLPExpandedWidth: s['E'], NumHeads: s['H'], LRUWidth: s['L'], ConvWidth: s['C'], BlockTypes: blocks}
	if !c.Has(Recurrent) {
		c.LRUWidth, c.ConvWidth = c.Width, 4
	}
	return c
}

var recurrentGemmaTokens = huggingface.TokenIDs{Pad: 0, EOS: 1, BOS: 2}

// recurrentGemmaFields returns config.json. transformers 5 reads dtype and rope_parameters,
// transformers 4 and other programs torch_dtype, rope_theta and partial_rotary_factor; both accept
// both.
func recurrentGemmaFields(c *Config, form *manifest.HuggingFace, dtype tensor.DType) map[string]any {
	layers := int64(len(c.BlockTypes))
	return map[string]any{
		"architectures":               []string{"RecurrentGemmaForCausalLM"},
		"attention_bias":              false,
		"attention_dropout":           manifest.Float(0),
		"attention_window_size":       form.AttentionWindowSize,
		"block_types":                 c.Pattern(),
		"bos_token_id":                recurrentGemmaTokens.BOS,
		"conv1d_width":                c.ConvWidth,
		"dtype":                       dtype.String(),
		"eos_token_id":                recurrentGemmaTokens.EOS,
		"final_w_init_variance_scale": manifest.Float(2 / float64(layers)),
		"head_dim":                    c.HeadDim(),
		"hidden_activation":           "gelu_pytorch_tanh",
		"hidden_size":                 c.Width,
		"intermediate_size":           2 * c.MLPExpandedWidth,
		"logits_soft_cap":             form.LogitsSoftCap,
		"lru_width":                   c.LRUWidth,
		"model_type":                  "recurrent_gemma",
		"num_attention_heads":         c.NumHeads,
		"num_hidden_layers":           layers,
		"num_key_value_heads":         1,
		"pad_token_id":                recurrentGemmaTokens.Pad,
		"partial_rotary_factor":       manifest.Float(0.5),
		"rms_norm_eps":                manifest.Float(1e-6),
		"rope_parameters": map[string]any{
			"partial_rotary_factor": manifest.Float(0.5),
			"rope_theta":            manifest.Float(10000),
			"rope_type":             "default",
		},
		"rope_theta":            manifest.Float(10000),
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
	change(stated.TieWordEmbeddings != form.TieWordEmbeddings, "tie_word_embeddings", form.TieWordEmbeddings)
	change(stated.VocabSize != c.VocabSize, "vocab_size", c.VocabSize) // an adapter may add tokens
	return set
}

func checkRecurrentGemma(stated *hfconfig.Config, c *Config) []string {
	var out []string
	for _, f := range []struct {
		name       string
		have, want any
	}{
		{"model_type", stated.ModelType, "recurrent_gemma"},
		{"num_key_value_heads", stated.NumKeyValueHeads, int64(1)},
		{"conv1d_width", stated.Conv1DWidth, int64(4)},
		{"rms_norm_eps", stated.RMSNormEps, 1e-6},
		{"rope_theta", stated.RopeTheta, 10000.0},
		{"partial_rotary_factor", stated.PartialRotaryFactor, 0.5},
		{"rope_type", stated.RopeType, "default"},
		{"hidden_activation", stated.HiddenActivation, "gelu_pytorch_tanh"},
		{"attention_bias", stated.AttentionBias, false},
	} {
		if f.have != f.want {
			out = append(out, fmt.Sprintf("%s is %v, and the family's models have %v", f.name, f.have, f.want))
		}
	}
	if stated.IntermediateSize%2 != 0 {
		out = append(out, fmt.Sprintf("intermediate_size is %d, which is not even", stated.IntermediateSize))
	}
	for _, f := range []struct {
		name       string
		have, want int64
	}{
		{"vocab_size", stated.VocabSize, c.VocabSize},
		{"hidden_size", stated.HiddenSize, c.Width},
		{"intermediate_size", stated.IntermediateSize, 2 * c.MLPExpandedWidth},
		{"num_hidden_layers", stated.NumHiddenLayers, int64(len(c.BlockTypes))},
		{"num_attention_heads", stated.NumAttentionHeads, c.NumHeads},
		{"lru_width", stated.LRUWidth, c.LRUWidth},
	} {
		if f.have != f.want && !(f.name == "lru_width" && !c.Has(Recurrent)) {
			out = append(out, fmt.Sprintf("%s is %d, and the tensors' shapes show %d", f.name, f.have, f.want))
		}
	}
	for i, kind := range stated.Layers() {
		if i < len(c.BlockTypes) && string(c.BlockTypes[i]) != kind {
			out = append(out, fmt.Sprintf("block_types say that block %d is %s, and its tensors are %s", i, kind, c.BlockTypes[i]))
			break
		}
	}
	return out
}

func refuseRecurrentGemma(c *Config) string {
	if c.Has(Attention) && c.HeadDim()%4 != 0 {
		return fmt.Sprintf("half of each head of %d channels is rotated in pairs, which takes a multiple of 4", c.HeadDim())
	}
	return ""
}
