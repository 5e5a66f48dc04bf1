package hfconfig

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// read reads the fields of a config.json, to which it adds model_type if it is an object.
func read(text string) (*Config, error) {
	if rest, ok := strings.CutPrefix(text, "{"); ok && strings.HasSuffix(text, "}") && !strings.Contains(text, modelType) {
		text = strings.TrimSuffix(`{"model_type": "recurrent_gemma", `+rest, ", }")
		if rest == "}" {
			text += "}"
		}
	}
	return Read(holding(text), Name)
}

// What transformers 5 saved of the repository's fixture.
func TestReadSaved(t *testing.T) {
	c, err := Read(storage.Local("../../testdata/odd-griffin/hf"), Name)
	if err != nil {
		t.Fatal(err)
	}
	if c.VocabSize != 61 || c.HiddenSize != 36 || c.IntermediateSize != 104 || c.NumAttentionHeads != 3 || c.NumKeyValueHeads != 1 ||
		c.LRUWidth != 30 || c.AttentionWindowSize != 5 || c.LogitsSoftCap != 20 || c.Rope.Theta != 10000 || c.Rope.PartialFactor != 0.5 ||
		!c.TieWordEmbeddings || !slices.Equal(c.Layers(), []string{Attention, Recurrent, Attention}) {
		t.Errorf("%+v", c)
	}
	if !c.Has("vocab_size") || c.Has("rope_theta") {
		t.Error("present fields are not told from absent ones")
	}
}

// transformers' defaults, those that depend on other fields, and the names of either version.
func TestRead(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       func(*Config) bool
	}{
		{"defaults", `{}`, func(c *Config) bool {
			return c.HiddenSize == 2560 && c.LRUWidth == 2560 && c.NumKeyValueHeads == 10 && c.IntermediateSize == 7680 && c.NumHiddenLayers == 26 &&
				c.VocabSize == 256000 && c.Conv1DWidth == 4 && c.AttentionWindowSize == 2048 && c.LogitsSoftCap == 30 && c.RMSNormEps == 1e-6 &&
				c.HiddenActivation == "gelu_pytorch_tanh" && c.Rope.Type == "default" && c.ModelType == "recurrent_gemma" && c.TieWordEmbeddings
		}},
		{"null", `{"lru_width": null, "num_key_value_heads": null, "hidden_size": 64, "rope_parameters": null}`, func(c *Config) bool {
			return c.LRUWidth == 64 && c.NumKeyValueHeads == 10
		}},
		{"version 4", `{"rope_theta": 500.0, "partial_rotary_factor": 0.25}`, func(c *Config) bool { return c.Rope.Theta == 500 && c.Rope.PartialFactor == 0.25 }},
		{"version 5", `{"rope_parameters": {"rope_theta": 500, "partial_rotary_factor": 0.25, "rope_type": "yarn"}}`, func(c *Config) bool {
			return c.Rope.Theta == 500 && c.Rope.PartialFactor == 0.25 && c.Rope.Type == "yarn"
		}},
		{"both", `{"rope_theta": 500.0, "rope_parameters": {"rope_theta": 500}}`, func(c *Config) bool { return c.Rope.Theta == 500 }},
		{"pattern", `{"block_types": ["attention", "recurrent"], "num_hidden_layers": 3}`, func(c *Config) bool {
			return slices.Equal(c.Layers(), []string{Attention, Recurrent, Attention})
		}},
		{"pattern of two", `{"block_types": ["attention", "recurrent"], "num_hidden_layers": 150}`, func(c *Config) bool { return len(c.Layers()) == 150 }},
		{"the largest number", `{"vocab_size": 2147483647}`, func(c *Config) bool { return c.VocabSize == 2147483647 }},
		{"not one for each layer", `{"per_layer_config": {}, "embeddings_scale_by_sqrt_dim": true}`, func(c *Config) bool { return !c.PerLayer && !c.Unscaled && !c.Repatterned }},
		{"one for each layer", `{"per_layer_config": {"0": {}}, "embeddings_scale_by_sqrt_dim": false, "_block_types": ["attention"]}`, func(c *Config) bool {
			return c.PerLayer && c.Unscaled && c.Repatterned
		}},
		{"an empty object", `{"rope_scaling": {}, "rope_parameters": {"rope_theta": 500}}`, func(c *Config) bool { return c.Rope.Theta == 500 }},
		{"pattern too short", `{"block_types": ["recurrent"], "num_hidden_layers": 2000000000}`, func(c *Config) bool { return len(c.Layers()) == 100 }},
		{"unknown fields", `{"auto_map": {"a": [1, {}]}, "quantization_config": null}`, func(c *Config) bool { return c.HiddenSize == 2560 }},
	} {
		c, err := read(tt.text)
		if err != nil || !tt.want(c) {
			t.Errorf("%s: %+v, %v", tt.name, c, err)
		}
	}
}

