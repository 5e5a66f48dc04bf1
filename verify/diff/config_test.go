package diff

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff/internal/config"
)

// configWith returns a checkpoint whose config.json has fields changed, or removed (nil).
func configWith(t *testing.T, changes map[string]any) *tensor.Checkpoint {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(testdata + "micro-griffin/hf/config.json")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	for name, value := range changes {
		if fields[name] = value; value == nil {
			delete(fields, name)
		}
	}
	if text, err = json.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	weights, err := os.ReadFile(testdata + "micro-griffin/hf/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"config.json": text, "model.safetensors": weights} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return open(t, dir)
}

// What a text does where a number belongs is said of the side that has it, and not what another number would do.
func TestEffects(t *testing.T) {
	const refused = "transformers 5.23 refuses to load it, and older versions "
	for _, tt := range []struct {
		name string
		x, y any
		want string
	}{
		{"logits_soft_cap", 30.0, "30.0", "in B a text, not a number: " + refused + "fail to compute with it"},
		{"attention_window_size", "16", int64(16), "in A a text, not a number: " + refused + "fail to compute with it"},
		{"attention_bias", false, "false", "in B a text, not true or false: " + refused + "take any text for true"},
		{"head_dim", int64(8), "8", "in B a text, not a number: transformers fails to compute with it"},
		{"logits_soft_cap", 30.0, 20.0, "logits are capped differently"},
		{"logits_soft_cap", 30.0, 0.0, "in transformers, which divides by it, all logits are zero in B"},
		{"logits_soft_cap", 0.0, 30.0, "in transformers, which divides by it, all logits are zero in A"},
		{"hidden_activation", "gelu", "silu", "the MLP and the recurrent block's gate apply another function"},
		{"attention_window_size", int64(16), int64(8), "attention reaches less far in B"},
		{"attention_window_size", int64(8), int64(16), "attention reaches less far in A"},
		{"attention_window_size", int64(8), nil, "attention reaches less far in one of them"},
		{"num_hidden_layers", int64(2), int64(3), "the models have different numbers of blocks"},
	} {
		if got := effectOf(tt.name, tt.x, tt.y); got != tt.want {
			t.Errorf("%s %v, %v: %q, not %q", tt.name, tt.x, tt.y, got, tt.want)
		}
	}
}

// Configurations are compared by their meaning.
func TestConfigs(t *testing.T) {
	for _, tt := range []struct {
		name    string
		changes map[string]any
		fields  []string
	}{
		{"itself", nil, nil},
		{"another window", map[string]any{"attention_window_size": 9}, []string{"attention_window_size"}},
		{"integers that are floats", map[string]any{"logits_soft_cap": 30, "rms_norm_eps": 1e-6}, nil},
		{"who wrote it", map[string]any{"transformers_version": "4.57.1", "_name_or_path": "x", "use_cache": "never", "initializer_range": 0.5}, nil},
		{"defaults left out", map[string]any{"hidden_activation": nil, "attention_bias": nil, "rms_norm_eps": nil, "attention_dropout": nil, "pad_token_id": nil}, nil},
		{"dtype by its old name", map[string]any{"dtype": nil, "torch_dtype": "float16"}, nil},
		{"rope where version 4 has it", map[string]any{"rope_parameters": nil}, nil},
		{"other ends", map[string]any{"eos_token_id": []int{1, 107}, "pad_token_id": 3}, []string{"eos_token_id", "pad_token_id"}},
		{"another end", map[string]any{"eos_token_id": 107}, []string{"eos_token_id"}},
		{"a pattern written out", map[string]any{"block_types": []string{"recurrent", "attention", "recurrent", "attention"}}, nil},
		{"quantised", map[string]any{"quantization_config": map[string]any{"quant_method": "x"}}, []string{"quantization_config.quant_method"}},
		{"quantised, and it does not say how", map[string]any{"quantization_config": map[string]any{}}, []string{"quantization_config"}},
		{"another architecture", map[string]any{"architectures": []string{"GemmaForCausalLM"}}, []string{"architectures"}},
		{"no architecture", map[string]any{"architectures": nil}, nil},
		{"another head_dim", map[string]any{"head_dim": 16}, []string{"head_dim"}},
		{"no head_dim", map[string]any{"head_dim": nil}, nil},
		{"another dtype", map[string]any{"dtype": "bfloat16"}, []string{"dtype"}},
		{"another dtype under its old name, which older programs read", map[string]any{"torch_dtype": "bfloat16"}, []string{"torch_dtype"}},
		{"the same dtype under both names", map[string]any{"torch_dtype": "float16"}, nil},
		{"rotated otherwise where version 4 reads it, which the other file does not state", map[string]any{"rope_theta": 500.0, "partial_rotary_factor": 0.25}, []string{config.OlderFactor, config.OlderTheta}},
		{"rotated otherwise in version 5, which is said, and a note says what version 4 takes", map[string]any{"rope_parameters": map[string]any{"rope_theta": 500.0}}, []string{"rope_theta"}},
		{"rotated otherwise in every version", map[string]any{"rope_theta": 500.0, "rope_parameters": map[string]any{"rope_theta": 500.0}}, []string{"rope_theta"}},
		{"another window where version 4 reads it", map[string]any{"attention_window_size": 9, "sliding_window": 6}, []string{config.OlderWindow}},
		{"code", map[string]any{"auto_map": map[string]any{"AutoConfig": "a.B"}}, []string{"auto_map.AutoConfig"}},
		{"no code", map[string]any{"auto_map": map[string]any{}}, nil},
		{"a number that is text, which transformers does not read", map[string]any{"vocab_size": "128"}, []string{"vocab_size"}},
		{"unknown to griffin", map[string]any{"label": "x"}, []string{"label"}},
		{"another name of the same function", map[string]any{"hidden_activation": "gelu_new"}, nil},
		{"another function", map[string]any{"hidden_activation": "gelu"}, []string{"hidden_activation"}},
		{"no type, with which nothing loads it", map[string]any{"model_type": nil}, []string{"model_type"}},
		{"a dtype in a form that nothing loads", map[string]any{"dtype": "torch.float16"}, []string{"dtype"}},
	} {
		sides := [2]*tensor.Checkpoint{open(t, testdata+"micro-griffin/hf"), configWith(t, tt.changes)}
		for first, c := range sides {
			r, err := Diff(t.Context(), c, sides[1-first], Options{})
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			var fields []string
			for _, c := range r.Config {
				fields = append(fields, c.Field)
			}
			if !reflect.DeepEqual(fields, tt.fields) || r.Equal != (len(fields) == 0) {
				t.Errorf("%s, %d first: %+v", tt.name, first, r.Config)
			}
		}
	}
	if got := effectOf("dtype", nil, "float32"); got != "without it, in A, transformers 5.23 takes the dtype of the weights, and 4.57 float32" {
		t.Error(got)
	}
	// A default is not said to be in the file.
	for _, tt := range []struct {
		name             string
		changes, changed map[string]any
		defaultB         bool
	}{
		{"attention_window_size", map[string]any{"attention_window_size": nil}, nil, true},
		{"attention_window_size", map[string]any{"attention_window_size": nil, "sliding_window": 9}, nil, false},
		{"num_key_value_heads", map[string]any{"num_key_value_heads": nil}, nil, true},
		{"rope_theta", map[string]any{"rope_parameters": nil}, map[string]any{"rope_parameters": map[string]any{"rope_theta": 500.0}}, true},
		{"rope_theta", map[string]any{"rope_parameters": map[string]any{"rope_theta": 10000.0}}, map[string]any{"rope_parameters": map[string]any{"rope_theta": 500.0}}, false},
		{"rope_type", map[string]any{"rope_parameters": map[string]any{"type": "linear"}}, nil, false},
		{"dtype", map[string]any{"dtype": nil, "torch_dtype": "bfloat16"}, nil, false},
	} {
		for swapped := range 2 {
			sides := []*tensor.Checkpoint{configWith(t, tt.changed), configWith(t, tt.changes)}
			if swapped == 1 {
				slices.Reverse(sides)
			}
			r, err := Diff(t.Context(), sides[0], sides[1], Options{})
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(r.Config, func(c ConfigDifference) bool { return c.Field == tt.name })
			if at < 0 || [2]bool{r.Config[at].DefaultA, r.Config[at].DefaultB} != [2]bool{swapped == 1 && tt.defaultB, swapped == 0 && tt.defaultB} {
				t.Errorf("%s, %v: %+v", tt.name, tt.changes, r.Config)
			}
		}
	}
	// An original has only the fields that its shapes tell.
	r, err := Diff(t.Context(), open(t, testdata+"micro-griffin/original/torch.pt"), configWith(t, map[string]any{"attention_window_size": 9}), Options{})
	if err != nil || !r.Equal {
		t.Errorf("an original: %v, %+v", err, r)
	}
	named := configWith(t, map[string]any{"attention_window_size": 9})
	named.Notes = []string{"a note"}
	r, err = Diff(t.Context(), named, open(t, testdata+"micro-griffin/original/torch.pt"), Options{})
	if err != nil || !r.Equal || !slices.Contains(r.Notes, "A: a note") || !slices.Contains(r.Notes, "B, an original, has no config.json: only what its shapes show was compared") {
		t.Errorf("an original for B: %v, %+v", err, r)
	}
	original := open(t, testdata+"micro-griffin/original/torch.pt")
	original.Notes = []string{"another note"}
	if r, err := Diff(t.Context(), named, original, Options{}); err != nil || !slices.Contains(r.Notes, "B: another note") {
		t.Errorf("notes: %v, %+v", err, r)
	}
	r, err = Diff(t.Context(), open(t, testdata+"micro-griffin/original/torch.pt"), configWith(t, map[string]any{"num_attention_heads": 4}), Options{})
	if err != nil || len(r.Config) != 1 || r.Config[0].A != "2" || r.Config[0].B != "4" {
		t.Errorf("other heads: %v, %+v", err, r)
	}
}

// The config.json of a model that is not recognised, because its tensors have other names, is compared by its meaning as well, unless it is
// of another family.
func TestConfigsOfUnknownNames(t *testing.T) {
	for _, tt := range []struct {
		name    string
		changes map[string]any
		fields  []string
	}{
		{"the same", nil, nil},
		{"as version 4 writes it, without defaults", map[string]any{"rope_parameters": nil, "hidden_activation": nil}, nil},
		{"another window", map[string]any{"attention_window_size": 9}, []string{"attention_window_size"}},
		{"of another family", map[string]any{"model_type": "x"}, []string{"model_type"}},
	} {
		c := configWith(t, tt.changes)
		other := presented(t, c.Path, func(name string) string { return strings.ReplaceAll(name, "model.layers", "model.blocks") })
		other.Source, other.Root = c.Source, c.Root
		sides := [2]*tensor.Checkpoint{open(t, testdata+"micro-griffin/hf"), other}
		for first := range sides {
			r, err := Diff(t.Context(), sides[first], sides[1-first], Options{})
			if err != nil {
				t.Fatal(err)
			}
			var fields []string
			for _, c := range r.Config {
				fields = append(fields, c.Field)
			}
			if !slices.Equal(fields, tt.fields) || r.A.Layout != "" && r.B.Layout != "" {
				t.Errorf("%s, %d first: %+v", tt.name, first, r.Config)
			}
		}
	}
}

// Of models with different numbers of blocks, the types differ only if a block that both have has another.
func TestTypesOfBlocks(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"RRARR", "RRARRA", "num_hidden_layers"},
		{"RRARR", "RRA", "num_hidden_layers"},
		{"RRARR", "RAR", "block_types num_hidden_layers"},
		{"RRARR", "RRRRR", "block_types"},
	} {
		sides := [2]*sideConfig{}
		for i, types := range []string{tt.a, tt.b} {
			var blocks []any
			for _, kind := range strings.Split(types, "") {
				blocks = append(blocks, kind)
			}
			sides[i] = &sideConfig{complete: true, fields: config.Fields{"num_hidden_layers": int64(len(types)), "block_types": blocks}}
		}
		d := newDiffer(Options{})
		configs{d}.compareFields(sides[0], sides[1])
		// of a list that stands for more blocks than it names, as a file of another family may have it
		sides[1].fields["num_hidden_layers"] = int64(len(tt.a))
		repeated := newDiffer(Options{})
		configs{repeated}.compareFields(sides[0], sides[1])
		var fields []string
		for _, c := range d.result.Config {
			fields = append(fields, c.Field)
		}
		if got := strings.Join(fields, " "); got != tt.want || len(repeated.result.Config) != 1 || repeated.result.Config[0].Field != "block_types" {
			t.Errorf("%s and %s: %s, and %+v", tt.a, tt.b, got, repeated.result.Config)
		}
	}
}

