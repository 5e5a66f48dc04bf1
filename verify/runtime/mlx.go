package runtime

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference"
)

// MLX is mlx-lm 0.32 with mlx 0.32. It takes no positions, and its cache computes what a prompt read at once does.
//
// Of config.json it ignores lru_width, conv1d_width, num_key_value_heads, attention_bias, hidden_activation, rope_theta,
// partial_rotary_factor, head_dim and tie_word_embeddings, although most of them have to be there; rms_norm_eps is only that of the
// last norm. It alone obeys embeddings_scale_by_sqrt_dim.
var MLX = &Runtime{
	Name: "mlx-lm", Title: "mlx-lm", Version: "0.32.2", Semantics: reference.MLX,
	keys: func(window int) int { return window },
	configure: func(c *model.Config, _ *hfconfig.Config) {
		if n := &c.Numerics; *n != (model.Numerics{}) { // NormEpsilon is that of the last norm
			n.Activation, n.RopeTheta, n.RotaryFactor = tanhGELU[0], 10000, 0.5
		}
	},
	weights: mlxWeights,
	explain: func(x *explainer) {
		x.mlxLoads()
		if !x.Loads {
			x.wrong()
			return
		}
		x.mlxIgnores()
		if x.wrong() {
			return
		}
		if at := x.visible(x.size); at < 0 {
			x.add("any", "either", fmt.Sprintf("as the original, decoding too: attention sees %s in both", text.Count(x.size, "token")), true)
		} else {
			x.add(upTo(at), "either", fmt.Sprintf("as the original; decoding diverges from position %d on", at), true)
			sees := fmt.Sprintf("attention sees %s, %s", text.Count(x.size, "token"), x.compareWindows(x.size))
			x.add(moreThan(at), "either", fmt.Sprintf("%s: diverges from position %d on", sees, at), false)
			x.sees(at, "%s", sees)
		}
		x.add("packed rows", "either", "takes no positions: a row is one document", false)
	},
}

// mlxLoads says what keeps mlx-lm from loading the directory.
func (x *explainer) mlxLoads() {
	x.needs("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "attention_window_size",
		"conv1d_width", "logits_soft_cap", "rms_norm_eps", "rope_theta", "attention_bias")
	pattern := x.pattern("block_types")
	if pattern == nil {
		pattern = x.pattern("_block_types")
	}
	if x.ByHead {
		x.refuses("it needs model.embed_tokens.weight, and only the output head is stored")
	}
	switch {
	case !strings.HasPrefix(x.Format, safetensorsFormat):
		x.refuses("it reads the weights from safetensors files named model*.safetensors")
	case pattern == nil:
		x.refuses("config.json has neither block_types nor _block_types")
	case !slices.Contains(pattern, model.Attention):
		x.refuses("it has no models without attention blocks")
	case !x.repeats(pattern):
		x.refuses("block_types of config.json are other blocks than the weights have")
	}
	if c := &x.Original; x.recurs() {
		if c.LRUWidth != c.Width {
			x.refuses("it ignores lru_width, and the recurrence is %d wide and the model %d", c.LRUWidth, c.Width)
		}
		if taps := x.numberOr("conv1d_width", 4); taps != 4 {
			x.refuses("it ignores conv1d_width, which is %g: it has 4 taps", taps)
		}
	}
	if x.attends() {
		if heads := x.Stated.NumKeyValueHeads; heads != 1 {
			x.refuses("it ignores num_key_value_heads, and the model has %d: it has 1", heads)
		}
		if !x.fitting() {
			x.refuses("it ignores head_dim, and the model is not as wide as %s of %d channels", text.Count(x.Stated.NumAttentionHeads, "head"), x.Stated.HeadDim)
		}
		if x.Fields["attention_bias"] == true {
			x.refuses("it ignores attention_bias, which is true: its queries, keys and values have no biases")
		}
	}
	if len(x.Extra) > 0 {
		x.refuses("it loads no tensors that it does not know, such as %s", x.Extra[0])
	}
	if i := slices.Index(pattern, model.Attention); x.Loads && i >= len(x.Original.BlockTypes) {
		x.diverges(0, "every pass fails, because block_types of config.json has its first attention block behind the last block, %d", len(x.Original.BlockTypes)-1)
	}
}

// tanhGELU are the names that transformers has for GELU in its tanh form.
var tanhGELU = []string{"gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu_python_tanh", "gelu_accurate"}

// mlxIgnores says what becomes of fields that mlx-lm does not read, and of constants.
func (x *explainer) mlxIgnores() {
	const epsilon = 1e-5 // of its norms
	eps := x.numberOr("rms_norm_eps", 1e-6)
	switch {
	case eps > 2*epsilon:
		x.diverges(0, "norms add %g to the mean square, whatever rms_norm_eps is, here %g", epsilon, eps)
	case eps != epsilon:
		x.reason("norms add %g to the mean square, whatever rms_norm_eps is, here %g: in float32, logits differ by about 1e-4, more where embeddings are small", epsilon, eps)
	}
	if x.Fields["embeddings_scale_by_sqrt_dim"] == false {
		x.diverges(0, "does not multiply embeddings by sqrt(hidden_size), because embeddings_scale_by_sqrt_dim is false, which transformers ignores")
	} else {
		x.scalesInType()
	}
	if f := x.word("hidden_activation", tanhGELU[0]); !slices.Contains(tanhGELU, f) {
		x.diverges(0, "ignores hidden_activation, which is %s: it takes GELU in its tanh form", f)
	}
	if !x.attends() {
		return
	}
	if half := x.Stated.HeadDim / 2; half%2 != 0 {
		x.diverges(0, "every pass fails, because it rotates half of each head in pairs, and that is %d of %d channels", half, x.Stated.HeadDim)
	}
	if theta := x.Stated.Rope.Theta; theta != 10000 {
		x.diverges(1, "ignores rope_theta, which is %g: it rotates with the base 10000", theta)
	}
	if factor := x.Stated.Rope.PartialFactor; factor != 0.5 {
		x.diverges(1, "ignores partial_rotary_factor, which is %g: it rotates half of each head", factor)
	}
}
