package runtime

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference"
)

// Candle is the recurrent_gemma of candle-transformers 0.11, loaded as its example loads it, in the type of the weights. It has no
// mode without cache; a model reads one document, all of the prompt at once and then token by token.
//
// It ignores attention_window_size, rope_parameters, tie_word_embeddings, embeddings_scale_by_sqrt_dim and tensors that it does not know.
var Candle = &Runtime{
	Name: "candle", Title: "candle", Version: "0.11.1", Semantics: reference.Candle,
	keys:             func(int) int { return 0 },
	dividesByZeroCap: true,
	configure:        func(c *model.Config, _ *hfconfig.Config) { c.SeparateHead = false },
	weights:          candleWeights,
	explain: func(x *explainer) {
		x.candleLoads()
		if !x.Loads {
			x.wrong()
			return
		}
		x.caps()
		if x.Written.SeparateHead {
			x.diverges(0, "ignores the output head of its own: it computes logits with the embedding")
		}
		x.scalesInType()
		if newer, older := x.Stated.Rope.Theta, x.Stated.Rope4.Theta; x.attends() && newer != older {
			x.diverges(1, "ignores rope_parameters: rotates with the base %s, where rope_theta is %s there", hfconfig.Decimal(older), hfconfig.Decimal(newer))
		}
		if x.attends() && !x.fitting() {
			x.diverges(0, "every pass fails, because the model is not as wide as %s of %d channels", text.Count(x.Stated.NumAttentionHeads, "head"), x.Stated.HeadDim)
		}
		if x.attends() {
			switch rotation := x.Stated.Rotation4(0.5); rotation { // it cuts heads as transformers 4.57 does
			case hfconfig.RotationFails:
				x.diverges(0, "every pass fails, because it cuts heads in two and rotates pairs, and heads have %d channels", x.Stated.HeadDim)
			case hfconfig.RotationBroadcasts:
				x.diverges(1, "computes with another number of channels, because it cuts heads in two and rotates pairs, and heads have 2 channels")
			}
		}
		if x.wrong() {
			return
		}
		x.candleAttention()
		x.add("packed rows", "either", "takes no positions: a row is one document", false)
		x.losesCap("are infinite or NaN: %.0f, the soft cap that stands for none, is beyond the range of float16")
	},
}

// candleActivations are the names that candle knows of those that transformers has.
var candleActivations = []string{"gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "relu2", "relu6", "silu", "swish", "sigmoid", "mish", "hardswish"}

// candleLoads says what keeps candle from loading the directory.
func (x *explainer) candleLoads() {
	x.needs("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "attention_window_size",
		"conv1d_width", "logits_soft_cap", "hidden_activation", "partial_rotary_factor", "rms_norm_eps", "rope_theta", "attention_bias")
	pattern, older := x.pattern("block_types"), x.pattern("_block_types")
	if x.ByHead {
		x.refuses("it needs model.embed_tokens.weight, and only the output head is stored")
	}
	switch {
	case !strings.HasPrefix(x.Format, safetensorsFormat):
		x.refuses("it reads the weights from safetensors files")
	case pattern != nil && older != nil:
		x.refuses("config.json has both block_types and _block_types, which are one field to it")
	case pattern == nil && older == nil:
		x.refuses("config.json has neither block_types nor _block_types")
	case !x.repeats(slices.Concat(pattern, older)):
		x.refuses("block_types of config.json are other blocks than the weights have")
	}
	if factor := x.numberOr("partial_rotary_factor", 0.5); factor != 0.5 {
		x.refuses("it rotates half of each head, and partial_rotary_factor is %g", factor)
	}
	if f := x.word("hidden_activation", candleActivations[0]); !slices.Contains(candleActivations, f) {
		x.refuses("it has no hidden_activation %s", f)
	}
}

// candleAttention says what depends on the length of a document.
func (x *explainer) candleAttention() {
	if x.attends() {
		at := x.window + 1
		x.add(upTo(at), "either", fmt.Sprintf("as the original; decoding diverges from position %d on", at), true)
		does := fmt.Sprintf("attention has no window: diverges from position %d on, whatever attention_window_size is", at)
		x.add(moreThan(at), "either", does, false)
		x.sees(at, "attention has no window, whatever attention_window_size is")
	} else {
		x.add("any", "either", "as the original, decoding too", true)
	}
	if x.DType != tensor.F32 && x.attends() {
		x.reason("the angles of the rotary embedding are rounded to %s, so that positions in the hundreds lose digits", x.DType)
	}
	if x.attends() {
		x.add(fmt.Sprintf("more than %.0f tokens", x.numberOr("max_seq_len", 8192)), "either", "fails: the rotary embedding has no more positions, unless max_seq_len of config.json says so", false)
		x.add("a second document", "either", "fails: attention still has the keys of the first, and a model cannot be reset", false)
	}
	if x.recurs() {
		x.add("in several pieces", "with", "fails: the convolution continues with one token at a time", false)
	}
}
