package convert

import (
	"slices"
	"strconv"

	"github.com/griffin-ckpt/griffin/reference"
)

// scope says where in the model a parameter is.
type scope uint8

const (
	once           scope = iota // one in the model
	everyBlock                  // one in each block
	recurrentBlock              // one in each recurrent block
	attentionBlock              // one in each attention block
)

// rule is one parameter of the family: how each layout names and arranges it. The place in
// transformers is the parameter itself; op makes it from the tensor that an original layout holds.
// Two parameters may share a tensor, as the two halves of ffw_up do.
type rule struct {
	scope scope
	name  string // what package reference calls the parameter
	axes  string // of the parameter, a letter each, as sizes has them
	at    [layoutCount]place
}

// place is where a layout keeps a parameter.
type place struct {
	tail string // the name without what precedes it: "blocks.N.", "model.layers.N." and the like
	op   op     // from the tensor to the parameter
}

// rules describes the family, in the order of transformers' state dict (which decides the shard
// that a tensor goes to).
//
// Sources: google-deepmind/recurrentgemma 1.0.1 (jax/modules.py, torch/modules.py, conversion.py)
// and transformers 5.23 (models/recurrent_gemma).
var rules = []rule{
	//  where, name in package reference, axes, Flax, original torch, Hugging Face
	row(once, reference.Embedding, "VW", "embedder.input_embedding", same, "embedder.input_embedding", same, "embed_tokens.weight"),

	row(everyBlock, reference.TemporalNorm, "W", "temporal_pre_norm.scale", same, "temporal_pre_norm.scale", same, "temporal_pre_norm.weight"),

	row(recurrentBlock, reference.LinearY+reference.Kernel, "LW", "recurrent_block.linear_y.kernel", transposed, "recurrent_block.linear_y.weight", same, "temporal_block.linear_y.weight"),
	row(recurrentBlock, reference.LinearY+reference.Bias, "L", "recurrent_block.linear_y.bias", same, "recurrent_block.linear_y.bias", same, "temporal_block.linear_y.bias"),
	row(recurrentBlock, reference.LinearX+reference.Kernel, "LW", "recurrent_block.linear_x.kernel", transposed, "recurrent_block.linear_x.weight", same, "temporal_block.linear_x.weight"),
	row(recurrentBlock, reference.LinearX+reference.Bias, "L", "recurrent_block.linear_x.bias", same, "recurrent_block.linear_x.bias", same, "temporal_block.linear_x.bias"),
	row(recurrentBlock, reference.LinearOut+reference.Kernel, "WL", "recurrent_block.linear_out.kernel", transposed, "recurrent_block.linear_out.weight", same, "temporal_block.linear_out.weight"),
	row(recurrentBlock, reference.LinearOut+reference.Bias, "W", "recurrent_block.linear_out.bias", same, "recurrent_block.linear_out.bias", same, "temporal_block.linear_out.bias"),
	row(recurrentBlock, reference.Conv1D+reference.Kernel, "L1C", "recurrent_block.conv_1d.w", taps, "recurrent_block.conv_1d.w", taps, "temporal_block.conv_1d.weight"),
	row(recurrentBlock, reference.Conv1D+reference.Bias, "L", "recurrent_block.conv_1d.b", same, "recurrent_block.conv_1d.b", same, "temporal_block.conv_1d.bias"),
	row(recurrentBlock, reference.AParam, "L", "recurrent_block.rg_lru.a_param", same, "recurrent_block.rg_lru.a_param", same, "temporal_block.rg_lru.recurrent_param"),
	row(recurrentBlock, reference.InputGate+reference.Kernel, "HDD", "recurrent_block.rg_lru.input_gate.w", same, "recurrent_block.rg_lru.input_gate.w", same, "temporal_block.rg_lru.input_gate_weight"),
	row(recurrentBlock, reference.InputGate+reference.Bias, "HD", "recurrent_block.rg_lru.input_gate.b", same, "recurrent_block.rg_lru.input_gate.b", same, "temporal_block.rg_lru.input_gate_bias"),
	row(recurrentBlock, reference.AGate+reference.Kernel, "HDD", "recurrent_block.rg_lru.a_gate.w", same, "recurrent_block.rg_lru.a_gate.w", same, "temporal_block.rg_lru.recurrent_gate_weight"),
	row(recurrentBlock, reference.AGate+reference.Bias, "HD", "recurrent_block.rg_lru.a_gate.b", same, "recurrent_block.rg_lru.a_gate.b", same, "temporal_block.rg_lru.recurrent_gate_bias"),

	row(attentionBlock, reference.ProjQ+reference.Kernel, "WW", "attention_block.proj_q.kernel", transposed, "attention_block.proj_q.weight", same, "temporal_block.q_proj.weight"),
	row(attentionBlock, reference.ProjK+reference.Kernel, "KW", "attention_block.proj_k.kernel", transposed, "attention_block.proj_k.weight", same, "temporal_block.k_proj.weight"),
	row(attentionBlock, reference.ProjV+reference.Kernel, "KW", "attention_block.proj_v.kernel", transposed, "attention_block.proj_v.weight", same, "temporal_block.v_proj.weight"),
	row(attentionBlock, reference.ProjFinal+reference.Kernel, "WW", "attention_block.proj_final.kernel", transposed, "attention_block.proj_final.weight", same, "temporal_block.o_proj.weight"),
	row(attentionBlock, reference.ProjFinal+reference.Bias, "W", "attention_block.proj_final.bias", same, "attention_block.proj_final.bias", same, "temporal_block.o_proj.bias"),

	row(everyBlock, reference.ChannelNorm, "W", "channel_pre_norm.scale", same, "channel_pre_norm.scale", same, "channel_pre_norm.weight"),
	row(everyBlock, reference.MLPGate+reference.Kernel, "EW", "mlp_block.ffw_up.w", halfMatrix(0), "mlp_block.ffw_up.w", halfMatrix(0), "mlp_block.gate_proj.weight"),
	row(everyBlock, reference.MLPGate+reference.Bias, "E", "mlp_block.ffw_up.b", halfVector(0), "mlp_block.ffw_up.b", halfVector(0), "mlp_block.gate_proj.bias"),
	row(everyBlock, reference.MLPUp+reference.Kernel, "EW", "mlp_block.ffw_up.w", halfMatrix(1), "mlp_block.ffw_up.w", halfMatrix(1), "mlp_block.up_proj.weight"),
	row(everyBlock, reference.MLPUp+reference.Bias, "E", "mlp_block.ffw_up.b", halfVector(1), "mlp_block.ffw_up.b", halfVector(1), "mlp_block.up_proj.bias"),
	row(everyBlock, reference.MLPDown+reference.Kernel, "WE", "mlp_block.ffw_down.kernel", transposed, "mlp_block.ffw_down.weight", same, "mlp_block.down_proj.weight"),
	row(everyBlock, reference.MLPDown+reference.Bias, "W", "mlp_block.ffw_down.bias", same, "mlp_block.ffw_down.bias", same, "mlp_block.down_proj.bias"),

	row(once, reference.FinalNorm, "W", "final_norm.scale", same, "final_norm.scale", same, "final_norm.weight"),
}

