package hfconfig

import (
	"slices"
	"strings"
	"testing"
)

// TestRope has what RecurrentGemmaConfig.from_pretrained of transformers 5.23.0 and 4.57.3 was seen to take from each file.
func TestRope(t *testing.T) {
	for _, tt := range []struct {
		text         string
		newer, older Rope
		notes        []string // parts of the notes, in order
	}{
		{`{}`, defaultRope, defaultRope, nil},
		{`{"rope_theta": 500, "partial_rotary_factor": 0.499}`, Rope{500, 0.499, "default"}, Rope{500, 0.499, "default"}, nil},
		{`{"rope_parameters": {"rope_theta": 500.0}}`, Rope{500, 0.5, "default"}, defaultRope, []string{"rope_theta is 500 for transformers 5.23"}},
		{`{"rope_theta": 7, "rope_parameters": {"rope_theta": 1e6}}`, Rope{1e6, 0.5, "default"}, Rope{7, 0.5, "default"}, []string{"rope_theta is 1000000 for transformers 5.23, which reads it in rope_parameters, and 7 for 4.57"}},
		{`{"rope_theta": 7, "rope_parameters": {"rope_theta": 500.0}}`, Rope{500, 0.5, "default"}, Rope{7, 0.5, "default"}, []string{"and 7 for 4.57, which reads it at the top level only"}},
		{`{"rope_theta": 7, "rope_parameters": {"partial_rotary_factor": 0.499}}`, Rope{7, 0.499, "default"}, Rope{7, 0.5, "default"}, []string{"partial_rotary_factor is 0.499 for transformers 5.23"}},
		{`{"partial_rotary_factor": null}`, Rope{10000, 1, "default"}, Rope{10000, 0, "default"}, []string{"rotates all of each head, and 4.57 fails", "rotates the first half of each head, in pairs, or fails"}},
		{`{"partial_rotary_factor": null, "rope_parameters": {"partial_rotary_factor": 0.5}}`, defaultRope, Rope{10000, 0, "default"}, []string{"and 4.57 fails"}},
		{`{"rope_theta": 7, "rope_parameters": null}`, Rope{7, 0.5, "default"}, Rope{7, 0.5, "default"}, nil},
		{`{"rope_theta": 7, "rope_parameters": {}, "rope_scaling": null}`, Rope{7, 0.5, "default"}, Rope{7, 0.5, "default"}, nil},
		{`{"rope_scaling": {"rope_theta": 33.0}, "rope_parameters": {"rope_theta": 500.0, "partial_rotary_factor": 0.499}}`, Rope{33, 0.5, "default"}, defaultRope, []string{"rope_theta is 33"}},
		{`{"rope_scaling": {}, "rope_parameters": {"rope_theta": 10000, "foo": {"a": 1}}}`, defaultRope, defaultRope, nil},
		{`{"rope_scaling": {"type": "linear"}}`, Rope{10000, 0.5, "linear"}, defaultRope, nil},
		{`{"rope_parameters": {"type": "linear", "rope_type": "yarn"}}`, Rope{10000, 0.5, "yarn"}, defaultRope, nil},
		{`{"rope_parameters": {"rope_theta": 500.0}, "block_types": ["recurrent"]}`, Rope{500, 0.5, "default"}, defaultRope, nil},
	} {
		c, err := read(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if c.Rope != tt.newer || c.Rope4 != tt.older {
			t.Errorf("%s: %v and %v, want %v and %v", tt.text, c.Rope, c.Rope4, tt.newer, tt.older)
		}
		if !sameNotes(c.Notes, tt.notes) {
			t.Errorf("%s: notes %q, want %q", tt.text, c.Notes, tt.notes)
		}
	}
}

func sameNotes(got, parts []string) bool {
	return slices.EqualFunc(got, parts, strings.Contains)
}

// TestUnsupported4 has configurations that transformers 4.57.3 was seen to run, and others with which it was seen to fail.
func TestUnsupported4(t *testing.T) {
	const base = `"hidden_size": 32, "num_attention_heads": 4`
	for text, parts := range map[string][]string{
		`{` + base + `}`: nil,
		`{` + base + `, "partial_rotary_factor": 0.4, "hidden_activation": "silu", "num_key_value_heads": 2, "attention_bias": true}`: nil,
		`{` + base + `, "partial_rotary_factor": 0.25}`:                               {"partial_rotary_factor is 0.25"},
		`{` + base + `, "partial_rotary_factor": 0.34}`:                               {"partial_rotary_factor is 0.34"},
		`{` + base + `, "partial_rotary_factor": 0.75}`:                               {"partial_rotary_factor is 0.75"},
		`{` + base + `, "partial_rotary_factor": 1.0}`:                                {"partial_rotary_factor is 1"},
		`{` + base + `, "partial_rotary_factor": 0}`:                                  {"partial_rotary_factor is 0"},
		`{` + base + `, "partial_rotary_factor": 0, "block_types": ["recurrent"]}`:    nil,
		`{"hidden_size": 8, "num_attention_heads": 4}`:                                {"heads have 2 channels: transformers 4.57 computes with another number of channels, without an error"},
		`{"hidden_size": 8, "num_attention_heads": 4, "partial_rotary_factor": 0.2}`:  {"without an error"},
		`{"hidden_size": 8, "num_attention_heads": 4, "partial_rotary_factor": 0.75}`: {"in pairs, or fails"},
		`{` + base + `, "head_dim": 6}`:                                               {"4 heads of 6 channels do not make hidden_size 32", "partial_rotary_factor is 0.5"},
		`{"hidden_size": 32, "num_attention_heads": 3}`:                               {"3 heads of 10 channels", "partial_rotary_factor is 0.5"},
		`{` + base + `, "hidden_activation": "hardswish"}`:                            {"hidden_activation is hardswish"},
		`{"hidden_activation": "sqrtsoftplus", "block_types": ["recurrent"]}`:         {"hidden_activation is sqrtsoftplus"},
	} {
		c, err := read(text)
		if err != nil || !sameNotes(c.Notes, parts) || !slices.Equal(c.Notes, c.Unsupported4()) {
			t.Errorf("%s: %q, %v, want %q", text, c.Notes, err, parts)
		}
	}
}

// TestUnsettable: a field that transformers cannot set is noted.
func TestUnsettable(t *testing.T) {
	for field, part := range map[string]string{"layer_types": "4.57 ignores it", "is_heterogeneous": "4.57 ignores it", "layers_block_type": "neither transformers 5.23 nor 4.57"} {
		c, err := read(`{"` + field + `": ["recurrent"]}`)
		if err != nil || !sameNotes(c.Notes, []string{field + " is there"}) || !strings.Contains(c.Notes[0], part) {
			t.Errorf("%s: %q, %v", field, c.Notes, err)
		}
	}
}
