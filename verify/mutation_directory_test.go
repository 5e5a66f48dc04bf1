package verify

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// departureFaults are fields of config.json, and files beside the weights, with which transformers loads something else or fails.
var departureFaults = []fault{
	{configClass, "code of its own", field("auto_map", constant(map[string]any{"AutoModelForCausalLM": "modeling_other.Other"})), "trust_remote_code", false},
	{configClass, "an encoder and a decoder", field("is_encoder_decoder", constant(true)), "generate() fails", false},
	{configClass, "pruned heads", field("pruned_heads", constant(map[string]any{"2": []int{0}})), "4.57 fails to load", false},
	{configClass, "weights in another file", field("transformers_weights", constant("other.safetensors")), "loads the weights from this file", false},
	{configClass, "a configuration for each version", field("configuration_files", constant([]string{"config.4.0.0.json"})), "instead of config.json", false},
	{configClass, "fields under other names", field("attribute_map", constant(map[string]any{"hidden_size": "vocab_size"})), "under other names", false},
	{configClass, "attention to the tokens that follow", field("is_causal", constant(false)), "tokens that follow", false},
	{configClass, "results as tuples", field("return_dict", constant(false)), "fails to run", false},
	{configClass, "the types of layers of newer versions", field("layer_types", constant([]string{"linear_attention"})), "5.23 fails to load", false},
	{configClass, "other fields for one layer", field("per_layer_config", constant(map[string]any{"0": map[string]any{"hidden_size": 9}})), "5.23 fails to load", false},
	{configClass, "a configuration within it", field("text_config", constant(map[string]any{"hidden_size": 9})), "takes it for the model's", false},
	{configClass, "another implementation of attention", field("_attn_implementation", constant("flash_attention_2")), "fails if it lacks it", false},
	{configClass, "a field with the name of a method", field("to_dict", constant(1)), "replaces a method", false},
	{configClass, "quantised, and it does not say how", field("quantization_config", constant(map[string]any{})), "quantised when they are loaded", false},
	{configClass, "quantised without a method", func(m *made) []string {
		m.config["quantization_config"] = map[string]any{"bits": 4}
		return []string{"quantization_config"}
	}, "quantised when they are loaded", false},
	{filesClass, "an adapter beside the weights", withFile("adapter_config.json", `{"peft_type": "LORA"}`, "adapter_config.json"), "loads it along with the model", false},
	{filesClass, "code that generates", withFile("custom_generate/generate.py", "x", "custom_generate/generate.py"), "runs this code as generate()", false},
	{filesClass, "code that makes tokens", withFile("tokenizer_config.json", `{"auto_map": {"AutoTokenizer": ["t.T", null]}}`, "tokenizer_config.json: auto_map"), "trust_remote_code", false},
}

// withFile writes a file beside the weights.
func withFile(name, text, named string) func(*made) []string {
	return func(m *made) []string {
		m.disturb = func(dir string) error {
			path := filepath.Join(dir, name)
			return firstOf(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666))
		}
		return []string{named}
	}
}

// fieldFaults are what converters of others do wrong.
var fieldFaults = []fault{
	{converterClass, "the rule reshapes the convolution where it should transpose", byPlan(changed(convWeight, func(v tensor.View) tensor.View {
		plain := tensor.RowMajor(v.Shape...)
		plain.Offset = v.Offset
		return plain
	})), "", false},
	{converterClass, "the rule orders queries for a rotation of neighbouring channels", byPlan(byHead(func(v tensor.View, heads, dim int64) tensor.View {
		return splitRows(v, heads, dim/2, 2).Permute(0, 2, 1, 3)
	})), "", false},
	{converterClass, "the rule splits the channels of a head where it should split the heads", byPlan(byHead(func(v tensor.View, heads, dim int64) tensor.View {
		return splitRows(v, dim, heads).Permute(1, 0, 2)
	})), "", false},
	{converterClass, "only the blocks of the pattern are converted, not its repetitions", func(m *made) []string {
		pattern := int64(len(m.config["block_types"].([]any)))
		if pattern >= int64(m.blocks) {
			return nil
		}
		var want []string
		m.tensors = slices.DeleteFunc(m.tensors, func(e *entry) bool {
			for i := pattern; i < int64(m.blocks); i++ {
				if strings.HasPrefix(e.name, in(int(i), "")) {
					want = append(want, e.name)
					return true
				}
			}
			return false
		})
		m.config["num_hidden_layers"] = pattern
		return append(want, "num_hidden_layers")
	}, "missing", false},
}

// splitRows splits the leading axis of a matrix.
func splitRows(v tensor.View, into ...int64) tensor.View {
	out := tensor.View{Shape: append(slices.Clone(into), v.Shape[1]), Strides: make([]int64, len(into)+1), Offset: v.Offset}
	stride := v.Strides[0]
	for i := len(into) - 1; i >= 0; i-- {
		out.Strides[i] = stride
		stride *= into[i]
	}
	out.Strides[len(into)] = v.Strides[1]
	return out
}

