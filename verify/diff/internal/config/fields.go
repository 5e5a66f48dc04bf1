// Package config has what a config.json says of a model by its meaning, whichever version of transformers wrote it and whatever it leaves to the
// defaults, so that two of them can be compared.
package config

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
)

// FamilyType is the model_type of the family.
const FamilyType = "recurrent_gemma"

// Fields are the fields of a configuration by their names in config.json, nested ones as
// "rope_parameters.rope_theta". Their values are int64, float64, string, bool, nil, or []any of them.
type Fields map[string]any

// OfShapes returns the fields that the shapes of a model of the family tell. Shapes of a model that is not complete do not tell all.
func OfShapes(c *model.Config) Fields {
	f := Fields{"vocab_size": c.VocabSize, "hidden_size": c.Width, "intermediate_size": 2 * c.MLPExpandedWidth,
		"num_hidden_layers": int64(len(c.BlockTypes)), "num_attention_heads": c.NumHeads, "block_types": blockTypes(c.BlockTypes)}
	if c.Has(model.Attention) {
		f["num_key_value_heads"], f["head_dim"], f["attention_bias"] = c.KeyHeads(), c.HeadDim(), c.AttentionBias
	}
	if c.Has(model.Recurrent) {
		f["lru_width"], f["conv1d_width"] = c.LRUWidth, c.ConvWidth
	}
	maps.DeleteFunc(f, func(name string, value any) bool {
		return value == int64(0) || name == "block_types" && c.Has(model.UnknownKind)
	})
	return f
}

func blockTypes[T ~string](blocks []T) []any {
	var out []any
	for _, b := range blocks {
		out = append(out, string(b))
	}
	return out
}

// OfFamily returns the fields of a config.json of the family with the values that transformers uses,
// whichever version wrote it and whatever it leaves to the defaults, and further fields about the model. refused are those that Refused returns.
func OfFamily(h *hfconfig.Config, raw map[string]any, refused map[string]hfconfig.Refusal) Fields {
	layers := h.Layers()
	f := Fields{
		"model_type": h.ModelType, "vocab_size": h.VocabSize, "hidden_size": h.HiddenSize, "intermediate_size": h.IntermediateSize,
		"num_hidden_layers": h.NumHiddenLayers, "num_attention_heads": h.NumAttentionHeads, "num_key_value_heads": h.NumKeyValueHeads,
		"logits_soft_cap": h.LogitsSoftCap, "rms_norm_eps": h.RMSNormEps, "rope_theta": h.Rope.Theta,
		"partial_rotary_factor": h.Rope.PartialFactor, "rope_type": h.Rope.Type, "hidden_activation": h.HiddenActivation,
		"attention_bias": h.AttentionBias, "tie_word_embeddings": h.TieWordEmbeddings, "block_types": blockTypes(layers),
		"attention_dropout": 0.0, "pad_token_id": int64(0), "eos_token_id": int64(1), "bos_token_id": int64(2),
		"architectures": []any{"RecurrentGemmaForCausalLM"}, "head_dim": h.HeadDim,
	}
	if slices.Contains(layers, hfconfig.Recurrent) {
		f["lru_width"], f["conv1d_width"] = h.LRUWidth, h.Conv1DWidth
	}
	if slices.Contains(layers, hfconfig.Attention) {
		f["attention_window_size"] = h.AttentionWindowSize
		older := map[string]any{"attention_window_size": h.AttentionWindowSize4, "rope_theta": h.Rope4.Theta, "partial_rotary_factor": h.Rope4.PartialFactor}
		for name, value := range older {
			if h.Has(name) || value == f[name] { // a note says what 4.57 takes where a file does not state it, if that is not what 5.23 takes
				f[name+olderVersion] = value
			}
		}
	}
	for name, value := range plain(raw) {
		if _, known := f[name]; !known && !readElsewhere[name] && !slices.Contains(hfconfig.Unsettable, name) || defaults[name] {
			f[name] = value
		}
	}
	f.foldObjects(refused)
	return f
}

// defaults are the fields for which OfFamily has a default and which hfconfig does not read.
var defaults = map[string]bool{"attention_dropout": true, "pad_token_id": true, "eos_token_id": true, "bos_token_id": true, "architectures": true}

// readElsewhere are other names of fields that hfconfig reads, and fields that it reads only if they matter.
var readElsewhere = map[string]bool{
	"lru_width": true, "conv1d_width": true, "attention_window_size": true, "sliding_window": true,
	"rope_parameters.rope_theta": true, "rope_parameters.partial_rotary_factor": true, "rope_parameters.rope_type": true, "rope_parameters.type": true,
	"rope_scaling.rope_theta": true, "rope_scaling.partial_rotary_factor": true, "rope_scaling.rope_type": true, "rope_scaling.type": true,
	"rope_scaling": true, "_block_types": true, "embeddings_scale_by_sqrt_dim": true,
}

