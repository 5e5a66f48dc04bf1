package model

import (
	"cmp"
	"fmt"

	"github.com/griffin-ckpt/griffin/reference"
)

// originalNumerics are those of google-deepmind/recurrentgemma.
var originalNumerics = Numerics{Activation: "gelu_pytorch_tanh", NormEpsilon: 1e-6, RopeTheta: 10000, RotaryFactor: 0.5}

// KnownNumerics returns c.Numerics, or those of the original.
func (c *Config) KnownNumerics() Numerics {
	if c.Numerics == (Numerics{}) {
		return originalNumerics
	}
	return c.Numerics
}

// griffinActivations has the functions of one number in the table ACT2FN of transformers 5.23. Names of one function differ in
// rounding at the most.
var griffinActivations = map[string]reference.Activation{
	"gelu":              reference.GELU,
	"gelu_python":       reference.GELU,
	"gelu_10":           reference.GELUClipped,
	"gelu_pytorch_tanh": reference.GELUTanh,
	"gelu_python_tanh":  reference.GELUTanh,
	"gelu_new":          reference.GELUTanh,
	"gelu_accurate":     reference.GELUTanh,
	"gelu_fast":         reference.GELUTanh,
	"quick_gelu":        reference.QuickGELU,
	"silu":              reference.SiLU,
	"swish":             reference.SiLU,
	"mish":              reference.Mish,
	"hardswish":         reference.HardSwish,
	"relu":              reference.ReLU,
	"relu6":             reference.ReLU6,
	"relu2":             reference.ReLUSquared,
	"leaky_relu":        reference.LeakyReLU,
	"sigmoid":           reference.Sigmoid,
	"tanh":              reference.Tanh,
	"sqrtsoftplus":      reference.SqrtSoftplus,
	"laplace":           reference.Laplace,
	"linear":            reference.Linear,
}

// parametricActivations are the other functions of that table.
var parametricActivations = map[string]string{
	"prelu": "a function with a parameter of its own in each layer",
	"xielu": "a function with parameters of its own in each layer",
}

// SameActivation reports whether two names of hidden_activation stand for one function.
func SameActivation(a, b string) bool {
	x, known := griffinActivations[a]
	y, other := griffinActivations[b]
	return a == b || known && other && x == y
}

// variant returns what the model does otherwise than the original implementation; nil for nothing.
func (c *Config) variant() *reference.Variant {
	n := c.KnownNumerics()
	v, original := reference.Variant{KVHeads: int(c.KeyHeads()), AttentionBias: c.AttentionBias, ConvTaps: int(cmp.Or(c.ConvWidth, 4)), Activation: griffinActivations[n.Activation],
		NormEpsilon: n.NormEpsilon, RopeTheta: n.RopeTheta, RotaryFactor: n.RotaryFactor}, reference.OriginalVariant()
	if c.Has(Attention) && (c.HeadDim()*c.NumHeads != c.Width || c.HeadDim()%4 != 0) { // the original has no such heads
		v.HeadDim = int(c.HeadDim())
	}
	if v == original {
		return nil
	}
	return &v
}

// beyondGriffin lists what google-deepmind/recurrentgemma does not compute. Its configuration has no fields for it.
func beyondGriffin(c *Config) []string {
	var out []string
	n := c.KnownNumerics()
	add := func(beyond bool, format string, args ...any) {
		if beyond {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(!SameActivation(n.Activation, originalNumerics.Activation), "hidden_activation is %s, not the tanh form of GELU", n.Activation)
	add(n.NormEpsilon != originalNumerics.NormEpsilon, "rms_norm_eps is %v, not %v", n.NormEpsilon, originalNumerics.NormEpsilon)
	if c.Has(Recurrent) {
		add(c.ConvWidth != 4 && c.ConvWidth != 0, "conv1d_width is %d, not 4", c.ConvWidth)
	}
	if !c.Has(Attention) {
		return out
	}
	add(c.KeyHeads() != 1, "num_key_value_heads is %d, not 1", c.KeyHeads())
	add(c.HeadDim()*c.NumHeads != c.Width && c.NumHeads != 0, "head_dim is %d, and %d heads of that do not make a width of %d", c.HeadDim(), c.NumHeads, c.Width)
	add(c.HeadDim()%4 != 0, "head_dim is %d, half of which cannot be rotated in pairs", c.HeadDim())
	add(c.AttentionBias, "attention_bias is true, and its queries, keys and values have no biases")
	add(n.RopeTheta != originalNumerics.RopeTheta, "rope_theta is %v, not %v", n.RopeTheta, originalNumerics.RopeTheta)
	add(n.RotaryFactor != originalNumerics.RotaryFactor, "partial_rotary_factor is %v, not %v", n.RotaryFactor, originalNumerics.RotaryFactor)
	return out
}
