package peft

import (
	"strings"
	"testing"
)

// Modules are chosen as check_target_module_exists of PEFT does.
func TestAdapts(t *testing.T) {
	q0, q2 := "model.layers.0.temporal_block.q_proj", "model.layers.2.temporal_block.q_proj"
	for _, tt := range []struct {
		config, module string
		saves, adapts  bool
	}{
		{`"target_modules": ["q_proj"]`, q0, false, true},
		{`"target_modules": ["proj"]`, q0, false, false},
		{`"target_modules": "q_proj"`, q0, false, false},
		{`"target_modules": ".*\\.(q|k)_proj"`, q0, false, true},
		{`"target_modules": ".*\\.q"`, q0, false, false},
		{`"target_modules": ["q_proj"], "exclude_modules": ["temporal_block.q_proj"]`, q0, false, false},
		{`"target_modules": ["q_proj"], "exclude_modules": "model.layers.0.*"`, q2, false, true},
		{`"target_modules": ["q_proj"], "layers_to_transform": [2]`, q0, false, false},
		{`"target_modules": ["q_proj"], "layers_to_transform": 2`, q2, false, true},
		{`"target_modules": ["q_proj"], "layers_to_transform": [2], "layers_pattern": "blocks"`, q2, false, false},
		{`"target_modules": ["model.layers.0.temporal_block.q_proj"], "layers_to_transform": [2]`, q0, false, true},
		{`"target_modules": ["q_proj"], "modules_to_save": ["temporal_block"]`, q0, true, false},
		{`"modules_to_save": ["tokens"]`, "model.embed_tokens", true, false},
		{`"modules_to_save": ["embed"]`, "model.embed_tokens", false, false},
		{`"target_modules": ["q_proj"], "layers_to_transform": [2], "layers_pattern": "layers"`, q2, false, true},
		{`"target_modules": ["q_proj"], "layers_to_transform": [2], "layers_pattern": "layers"`, "layers.2.q_proj", false, true},
		{`"target_modules": ["q_proj"], "layers_to_transform": [2]`, "layers.2.q_proj", false, false}, // nothing precedes the name before the number
		{`"target_modules": ["layers.2"], "layers_to_transform": [2]`, "model.layers.2", false, false},
		{`"target_modules": ["q_proj"], "layers_to_transform": [1]`, "model.q_proj", false, false},
		{`"target_modules": "` + strings.Repeat("q", 10_000) + `"`, strings.Repeat("q", 10_000), false, true},
		{`"target_modules": "(?=q)"`, q0, false, false},
	} {
		c, err := parseConfig([]byte(`{"peft_type": "LORA", ` + tt.config + `}`))
		if err != nil {
			t.Errorf("%s: %v", tt.config, err)
			continue
		}
		if c.Saves(tt.module) != tt.saves || c.Adapts(tt.module) != tt.adapts {
			t.Errorf("%s of %s: saved %v, adapted %v", tt.module, tt.config, c.Saves(tt.module), c.Adapts(tt.module))
		}
		if known := tt.config != `"target_modules": "(?=q)"`; c.TargetsKnown() != known {
			t.Errorf("%s: targets known: %v", tt.config, !known)
		}
	}
}

// An expression that is longer than any that programs write is not compiled.
func TestLongTargets(t *testing.T) {
	for n, known := range map[int]bool{10_000: true, 10_001: false} {
		c, err := parseConfig([]byte(`{"peft_type": "LORA", "target_modules": "` + strings.Repeat("q", n) + `"}`))
		if err != nil || c.TargetsKnown() != known {
			t.Errorf("%d bytes: %t, %v", n, c.TargetsKnown(), err)
		}
	}
}

func TestTrainsTokens(t *testing.T) {
	for indices, want := range map[string]bool{`null`: false, `[]`: false, `[0]`: true, `{}`: false, `{"e": []}`: false, `{"d": [], "e": [3, 4]}`: true} {
		c, err := parseConfig([]byte(`{"peft_type": "LORA", "trainable_token_indices": ` + indices + `}`))
		if err != nil || c.TrainsTokens() != want {
			t.Errorf("%s: %v", indices, err)
		}
	}
}