// What transformers 4.57 takes of fields that it reads elsewhere in config.json than 5.23.
const (
	olderVersion = " (transformers 4.57)"
	OlderTheta   = "rope_theta" + olderVersion
	OlderFactor  = "partial_rotary_factor" + olderVersion
	OlderWindow  = "attention_window_size" + olderVersion
)

// Newer has the fields that newer programs take, by those that older ones take in their place. A difference in the latter says something only where
// both sides have them, and the former do not say the same.
var Newer = map[string]string{
	"torch_dtype": "dtype", OlderTheta: "rope_theta", OlderFactor: "partial_rotary_factor", OlderWindow: "attention_window_size",
}

// States reports whether a config.json has a value for a field of OfFamily, under any of its names.
func States(raw map[string]any, field string) bool {
	if strings.HasSuffix(field, "dtype") || strings.HasSuffix(field, olderVersion) || strings.Contains(field, ".") {
		return true // they are there only if the file has them, or their other name
	}
	names := []string{field}
	switch field {
	case "attention_window_size":
		names = hfconfig.WindowNames
	case "rope_type":
		names = append(names, "type")
	}
	for full, value := range raw {
		last := full[strings.LastIndexByte(full, '.')+1:]
		if value != nil && (full == last || strings.HasPrefix(full, "rope_")) && slices.Contains(names, last) {
			return true
		}
	}
	return false
}

// irrelevant are fields that do not change what a model computes or how its tokens are read: who wrote the
// file, and how weights are initialized before training.
var irrelevant = map[string]bool{
	"transformers_version": true, "_name_or_path": true, "_attn_implementation_autoset": true, "_commit_hash": true,
	"initializer_range": true, "w_init_variance_scale": true, "final_w_init_variance_scale": true, "initializer_factor": true,
	"use_cache": true, "output_attentions": true, "output_hidden_states": true, "return_dict": true, "torchscript": true,
}

// plain returns the relevant fields of any config.json.
func plain(raw map[string]any) Fields {
	f := Fields{}
	for name, value := range raw {
		object, isObject := value.(map[string]any)
		if irrelevant[name] || value == nil || isObject && len(object) == 0 && name != "quantization_config" {
			continue
		}
		f[name] = plainValue(value)
	}
	setDTypes(f)
	return f
}

// setDTypes gives the dtype both of its names. Transformers since 4.56 takes dtype where a file has both, and older ones torch_dtype.
func setDTypes(f Fields) {
	newer, older := f["dtype"], f["torch_dtype"]
	for name, value := range map[string]any{"dtype": cmp.Or(newer, older), "torch_dtype": cmp.Or(older, newer)} {
		if word, ok := value.(string); ok {
			value = strings.TrimPrefix(word, "torch.")
		}
		if value != nil {
			f[name] = value
		}
	}
}

// AsWritten returns the relevant fields of any config.json as it has them, with null where that is refused. refused are those that Refused returns.
func AsWritten(raw map[string]any, refused map[string]hfconfig.Refusal) Fields {
	f := plain(raw)
	for name, r := range refused {
		if _, there := raw[name]; there && r.Value == nil {
			f[name] = nil
		}
	}
	f.foldObjects(refused)
	return f
}

// foldObjects makes one field of an object that transformers refuses where it wants a plain value. What is in it has no meaning.
func (f Fields) foldObjects(refused map[string]hfconfig.Refusal) {
	for name, r := range refused {
		object, ok := r.Value.(map[string]any)
		if !ok {
			continue
		}
		maps.DeleteFunc(f, func(field string, _ any) bool { return strings.HasPrefix(field, name+".") })
		if !irrelevant[name] {
			f[name] = plainValue(object)
		}
	}
}

// Refused returns the fields with which transformers does not load a config.json, by their names in Fields. Those of another family are not known.
func Refused(raw map[string]any) map[string]hfconfig.Refusal {
	refused := map[string]hfconfig.Refusal{}
	if raw["model_type"] == nil || raw["model_type"] == FamilyType {
		for _, r := range hfconfig.Refusals(raw) {
			refused[r.Field] = r
		}
	}
	taken, _ := hfconfig.TakenDType(raw)
	for _, name := range hfconfig.DTypeNames { // setDTypes gives it both names
		if r, ok := refused[taken]; ok && raw[name] == nil {
			refused[name] = r
		}
	}
	return refused
}
