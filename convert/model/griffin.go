package model

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
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

	// V vocabulary, W width, E expanded MLP width, H heads, Q channels of the queries of all heads, K of the keys,
	// L RG-LRU width, D RG-LRU channels of a head, C convolution taps
	Axes:           "VWEHQKLDC",
	Kinds:          []BlockType{Recurrent, Attention},
	Pattern:        []BlockType{Recurrent, Recurrent, Attention},
	Sizes:          griffinSizes,
	Resolve:        resolveGriffin,
	Config:         griffinConfig,
	BeyondOriginal: beyondGriffin,

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

func hasAttentionBias(c *Config) bool { return c.AttentionBias }

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

	NewRule(attentionBlock, reference.ProjQ+reference.Kernel, "QW", "attention_block.proj_q.kernel", transposed, "attention_block.proj_q.weight", same, "temporal_block.q_proj.weight"),
	hfRule(attentionBlock, reference.ProjQ+reference.Bias, "Q", "temporal_block.q_proj.bias", hasAttentionBias),
	NewRule(attentionBlock, reference.ProjK+reference.Kernel, "KW", "attention_block.proj_k.kernel", transposed, "attention_block.proj_k.weight", same, "temporal_block.k_proj.weight"),
	hfRule(attentionBlock, reference.ProjK+reference.Bias, "K", "temporal_block.k_proj.bias", hasAttentionBias),
	NewRule(attentionBlock, reference.ProjV+reference.Kernel, "KW", "attention_block.proj_v.kernel", transposed, "attention_block.proj_v.weight", same, "temporal_block.v_proj.weight"),
	hfRule(attentionBlock, reference.ProjV+reference.Bias, "K", "temporal_block.v_proj.bias", hasAttentionBias),
	NewRule(attentionBlock, reference.ProjFinal+reference.Kernel, "WQ", "attention_block.proj_final.kernel", transposed, "attention_block.proj_final.weight", same, "temporal_block.o_proj.weight"),
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
	s := Sizes{'V': c.VocabSize, 'W': c.Width, 'E': c.MLPExpandedWidth, 'H': c.NumHeads, 'Q': c.NumHeads * c.HeadDim(), 'K': c.KeyHeads() * c.HeadDim(),
		'L': c.LRUWidth, 'C': c.ConvWidth}
	if c.NumHeads > 0 {
		s['D'] = c.LRUWidth / c.NumHeads
	}
	return s
}

// resolveGriffin finds the number of heads: that of the RG-LRU gates, and that of the attention blocks. In the original, one head of
// keys and values is as wide as a query head, and all query heads together are as wide as the model.
func resolveGriffin(s *Sizes, l Layout, stated *hfconfig.Config) (conflict string) {
	if s['H'] > 0 && s['D'] > 0 && s['L'] > 0 && s['L'] != s['H']*s['D'] {
		conflict = fmt.Sprintf("the RG-LRU gates are %d of %d channels each, but the RG-LRU has %d", s['H'], s['D'], s['L'])
	}
	if s['K'] == 0 || s['W'] == 0 {
		return conflict
	}
	if l == HuggingFace {
		return cmp.Or(resolveKVHeads(s, stated), conflict)
	}
	s['Q'] = s['W']
	if s['H'] == 0 {
		if s['W']%s['K'] != 0 {
			conflict = fmt.Sprintf("keys of %d channels do not divide a width of %d into heads", s['K'], s['W'])
		}
		s['H'] = s['W'] / s['K']
	} else if s['K']*s['H'] != s['W'] {
		conflict = fmt.Sprintf("keys of %d channels make %s heads of a width of %d, but the RG-LRU gates have %d",
			s['K'], strconv.FormatFloat(float64(s['W'])/float64(s['K']), 'g', 4, 64), s['W'], s['H'])
		if s['W']%s['H'] == 0 {
			s['K'] = s['W'] / s['H']
		}
	}
	return conflict
}

// resolveKVHeads is resolveGriffin for the attention blocks of the Hugging Face layout, in which several heads have keys and values,
// and query heads may be of another width. Without recurrent blocks, only config.json states how many heads there are.
func resolveKVHeads(s *Sizes, stated *hfconfig.Config) (conflict string) {
	heads := s['H']
	if heads == 0 && stated != nil {
		heads = stated.NumAttentionHeads
	}
	if heads == 0 {
		heads = s['Q'] / s['K'] // with one head of keys and values
	}
	if heads == 0 {
		return fmt.Sprintf("queries of %d channels, which is less than the %d of the keys", s['Q'], s['K'])
	}
	s['H'] = heads
	if s['Q']%heads != 0 && s['W']%heads == 0 {
		s['Q'] = s['W'] // it is a tensor that is misshapen
	}
	head := s['Q'] / heads
	switch {
	case s['Q']%heads != 0 || head == 0:
		return fmt.Sprintf("queries of %d channels cannot be divided into %d heads", s['Q'], heads)
	case s['K']%head != 0 || heads%(s['K']/head) != 0:
		conflict = fmt.Sprintf("keys of %d channels make %s heads of %d channels, which cannot serve %d query heads equally",
			s['K'], strconv.FormatFloat(float64(s['K'])/float64(head), 'g', 4, 64), head, heads)
		s['K'] = head
	}
	return conflict
}

func griffinConfig(s *Sizes, blocks []BlockType, has func(parameter string) bool) Config {
	c := Config{VocabSize: s['V'], Width: s['W'], MLPExpandedWidth: s['E'], NumHeads: s['H'], LRUWidth: s['L'], ConvWidth: s['C'], BlockTypes: blocks,
		AttentionWidth: s['W'], KVHeads: 1, Numerics: originalNumerics}
	if !c.Has(Recurrent) && !c.Has(UnknownKind) {
		c.LRUWidth, c.ConvWidth = c.Width, 4
	}
	if !c.Has(Attention) || s['Q'] == 0 || s['K'] == 0 {
		return c
	}
	c.AttentionWidth = s['Q']
	if head := c.HeadDim(); head > 0 {
		c.KVHeads = max(1, s['K']/head)
	}
	c.AttentionBias = has(reference.ProjQ+reference.Bias) || has(reference.ProjK+reference.Bias) || has(reference.ProjV+reference.Bias)
	return c
}