// byHead changes the order of the rows of query projections.
func byHead(order func(v tensor.View, heads, dim int64) tensor.View) func(*made, *convert.Plan) []string {
	return func(m *made, p *convert.Plan) []string {
		heads := m.family().NumHeads
		return changed(qProj, func(v tensor.View) tensor.View { return order(v, heads, v.Shape[0]/heads) })(m, p)
	}
}

// What changes how text is made or read is noted. The model is the same.
func TestNotedBeside(t *testing.T) {
	b := bases(t, "")[0]
	for _, tt := range []struct {
		name string
		do   func(*made)
		say  string
	}{
		{"sampling", func(m *made) { m.config["do_sample"] = true }, "generate() depends on do_sample true"},
		{"the usual values of transformers 4", func(m *made) { m.config["do_sample"], m.config["temperature"], m.config["top_k"] = false, 1.0, 50 }, ""},
		{"an unknown field", func(m *made) { m.config["memory_slots"] = 3 }, "1 field is not known to griffin, and transformers may act on it: memory_slots 3"},
		{"an unknown object", func(m *made) { m.config["memory"] = map[string]any{"slots": 3} }, "transformers may act on it: memory"},
		{"no fields that have an effect", func(m *made) {
			m.config["_name_or_path"], m.config["chunk_size_feed_forward"], m.config["id2label"] = "x", 0, map[string]any{"0": "A"}
			m.config["pruned_heads"], m.config["auto_map"], m.config["is_encoder_decoder"] = map[string]any{}, map[string]any{}, false
		}, ""},
		{"the usual generation", besides("generation_config.json", `{"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0, "use_cache": true, "transformers_version": "1"}`), ""},
		{"the generation of a chat", besides("generation_config.json", `{"bos_token_id": 2, "eos_token_id": [1, 107], "pad_token_id": 0}`), ""},
		{"another end", besides("generation_config.json", `{"bos_token_id": 2, "eos_token_id": 5, "pad_token_id": 0}`), "because of generation_config.json: eos_token_id 5, not 1"},
		{"sampling by the file", besides("generation_config.json", `{"do_sample": true}`), "because of generation_config.json: do_sample true, not null"},
		{"no JSON", besides("generation_config.json", `{`), "generation_config.json is corrupt"},
		{"no tokenizer", func(*made) {}, "there is no tokenizer: AutoTokenizer"},
		{"a tokenizer", besides("tokenizer.json", `{}`), ""},
	} {
		m := b.made.clone()
		m.config = maps.Clone(m.config)
		tt.do(m)
		v, err := m.judge(t)
		if err != nil || !v.Same {
			t.Errorf("%s: %v, %q", tt.name, err, named(v))
			continue
		}
		notes := strings.Join(v.Config.Notes, "\n")
		if tt.say == "" && (strings.Contains(notes, "generat") || strings.Contains(notes, "known to griffin")) || !strings.Contains(notes, tt.say) || slices.Contains(v.Config.Notes, "") {
			t.Errorf("%s: notes %q, want %q", tt.name, notes, tt.say)
		}
	}
}

func besides(name, text string) func(*made) {
	return func(m *made) { withFile(name, text, "")(m) }
}

// A copy of a Hugging Face directory is compared with the files of its source.
func TestNotedAgainstSource(t *testing.T) {
	source := bases(t, "")[0].made.clone()
	from := source.write(t)
	files := map[string]string{"tokenizer.json": "{}", "chat_template.jinja": "a", "generation_config.json": `{"eos_token_id": 7}`}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(from, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name  string
		files map[string]string // "" removes one
		say   []string
	}{
		{"the same", nil, nil},
		{"another tokenizer", map[string]string{"tokenizer.json": "[]"}, []string{"tokenizer.json is not as in the source"}},
		{"no chat template", map[string]string{"chat_template.jinja": ""}, []string{"chat_template.jinja is only in the source"}},
		{"more", map[string]string{"tokenizer.model": "x", "additional_chat_templates/tools.jinja": "y"}, []string{"additional_chat_templates/tools.jinja, tokenizer.model are not in the source"}},
		{"another end", map[string]string{"generation_config.json": `{"eos_token_id": 1}`}, []string{"with that of the source, because of generation_config.json: eos_token_id 1, not 7"}},
		{"no generation", map[string]string{"generation_config.json": ""}, []string{"there is no generation_config.json, as the source has"}},
	} {
		copied := source.clone()
		copied.disturb = func(dir string) error {
			for name, text := range files {
				if other, ok := tt.files[name]; !ok || other != "" {
					if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
						return err
					}
				}
			}
			for name, text := range tt.files {
				path := filepath.Join(dir, name)
				if text != "" {
					if err := firstOf(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
						return err
					}
				}
			}
			return nil
		}
		v, err := verifyFiles(t, from, copied.write(t), Options{})
		if err != nil || !v.Same {
			t.Fatalf("%s: %v, %q", tt.name, err, named(v))
		}
		var notes []string
		for _, n := range v.Config.Notes {
			if strings.Contains(n, "source") {
				notes = append(notes, n)
			}
		}
		if len(notes) != len(tt.say) || len(notes) > 0 && !strings.Contains(notes[0], tt.say[0]) {
			t.Errorf("%s: notes %q, want %q", tt.name, notes, tt.say)
		}
	}
}
