package hfconfig

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Departure is a field of a config.json with which transformers loads or computes something else than the weights and the
// other fields say, or fails.
type Departure struct {
	Field  string
	Value  any    // as Fields has it; map[string]any for an object
	Effect string // a clause: "transformers 4.57 fails to load the model"

	// Elsewhere says that transformers takes weights or a configuration from another file than griffin reads.
	Elsewhere bool
}

// Loads reports whether a version of transformers loads the model from the files that griffin reads.
func (d *Departure) Loads() bool {
	named := strings.Contains(d.Effect, "4.57") || strings.Contains(d.Effect, "5.23") // only these fail
	return !d.Elsewhere && (named || !strings.Contains(d.Effect, "fail"))
}

// departure is a field for which there can be a Departure.
type departure struct {
	name      string
	harmless  func(value any) bool // nil if no value is
	effect    string
	elsewhere bool
}

// departures are the fields other than those of Config for which there can be a Departure. Measured with transformers 4.57.3
// and 5.23.0, for code with trust_remote_code; testdata/interop/departures.py repeats it.
var departures = []departure{
	{"auto_map", isEmpty, "with trust_remote_code, transformers runs this code instead of its own classes", false},
	{"configuration_files", isEmpty, "transformers reads one of these files instead of config.json", true},
	{"transformers_weights", isNull, "transformers loads the weights from this file", true},
	{"is_encoder_decoder", isFalse, "generate() fails in transformers 4.57 and 5.23", false},
	{"pruned_heads", isEmpty, "transformers 4.57 fails to load the model, and 5.23 ignores it", false},
	{"is_causal", isTrue, "attention of transformers 5.23 also sees the tokens that follow", false},
	{"return_dict", isTrue, "transformers 5.23 fails to run the model", false},
	{"per_layer_config", isEmpty, "transformers 5.23 fails to load the model, and 4.57 ignores it", false},
	{"fusion_config", isEmpty, "transformers 5.23 fails to load the model, and 4.57 ignores it", false},
	{"kv_sharing_modes", isEmpty, "generate() of transformers 5.23 shares caches between layers", false},
	{"number_of_conv_states", IsInteger, "generate() of transformers 5.23 fails", false},
	{"mlp_layer_types", isNull, "transformers 5.23 fails to load the model, and 4.57 ignores it", false},
	{"mtp_layer_types", isAnyBut[json.Number], "transformers 5.23 fails to load the model, and 4.57 ignores it", false},
	{"experts_implementation", isNull, "transformers 5.23 fails to load the model, and 4.57 ignores it", false},
	{"_experts_implementation", isNull, "transformers 5.23 fails to load the model, and 4.57 ignores it", false},
	{"attn_implementation", isAnyOf(nil, "eager", "sdpa"), "transformers 5.23 computes attention with it, or fails if it lacks it", false},
	{"_attn_implementation", isAnyOf(nil, "eager"), "transformers 4.57 computes attention with it, or fails if it lacks it", false},
	{"_attn_implementation_internal", isAnyOf(nil, "eager"), "transformers 4.57 computes attention with it, or fails if it lacks it", false},
	{"base_model_tp_plan", isObject, "transformers fails to load the model", false},
	{"base_model_ep_plan", isObject, "transformers fails to load the model", false},
	{"base_model_pp_plan", isObject, "transformers fails to load the model", false},
	{"base_model_fsdp_plan", isObject, "transformers 5.23 fails to load the model", false},
	{"text_config", isNull, "transformers takes it for the model's configuration, and fails", false},
	{"attribute_map", nil, "transformers takes fields under other names, or fails to load the model", false},
	{"sub_configs", nil, "transformers 5.23 fails to load the model", false},
	{"use_return_dict", nil, "transformers fails to load the model", false},
	{"layers_block_type", nil, "transformers fails to load the model", false},
	{"layer_types", nil, "transformers 5.23 fails to load the model, and 4.57 ignores it", false},
	{"per_layer_attributes", nil, "transformers 5.23 fails to load the model, and 4.57 ignores it", false},
	{"is_heterogeneous", nil, "transformers 5.23 fails to load the model, and 4.57 ignores it", false},
	{"nested_rope_parameter_keys", nil, "transformers 5.23 fails to load the model, and 4.57 ignores it", false},
	{"ignore_keys_at_rope_validation", isList, "transformers 5.23 fails to load the model, and 4.57 ignores it", false},
	{"quantization_config", isNull, "the weights would be quantised when they are loaded", false},
	{"quantization_config", isNotNull, "transformers 4.57 fails to load the model, and 5.23 ignores it", false},
}