// The operations of the table. There are no others.
var (
	same       = op(nil)
	transposed = op{permute(1, 0)}
	taps       = op{permute(1, 0), addUnit(1)} // [taps, channels] to [channels, 1, taps]
)

// halfMatrix makes one of the two matrices of ffw_up.w, [2, in, out].
func halfMatrix(i int64) op { return op{take(i, 2), permute(1, 0)} }

// halfVector makes one of the two vectors of ffw_up.b, [2, 1, 1, out].
func halfVector(i int64) op { return op{take(i, 2), dropUnit(0), dropUnit(0)} }

func row(s scope, name, axes, flax string, fromFlax op, torch string, fromTorch op, huggingFace string) rule {
	return rule{scope: s, name: name, axes: axes, at: [layoutCount]place{
		Flax: {flax, fromFlax}, Torch: {torch, fromTorch}, HuggingFace: {huggingFace, same},
	}}
}

// parameter is one parameter of one model: a rule, and the block where it has one.
type parameter struct {
	rule  *rule
	block int // -1 outside blocks
}

// parameters lists those of a model with these blocks, in the table's order.
func parameters(blocks []BlockType) []parameter {
	var out []parameter
	for at := 0; at < len(rules); {
		end := at + 1
		for end < len(rules) && (rules[end].scope == once) == (rules[at].scope == once) {
			end++
		}
		if rules[at].scope == once {
			for i := at; i < end; i++ {
				out = append(out, parameter{&rules[i], -1})
			}
		} else {
			for b, kind := range blocks {
				for i := at; i < end; i++ {
					if rules[i].scope.in(kind) {
						out = append(out, parameter{&rules[i], b})
					}
				}
			}
		}
		at = end
	}
	return out
}

func (s scope) in(kind BlockType) bool {
	return s == everyBlock || s == recurrentBlock && kind == Recurrent || s == attentionBlock && kind == Attention
}

// blockRoots precede the number of a block.
var blockRoots = [layoutCount]string{Flax: "blocks.", Torch: "blocks.", HuggingFace: "layers."}

// name returns the parameter's name in a layout, from the model's root on: without "params.",
// "model." and other wrappers.
func (p parameter) name(l Layout) string {
	tail := p.rule.at[l].tail
	if p.block < 0 {
		return tail
	}
	return blockRoots[l] + strconv.Itoa(p.block) + "." + tail
}

// sizes has the length of each axis that rule.axes names:
//
//	V vocabulary, W width, E expanded MLP width, H heads, K head dimension,
//	L RG-LRU width, D RG-LRU channels of a head, C convolution taps, 1 and 2 themselves
//
// 0 is a length that is not known.
type sizes [128]int64

func (c *Config) sizes() *sizes {
	s := sizes{'V': c.VocabSize, 'W': c.Width, 'E': c.MLPExpandedWidth, 'H': c.NumHeads, 'K': c.HeadDim(),
		'L': c.LRUWidth, 'C': c.ConvWidth, '1': 1, '2': 2}
	if c.NumHeads > 0 {
		s['D'] = c.LRUWidth / c.NumHeads
	}
	return &s
}

// axesIn returns the letters of the axes of the tensor that holds the parameter in a layout.
func (r *rule) axesIn(l Layout) []byte {
	return rearrange(r.at[l].op.inverse(), []byte(r.axes), func(n int64) byte { return byte('0' + n) })
}

// shapeIn returns the shape of the tensor that holds the parameter in a layout.
func (s *sizes) shapeIn(r *rule, l Layout) []int64 {
	axes := r.axesIn(l)
	shape := make([]int64, len(axes))
	for i, a := range axes {
		shape[i] = s[a]
	}
	return shape
}

func (s *sizes) elements(r *rule) int64 {
	n := int64(1)
	for _, a := range []byte(r.axes) {
		n *= s[a]
	}
	return n
}

// knows reports whether the length of every axis of the parameter is known.
func (s *sizes) knows(r *rule) bool {
	return !slices.ContainsFunc([]byte(r.axes), func(a byte) bool { return s[a] == 0 })
}
