package hfconfig

import (
	"encoding/json"
	"slices"
)

// fieldType is a field with types of Python.
type fieldType struct {
	name  string
	types []string
}

// fieldTypes are the types that transformers 5.23 demands of fields; it refuses to load a config.json with others. Fields that are
// not here it takes as they are, and may fail later (measured; see Refusals).
var fieldTypes = []fieldType{
	{"vocab_size", []string{"int"}},
	{"hidden_size", []string{"int"}},
	{"intermediate_size", []string{"int"}},
	{"num_hidden_layers", []string{"int"}},
	{"num_attention_heads", []string{"int"}},
	{"num_key_value_heads", []string{"int", "None"}},
	{"lru_width", []string{"int", "None"}},
	{"attention_window_size", []string{"int"}},
	{"conv1d_width", []string{"int"}},
	{"logits_soft_cap", []string{"float"}},
	{"rms_norm_eps", []string{"float"}},
	{"w_init_variance_scale", []string{"float"}},
	{"attention_dropout", []string{"float", "int"}},
	{"hidden_activation", []string{"str"}},
	{"use_cache", []string{"bool"}},
	{"attention_bias", []string{"bool"}},
	{"tie_word_embeddings", []string{"bool"}},
	{"pad_token_id", []string{"int", "None"}},
	{"bos_token_id", []string{"int", "None"}},
	{"eos_token_id", []string{"int", "list", "None"}},
	{"block_types", []string{"list"}},
}

// pythonType returns the type to which Python's json module decodes a value.
func pythonType(value any) string {
	switch value.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case string:
		return "str"
	case []any:
		return "list"
	case json.Number:
		if IsInteger(value) {
			return "int"
		}
		return "float"
	}
	return "dict"
}

// AsText says what transformers does with a field whose value is a text instead of a number or, if isBool, instead of true or false.
func AsText(field string, isBool bool) string {
	said, older := "a text, not a number", "older versions fail to compute with it"
	if isBool {
		said, older = "a text, not true or false", "older versions take any text for true"
	}
	if !slices.ContainsFunc(fieldTypes, func(f fieldType) bool { return f.name == field && !slices.Contains(f.types, "str") }) {
		if isBool {
			return said + ": transformers takes any text for true"
		}
		return said + ": transformers fails to compute with it"
	}
	return said + ": transformers 5.23 refuses to load it, and " + older
}