// methods are names of methods of RecurrentGemmaConfig that transformers calls while it loads a model. A field of that name
// replaces the method.
var methods = []string{"__class__", "_check_received_keys", "_encode_special_floats", "_get_generation_parameters", "_get_global_generation_defaults",
	"_get_non_default_generation_parameters", "_getattr_without_heterogeneous_validation", "_iter_config_keys_with_heterogeneous_adjustment",
	"_remove_keys_not_serialized", "_update_heterogeneous_to_dict_output", "_validate_default_rope_parameters", "default_config_fields",
	"dict_dtype_to_str", "get_text_config", "to_dict", "to_diff_dict", "to_json_string"}

// Departures returns those of a config.json, in the order of their names. fields are those of the function Fields.
// quantization_config is one of them, although the weights beside it may be quantised.
func Departures(fields map[string]any) []Departure {
	var out []Departure
	object := nested(fields)
	for _, d := range departures {
		if value, ok := object[d.name]; ok && (d.harmless == nil || !d.harmless(value)) {
			out = append(out, Departure{d.name, value, d.effect, d.elsewhere})
		}
	}
	for _, name := range methods {
		if value, ok := object[name]; ok {
			out = append(out, Departure{name, value, "it replaces a method of the configuration, and transformers fails", false})
		}
	}
	slices.SortFunc(out, func(a, b Departure) int { return strings.Compare(a.Field, b.Field) })
	return out
}

// generationDefaults are the values of fields that transformers takes for generate(). 4.57 takes others from config.json, 5.23 only if
// there is no generation_config.json.
var generationDefaults = map[string]any{
	"max_length": 20, "min_length": 0, "do_sample": false, "early_stopping": false, "num_beams": 1, "temperature": 1.0, "top_k": 50, "top_p": 1.0,
	"typical_p": 1.0, "repetition_penalty": 1.0, "length_penalty": 1.0, "no_repeat_ngram_size": 0, "encoder_no_repeat_ngram_size": 0,
	"bad_words_ids": nil, "num_return_sequences": 1, "output_scores": false, "return_dict_in_generate": false, "forced_bos_token_id": nil,
	"forced_eos_token_id": nil, "remove_invalid_values": false, "exponential_decay_length_penalty": nil, "suppress_tokens": nil,
	"begin_suppress_tokens": nil, "num_beam_groups": 1, "diversity_penalty": 0.0, "max_new_tokens": nil, "min_new_tokens": nil, "max_time": nil,
	"stop_strings": nil, "cache_implementation": nil, "min_p": nil, "top_h": nil, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "renormalize_logits": false,
	"encoder_repetition_penalty": 1.0, "sequence_bias": nil, "token_healing": false, "guidance_scale": nil, "watermarking_config": nil,
	"output_logits": false, "decoder_start_token_id": nil, "compile_config": nil, "assistant_ensemble_weight": nil, "max_position_embeddings": nil,
	"penalty_alpha": nil, "dola_layers": nil, "constraints": nil, "force_words_ids": nil, "prompt_lookup_num_tokens": nil, "max_cache_len": nil,
}

