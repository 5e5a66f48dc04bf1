package peft

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// harmless are the fields of LoraConfig that a merge uses, or that only concern training.
var harmless = []string{
	"peft_type", "base_model_name_or_path", "peft_version", "r", "lora_alpha", "use_rslora", "use_dora", "bias", "rank_pattern", "alpha_pattern",
	"target_modules", "exclude_modules", "modules_to_save", "trainable_token_indices", "lora_bias",
	"task_type", "inference_mode", "revision", "auto_mapping", "lora_dropout", "init_lora_weights", "layers_to_transform", "layers_pattern",
	"fan_in_fan_out", // PEFT resets it for the layers of the family
	"ensure_weight_tying", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size", "megatron_core", "runtime_config",
	"velora_config", // concerns the backward pass only
}

// unlikeLoRA are the fields which, if set, make the adapted model other than W + scaling·B·A.
var unlikeLoRA = []struct{ name, why string }{
	{"layer_replication", "the adapted model has other layers than its base"},
	{"target_parameters", "adapters of bare parameters are not read"},
	{"alora_invocation_tokens", "it acts on some tokens only, so that no merged model is the same"},
	{"arrow_config", "it routes tokens between adapters, so that no merged model is the same"},
	{"use_bdlora", "block-diagonal factors are not read"},
	{"kasa_config", "it takes singular values from the base"},
	{"monteclora_config", "it is drawn at random"},
	{"use_qalora", "it is made for a quantised base"},
	{"megatron_config", "layers of Megatron are not read"},
}

// changedBases are the values of init_lora_weights with which PEFT changes the base before training. The adapter then
// applies to a base that was not published.
var changedBases = []string{"pissa", "olora", "corda", "loftq", "lora_ga"}

// refusals returns why an adapter with this configuration cannot be merged exactly.
func refusals(o *strictjson.Object) []string {
	var out []string
	for _, f := range unlikeLoRA {
		if v, _ := o.Get(f.name); isSet(v) {
			out = append(out, f.name+": "+f.why)
		}
	}
	if v, _ := o.Get("init_lora_weights"); v != nil {
		s, _ := v.(string)
		for _, init := range changedBases {
			if s == init || strings.HasPrefix(s, init+"_niter_") {
				out = append(out, "init_lora_weights "+s+": training began from a changed base; PEFT's path_initial_model_for_weight_conversion saves it as a plain adapter")
			}
		}
	}
	for _, key := range o.Keys() {
		known := slices.Contains(harmless, key)
		for _, f := range unlikeLoRA {
			known = known || key == f.name
		}
		if v, _ := o.Get(key); !known && isSet(v) {
			out = append(out, tensor.QuoteName(key)+": an unknown field")
		}
	}
	return out
}

// isSet reports whether a value is not null, false, 0 or empty.
func isSet(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case *strictjson.Object:
		return v.Len() > 0
	case json.Number:
		x, err := v.Float64()
		return err != nil || x != 0
	}
	return true
}
