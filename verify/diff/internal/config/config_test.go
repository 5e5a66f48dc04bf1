package config_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/verify/diff/internal/config"
)

// Numbers have their value, however they are written, and the dtype has both of its names.
func ExampleAsWritten() {
	fields := config.AsWritten(map[string]any{"logits_soft_cap": json.Number("30.0"), "dtype": "torch.bfloat16"}, nil)
	fmt.Println(config.Equal(fields["logits_soft_cap"], int64(30)), fields["torch_dtype"])
	// Output: true bfloat16
}

// Values are compared by what they mean, and shown as JSON.
func TestValues(t *testing.T) {
	for _, tt := range []struct {
		value any
		want  any
	}{
		{json.Number("30"), int64(30)}, {json.Number("30.0"), 30.0}, {json.Number("1e3"), 1000.0}, {json.Number("1e999"), "1e999"}, {"x", "x"}, {nil, nil}, {true, true},
		{map[string]any{"a": json.Number("1")}, `{"a":1}`},
	} {
		if got := config.AsWritten(map[string]any{"x": tt.value}, nil)["x"]; got != tt.want {
			t.Errorf("%v is %v (%T), want %v", tt.value, got, got, tt.want)
		}
	}
	list := func(items ...any) []any { return items }
	for _, tt := range []struct {
		a, b any
		want bool
	}{
		{int64(30), int64(30), true}, {int64(30), int64(31), false}, {int64(30), 30.0, true}, {30.0, int64(30), true}, {int64(30), 30.5, false}, {30.5, int64(30), false}, {30.5, 30.5, true}, {30.5, 30.0, false},
		{int64(30), "30", false}, {30.0, "30", false}, {"a", "a", true}, {"a", nil, false}, {nil, nil, true}, {list("a", int64(1)), list("a", 1.0), true}, {list("a"), list("b"), false},
		{list("a"), list("a", "a"), false}, {list("a"), "a", false}, {"a", list("a"), false},
	} {
		if got := config.Equal(tt.a, tt.b); got != tt.want {
			t.Errorf("%v and %v: %t", tt.a, tt.b, got)
		}
	}
	for _, tt := range []struct {
		value any
		want  string
	}{
		{list("recurrent", "recurrent", "attention"), "RRA"}, {list("recurrent", "other"), `["recurrent","other"]`}, {[]any{}, "[]"}, {"recurrent", `"recurrent"`}, {int64(3), "3"}, {nil, "null"},
		{math.Inf(1), "+Inf"},
	} {
		if got := config.Show(tt.value); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.value, got, tt.want)
		}
	}
}

// A field that is null, or in a part of config.json that is not about rotation, is not stated.
func TestStatedFields(t *testing.T) {
	for _, tt := range []struct {
		raw   map[string]any
		field string
		want  bool
	}{
		{map[string]any{"rms_norm_eps": 1e-6}, "rms_norm_eps", true},
		{map[string]any{"rms_norm_eps": nil}, "rms_norm_eps", false},
		{map[string]any{"text_config.rms_norm_eps": 1e-6}, "rms_norm_eps", false},
		{map[string]any{"rope_parameters.rope_theta": 500}, "rope_theta", true},
		{map[string]any{"rope_parameters.rope_theta": nil}, "rope_theta", false},
		{map[string]any{"rope_scaling.type": "linear"}, "rope_type", true},
		{map[string]any{"sliding_window": 8}, "attention_window_size", true},
		{map[string]any{"hidden_size": 8}, "rms_norm_eps", false},
	} {
		if got := config.States(tt.raw, tt.field); got != tt.want {
			t.Errorf("%v states %s: %t", tt.raw, tt.field, got)
		}
	}
}

// Shapes tell the fields whose tensors are there, and the kinds of blocks if they tell all of them.
func TestOfShapes(t *testing.T) {
	whole := model.Config{VocabSize: 5, Width: 4, MLPExpandedWidth: 3, NumHeads: 2, LRUWidth: 6, ConvWidth: 7, BlockTypes: []model.BlockType{model.Recurrent, model.Attention}}
	for _, tt := range []struct {
		name   string
		change func(*model.Config)
		lacks  []string
	}{
		{"all", func(*model.Config) {}, nil},
		{"no embedding", func(c *model.Config) { c.VocabSize = 0 }, []string{"vocab_size"}},
		{"a block of no kind", func(c *model.Config) { c.BlockTypes = append(slices.Clone(c.BlockTypes), model.UnknownKind) }, []string{"block_types"}},
		{"neither", func(c *model.Config) {
			c.LRUWidth, c.BlockTypes = 0, append(slices.Clone(c.BlockTypes), model.UnknownKind)
		}, []string{"block_types", "lru_width"}},
	} {
		c := whole
		tt.change(&c)
		fields := config.OfShapes(&c)
		for _, name := range []string{"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "block_types", "num_key_value_heads", "head_dim", "attention_bias", "lru_width", "conv1d_width"} {
			if _, has := fields[name]; has == slices.Contains(tt.lacks, name) {
				t.Errorf("%s: %s is there: %t", tt.name, name, has)
			}
		}
	}
}
