package hfconfig_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
)

// What fails in one version is loaded by the other. What is in other files than griffin reads is not loaded from these.
func TestDepartureLoads(t *testing.T) {
	for field, loads := range map[string]bool{`"pruned_heads": {"0": [1]}`: true, `"quantization_config": null`: true, `"quantization_config": {"bits": 4}`: true, `"auto_map": [1]`: true,
		`"attribute_map": {}`: false, `"text_config": {}`: false, `"to_dict": 1`: false, `"transformers_weights": "x"`: false, `"layer_types": []`: true, `"layers_block_type": []`: false} {
		fields, err := hfconfig.ParseFields([]byte("{" + field + "}"))
		if d := hfconfig.Departures(fields); err != nil || len(d) != 1 || d[0].Loads() != loads {
			t.Errorf("%s: %+v, %v", field, d, err)
		}
	}
}

// Each field is a departure, for generate(), unknown, or none of these, by its value.
func TestDepartures(t *testing.T) {
	for _, tt := range []struct{ field, departs, generates, unknown string }{
		{`"auto_map": {"AutoModel": "a.B"}`, "auto_map", "", ""},
		{`"auto_map": {}`, "", "", ""},
		{`"auto_map": []`, "", "", ""},
		{`"auto_map": [1]`, "auto_map", "", ""},
		{`"auto_map": null`, "", "", ""},
		{`"pruned_heads": {"0": [1]}`, "pruned_heads", "", ""},
		{`"pruned_heads": {}`, "", "", ""},
		{`"is_encoder_decoder": true`, "is_encoder_decoder", "", ""},
		{`"is_encoder_decoder": false`, "", "", ""},
		{`"is_causal": true`, "", "", ""},
		{`"is_causal": null`, "is_causal", "", ""},
		{`"attribute_map": {}`, "attribute_map", "", ""},
		{`"transformers_weights": "x"`, "transformers_weights", "", ""},
		{`"quantization_config": {}`, "quantization_config", "", ""},
		{`"quantization_config": null`, "quantization_config", "", ""},
		{`"base_model_tp_plan": {"layers.*": "colwise"}`, "", "", ""},
		{`"base_model_tp_plan": true`, "base_model_tp_plan", "", ""},
		{`"to_dict": null`, "to_dict", "", ""},
		{`"attn_implementation": "eager"`, "", "", ""},
		{`"attn_implementation": "flash_attention_2"`, "attn_implementation", "", ""},
		{`"number_of_conv_states": 1`, "", "", ""},
		{`"number_of_conv_states": 2`, "", "", ""},
		{`"number_of_conv_states": "x"`, "number_of_conv_states", "", ""},
		{`"ignore_keys_at_rope_validation": ["x"]`, "", "", ""},
		{`"ignore_keys_at_rope_validation": 3`, "ignore_keys_at_rope_validation", "", ""},
		{`"validate_rope": 3`, "", "", ""},
		{`"do_sample": true`, "", "do_sample", ""},
		{`"do_sample": false`, "", "", ""},
		{`"temperature": 1`, "", "", ""},
		{`"temperature": 0.7`, "", "temperature", ""},
		{`"top_k": 50.0`, "", "", ""},
		{`"suppress_tokens": [1]`, "", "suppress_tokens", ""},
		{`"hidden_size": "x"`, "", "", ""},
		{`"rope_parameters": {"rope_theta": 1}`, "", "", ""},
		{`"_name_or_path": {"a": 1}`, "", "", ""},
		{`"problem_type": "x"`, "", "", "problem_type"},
		{`"id2label": {"0": "a"}`, "", "", ""},
		{`"id2label": 1`, "", "", "id2label"},
		{`"memory": {"slots": {"n": 1}}`, "", "", "memory"},
		{`"memory": null`, "", "", ""},
		{`"memory": []`, "", "", "memory"},
	} {
		source := fstest.MapFS{"config.json": {Data: []byte("{" + tt.field + "}")}}
		fields, err := hfconfig.Fields(source, "config.json")
		if err != nil {
			t.Fatal(err)
		}
		var departs []string
		for _, d := range hfconfig.Departures(fields) {
			departs = append(departs, d.Field)
			if d.Effect == "" {
				t.Errorf("%s: no effect", tt.field)
			}
		}
		for _, got := range []struct {
			what  string
			names []string
			want  string
		}{{"departs", departs, tt.departs}, {"generates", hfconfig.GenerationFields(fields), tt.generates}, {"unknown", hfconfig.UnknownFields(fields), tt.unknown}} {
			if strings.Join(got.names, " ") != got.want || !slices.IsSorted(got.names) {
				t.Errorf("%s: %s %q, want %q", tt.field, got.what, got.names, got.want)
			}
		}
	}
}