// What is broken is a *FormatError that names file and field.
func TestReadRefuses(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`[]`, "not a JSON object"},
		{`x`, "config.json: line 1, column 1: "},
		{`{"vocab_size": 2147483648}`, "vocab_size"},
		{`{"vocab_size": 1`, "config.json: line 1, column 17: JSON text ends"},
		{"{\n  \"vocab_size\": 1\n  \"lru_width\": 2\n}", `config.json: line 3, column 3: a comma is missing before this key`},
		{"{\n  \"vocab_size\": 1,\n}", `config.json: line 2, column 18: a comma before }, which JSON does not have`},
		{`{"vocab_size": 1, "vocab_size": 2}`, "vocab_size"},
		{`{"vocab_size": "many"}`, `field "vocab_size" is "many", not an integer from 1 to 2147483647`},
		{`{"attention_window_size": 8.0}`, `field "attention_window_size" is 8.0, not an integer from 1 to 2147483647`},
		{`{"vocab_size": 1.5}`, "vocab_size"},
		{`{"vocab_size": -1}`, "vocab_size"},
		{`{"vocab_size": 99999999999}`, `is 99999999999, not an integer from 1 to 2147483647`},
		{`{"hidden_size": null}`, `field "hidden_size" is null`},
		{`{"logits_soft_cap": "30"}`, "logits_soft_cap"},
		{`{"logits_soft_cap": 1e999}`, "logits_soft_cap"},
		{`{"tie_word_embeddings": 1}`, `not true or false`},
		{`{"hidden_activation": {}}`, `is an object, not a string`},
		{`{"block_types": "recurrent"}`, "block_types"},
		{`{"block_types": []}`, "block_types"},
		{`{"block_types": ["recurrent", "mamba"]}`, `"mamba"`},
		{`{"rope_parameters": [1]}`, "rope_parameters"},
		{`{"rope_theta": null}`, "rope_theta"},
		{`{"rope_parameters": {"partial_rotary_factor": null}}`, `field "rope_parameters.partial_rotary_factor" is null, not a number`},
		{`{"rope_scaling": {"type": 3}}`, `field "rope_scaling.type" is 3, not a string`},
		{`{"rope_scaling": "linear"}`, `field "rope_scaling" is "linear", not an object`},
		{`{"rope_parameters": {"sliding_attention": {"rope_theta": 1.0}}}`, `field "rope_parameters.sliding_attention" has parameters for one kind of layers`},
		{`{"head_dim": null}`, `field "head_dim" is null`},
		{strings.Repeat(" ", MaxSize+1), "longer than"},
		{strings.Repeat(`{"a":`, 100), ""},
	} {
		_, err := read(tt.text)
		var bad *tensor.FormatError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), Name) {
			t.Errorf("%.60s: %v", tt.text, err)
		}
	}
	if _, err := Read(holding("{}"), "."); err == nil {
		t.Error("a directory was read")
	}
	if _, err := Read(holding("{}"), "other.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Parse and ParseFields take the content of a file without its name.
func TestParse(t *testing.T) {
	c, err := Parse([]byte(`{"hidden_size": 64}`))
	if err != nil || c.HiddenSize != 64 || c.LRUWidth != 64 {
		t.Errorf("%+v, %v", c, err)
	}
	fields, err := ParseFields([]byte(`{"hidden_size": 64, "a": {"b": true}}`))
	if err != nil || len(fields) != 2 || fields["a.b"] != true {
		t.Errorf("%v, %v", fields, err)
	}
	for _, text := range []string{"", "[]", `{"a": 1,}`} {
		_, errParse := Parse([]byte(text))
		_, errFields := ParseFields([]byte(text))
		var bad *tensor.FormatError
		if !errors.As(errParse, &bad) || !errors.As(errFields, &bad) {
			t.Errorf("%s: %v, %v", text, errParse, errFields)
		}
	}
}

func FuzzRead(f *testing.F) {
	saved, err := os.ReadFile(filepath.Join("..", "..", "testdata", "odd-griffin", "hf", Name))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(saved)
	f.Add([]byte(`{"block_types": ["recurrent"], "rope_parameters": {"rope_theta": 1e4}, "lru_width": null}`))
	f.Add([]byte(`{"rope_theta": 1, "rope_parameters": {"rope_theta": 2}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		object, err := parseObject(text)
		var c *Config
		if err == nil {
			c, err = interpret(object)
		}
		var bad *tensor.FormatError
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("%T: %v", err, err)
		}
		if err == nil {
			c.Layers()
		}
	})
}
