package runtime

import (
	"strings"

	"github.com/griffin-ckpt/griffin/formats/quantized"
)

// treatment is what a runtime does with a quantised copy: it refuses it, computes something else, or loads it if it has what it needs.
type treatment struct{ refuses, diverges, needs string }

// treatments are what runtimes do with quantised copies, by what config.json states of them and by the runtime's name. They were measured with
// testdata/quantized, as it is and without quantization_config, in transformers 4.57.3 and 5.23.0 beside bitsandbytes 0.50.2, and in
// mlx-lm 0.32.2; compressed-tensors was not there. What is said of candle is from its sources: it reads codes of float8 as numbers, none of int8, and
// those of fewer bits have other shapes.
var treatments = map[string]map[string]treatment{
	"bitsandbytes": {
		"transformers4": {needs: "it needs the library bitsandbytes"},
		"transformers5": {needs: "it needs the library bitsandbytes"},
		"mlx-lm":        {refuses: readsNone},
		"candle":        {refuses: readsNone},
	},
	"fp8": {
		"transformers4": {needs: "it needs a GPU"},
		"transformers5": {},
		"mlx-lm":        {refuses: readsNone},
		"candle":        {diverges: withoutScales},
	},
	"fp8 without blocks": {
		"transformers4": {refuses: "it wants weight_block_size of quantization_config to be two sizes, and has null there"},
		"transformers5": {},
		"mlx-lm":        {refuses: readsNone},
		"candle":        {diverges: withoutScales},
	},
	"compressed-tensors": {
		"transformers4": {needs: "it needs the library compressed-tensors"},
		"transformers5": {needs: "it needs the library compressed-tensors"},
		"mlx-lm":        {refuses: readsNone},
		"candle":        {diverges: withoutScales},
	},
	"MLX": {
		"transformers4": {refuses: "config.json has no quant_method in quantization_config: it does not read matrices that MLX quantised"},
		"transformers5": {refuses: "config.json has no quant_method in quantization_config: it does not read matrices that MLX quantised"},
		"mlx-lm":        {},
		"candle":        {refuses: readsNone},
	},
	"4 bits, not stated": {
		"transformers4": {refuses: notStated},
		"transformers5": {refuses: notStated},
		"mlx-lm":        {refuses: readsNone},
		"candle":        {refuses: readsNone},
	},
	"int8, not stated": {
		"transformers4": {refuses: notStated},
		"transformers5": {diverges: withoutScales},
		"mlx-lm":        {refuses: readsNone},
		"candle":        {refuses: readsNone},
	},
	"float8, not stated": {
		"transformers4": {diverges: "every pass fails, because config.json has no quantization_config, and the matrices stay codes of float8"},
		"transformers5": {diverges: withoutScales},
		"mlx-lm":        {refuses: readsNone},
		"candle":        {diverges: withoutScales},
	},
}

const (
	readsNone     = "it does not read matrices that are quantised like this"
	withoutScales = "takes the codes of quantised matrices for their elements, without the scales"
	notStated     = "config.json has no quantization_config that says how matrices are quantised"
)

// stateQuantized sets Quantized, if the directory is a quantised copy.
func (d *Directory) stateQuantized(copied *quantized.Copy) {
	if copied == nil {
		return
	}
	method := copied.Weights[0].Scheme.Method
	stated, ok := d.Fields["quantization_config.quant_method"].(string)
	switch block, has := d.Fields["quantization_config.weight_block_size"]; {
	case strings.HasPrefix(method, "MLX"):
		d.Quantized = "MLX"
	case stated == "fp8" && has && block == nil:
		d.Quantized = "fp8 without blocks"
	case ok:
		d.Quantized = stated
	case strings.HasPrefix(method, "fp8"):
		d.Quantized = "float8, not stated"
	case strings.HasSuffix(method, "int8"):
		d.Quantized = "int8, not stated"
	default:
		d.Quantized = "4 bits, not stated"
	}
}

// explainQuantized says what the runtime does with the matrices of a quantised copy.
func explainQuantized(x *explainer) {
	does, known := treatments[x.Quantized][x.runtime.Name]
	switch {
	case x.Quantized == "":
	case x.runtime.Name == "original":
		x.refuses("%s", readsNone)
	case !known:
		x.reason("what it does with the quant_method %s was not tried", x.Quantized)
	case does.refuses != "":
		x.refuses("%s", does.refuses)
	case does.diverges != "":
		x.diverges(0, "%s", does.diverges)
	case does.needs != "":
		x.reason("%s", does.needs)
	}
}
