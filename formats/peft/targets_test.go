package peft

import "testing"

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