// GenerationFields returns the names of the fields with which generate() does something else than by default, in order: those
// of a generation_config.json, or of a config.json, from which transformers 4.57 takes them too.
func GenerationFields(fields map[string]any) []string {
	var out []string
	for name, value := range nested(fields) {
		if usual, ok := generationDefaults[name]; ok && value != nil && !isAnyOf(usual)(value) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// inert are fields on which loading a model, running it and generating do not depend, with the values for which that was
// measured.
var inert = map[string]func(value any) bool{
	"transformers_version": isAny, "_name_or_path": isAny, "_commit_hash": isAny, "_from_model_config": isAny, "_attn_implementation_autoset": isAny,
	"use_cache": isBool, "output_attentions": isFalse, "output_hidden_states": isFalse, "torchscript": isFalse, "chunk_size_feed_forward": isNumber,
	"is_decoder": isBool, "add_cross_attention": isBool, "tie_encoder_decoder": isBool, "cross_attention_hidden_size": isNumber, "finetuning_task": isString,
	"id2label": isObject, "label2id": isObject, "num_labels": isNumber, "problem_type": isNull, "tokenizer_class": isString, "prefix": isString,
	"task_specific_params": isObject, "tf_legacy_loss": isBool, "use_bfloat16": isBool, "sep_token_id": isNumber, "initializer_range": isNumber,
	"initializer_factor": isNumber, "gradient_checkpointing": isBool,
	"w_init_variance_scale": isNumber, "final_w_init_variance_scale": isNumber, "is_composition": isBool, "keys_to_ignore_at_inference": isAny,
	"_block_types": isAny, "embeddings_scale_by_sqrt_dim": isAny,
	"standardize_rope_params": isAny, "convert_rope_params_to_dict": isAny, "validate_rope": isAny, "validate": isAny, "update": isAny, "from_dict": isAny,
}

// modelFields are the fields that describe the model. Config has them, or the reader of the file checks them.
var modelFields = []string{"model_type", "architectures", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
	"num_key_value_heads", "head_dim", "block_types", "hidden_activation", "rms_norm_eps", "logits_soft_cap", "attention_bias", "attention_dropout",
	"rope_theta", "partial_rotary_factor", "rope_parameters", "rope_scaling", "dtype", "torch_dtype", "tie_word_embeddings", "lru_width",
	"conv1d_width", "attention_window_size", SlidingWindow, "pad_token_id", "bos_token_id", "eos_token_id"}

// UnknownFields returns the names of fields of a config.json that are not known to describe the model, to be a Departure, to be
// for generate(), or to have no effect. A version of transformers may act on them.
func UnknownFields(fields map[string]any) []string {
	var out []string
	for name, value := range nested(fields) {
		harmless := inert[name]
		_, generation := generationDefaults[name]
		departs := slices.ContainsFunc(departures, func(d departure) bool { return d.name == name })
		if value != nil && !slices.Contains(modelFields, name) && !generation && !departs && !slices.Contains(methods, name) && (harmless == nil || !harmless(value)) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// nested returns the fields of the outermost object. The value of an object is a map[string]any.
func nested(fields map[string]any) map[string]any {
	out := maps.Clone(fields)
	for name, value := range fields {
		outer, inner, ok := strings.Cut(name, ".")
		if !ok {
			continue
		}
		delete(out, name)
		object, _ := out[outer].(map[string]any)
		if object == nil {
			object = map[string]any{}
			out[outer] = object
		}
		object[inner] = value
	}
	return out
}

func isAny(any) bool           { return true }
func isNull(value any) bool    { return value == nil }
func isNotNull(value any) bool { return value != nil }
func isTrue(value any) bool    { return value == true }

// isFalse reports whether a value is false or null.
func isFalse(value any) bool { return value == false || value == nil }

func isBool(value any) bool { _, ok := value.(bool); return ok }

func isString(value any) bool { _, ok := value.(string); return ok }

func isNumber(value any) bool { _, ok := value.(json.Number); return ok }

// isList reports whether a value is a list or null.
func isList(value any) bool { _, ok := value.([]any); return ok || value == nil }

// isAnyBut reports whether a value is of another type.
func isAnyBut[T any](value any) bool { _, ok := value.(T); return !ok }

func isObject(value any) bool { _, ok := value.(map[string]any); return ok || value == nil }

// isEmpty reports whether a value is null, or a list or an object without elements.
func isEmpty(value any) bool {
	switch v := value.(type) {
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return value == nil
}

// isAnyOf returns a function that reports whether a value is one of those given. Numbers are compared as numbers.
func isAnyOf(values ...any) func(value any) bool {
	return func(value any) bool {
		return slices.ContainsFunc(values, func(v any) bool {
			n, ok := value.(json.Number)
			x, err := n.Float64()
			if !ok || err != nil {
				return v == value
			}
			return fmt.Sprint(v) == fmt.Sprint(x)
		})
	}
}