// The other files that transformers acts on are compared.
func TestFilesBeside(t *testing.T) {
	generation, err := os.ReadFile(testdata + "micro-griffin/hf/generation_config.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		files map[string]string // beside the weights of B
		drop  string            // file of B
		want  []string          // fields
	}{
		{"nothing", nil, "", nil},
		{"the same generation", map[string]string{"generation_config.json": string(generation)}, "", nil},
		{"the same generation in other words", map[string]string{"generation_config.json": `{"eos_token_id": 1, "bos_token_id": 2.0, "pad_token_id": 0}`}, "", nil},
		{"another generation", map[string]string{"generation_config.json": `{"eos_token_id": 5, "bos_token_id": 2, "pad_token_id": 0, "do_sample": true}`}, "", []string{"generation_config.json: do_sample", "generation_config.json: eos_token_id"}},
		{"a broken generation", map[string]string{"generation_config.json": `{`}, "", []string{"generation_config.json"}},
		{"a tokenizer", map[string]string{"tokenizer.json": "{}", "additional_chat_templates/a.jinja": "x"}, "", []string{"additional_chat_templates/a.jinja", "tokenizer.json"}},
		{"an adapter", map[string]string{"adapter_config.json": "{}"}, "", []string{"adapter_config.json"}},
		{"code", map[string]string{"custom_generate/generate.py": "x"}, "", []string{"custom_generate/generate.py"}},
		{"documents", map[string]string{"README.md": "x", "training_args.bin": "x"}, "", nil},
		{"no configuration", nil, "config.json", []string{"config.json"}},
		{"no configuration, and a tokenizer", map[string]string{"tokenizer.json": "{}"}, "config.json", []string{"config.json"}},
	} {
		b := configWith(t, nil)
		for name, text := range tt.files {
			path := filepath.Join(b.Path, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if tt.drop != "" {
			if err := os.Remove(filepath.Join(b.Path, tt.drop)); err != nil {
				t.Fatal(err)
			}
			b = open(t, b.Path)
		}
		r, err := Diff(t.Context(), open(t, testdata+"micro-griffin/hf"), b, Options{})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var fields []string
		for _, c := range r.Config {
			fields = append(fields, c.Field)
		}
		if !reflect.DeepEqual(fields, tt.want) || r.Equal != (len(fields) == 0) {
			t.Errorf("%s: %+v", tt.name, r.Config)
		}
	}
}

// A side without a generation configuration has what its config.json says. What both files show is listed once.
func TestGenerationOfOneSide(t *testing.T) {
	for _, tt := range []struct {
		name       string
		changes    map[string]any // of the config.json beside which there is no other file
		generation string         // beside the config.json of the other side
		want       []string
	}{
		{"the same", nil, `{"eos_token_id": 1, "bos_token_id": 2, "pad_token_id": 0}`, nil},
		{"sampling", nil, `{"eos_token_id": 1, "bos_token_id": 2, "pad_token_id": 0, "do_sample": true}`, []string{"generation_config.json: do_sample"}},
		{"another end", nil, `{"eos_token_id": 5, "bos_token_id": 2, "pad_token_id": 0}`, []string{"generation_config.json: eos_token_id"}},
		{"another end in config.json", map[string]any{"eos_token_id": 5}, `{"eos_token_id": 1, "bos_token_id": 2, "pad_token_id": 0}`, []string{"eos_token_id"}},
		{"another window, and sampling", map[string]any{"attention_window_size": 9}, `{"eos_token_id": 1, "bos_token_id": 2, "pad_token_id": 0, "do_sample": true}`, []string{"attention_window_size", "generation_config.json: do_sample"}},
	} {
		sides := [2]*tensor.Checkpoint{configWith(t, tt.changes), configWith(t, nil)}
		if err := os.WriteFile(filepath.Join(sides[1].Path, "generation_config.json"), []byte(tt.generation), 0o600); err != nil {
			t.Fatal(err)
		}
		for first, c := range sides {
			r, err := Diff(t.Context(), c, sides[1-first], Options{})
			if err != nil {
				t.Fatal(err)
			}
			var fields []string
			for _, c := range r.Config {
				fields = append(fields, c.Field)
			}
			if !reflect.DeepEqual(fields, tt.want) {
				t.Errorf("%s, %d first: %+v", tt.name, first, r.Config)
			}
		}
	}
}
