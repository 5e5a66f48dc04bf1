package diff

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		parts         []string // nil for no match
	}{
		{"a.b", "a.b", []string{}},
		{"a.b", "a.bc", nil},
		{"*", "", []string{""}},
		{"a*", "abc", []string{"bc"}},
		{"*.w", "a.b.w", []string{"a.b"}},
		{"h.*.attn.*", "h.3.attn.q.w", []string{"3", "q.w"}},
		{"*.x.*", "a.x.b.x.c", []string{"a", "b.x.c"}},
		{"?.w", "é.w", nil},
		{"l.?.w", "l.1.w", []string{}},
		{"*a*b", "xaab", []string{"x", "a"}},
		{"*a*b", "xaabc", nil},
		{"", "", []string{}},
		{"", "a", nil},
	} {
		parts, ok := globParts(tt.pattern, tt.name)
		if ok != (tt.parts != nil) || ok && strings.Join(parts, "|") != strings.Join(tt.parts, "|") {
			t.Errorf("%q on %q: %q, %v", tt.pattern, tt.name, parts, ok)
		}
	}
	if Glob(strings.Repeat("*a", 2000)+"b", strings.Repeat("a", 100000)) {
		t.Error("there is no b")
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("h.*.attn.*", "h.3.attn.q.w")
	f.Add("*a*b", "xaab")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 200 || len(name) > 2000 {
			return
		}
		parts, ok := globParts(pattern, name)
		if !ok {
			return
		}
		built := ""
		for _, c := range []byte(pattern) {
			switch {
			case c == '*':
				built += parts[0]
				parts = parts[1:]
			case c == '?':
				built += string(name[len(built)])
			default:
				built += string(c)
			}
		}
		if built != name && len(built) == len(name) || len(parts) > 0 {
			t.Errorf("%q: %q, %q left", pattern, built, parts)
		}
	})
}

func TestRenamesThatAreNone(t *testing.T) {
	c := checkpointOf(t, vector("a.w", 1), vector("b.w", 2))
	for _, tt := range []struct{ text, want string }{
		{"a.w -> x\nb.w", `rules: line 2: "b.w" is not of the form`},
		{"\n\n -> x", "line 3: a side of -> is empty"},
		{"a.* -> x.*.*", "line 1: the right side has more *"},
		{"a -> b -> c", "line 1"},
		{"# nothing\nc.* -> d.*", `line 2: "c.*" applies to no tensor of memory`},
		{"*.w -> same", `"a.w" and "b.w" would both be called "same"`},
		{"a.w -> b.w", `would both be called "b.w"`},
		{"a.w -> x\n" + strings.Repeat("y", maxRuleBytes+1), "line 2: longer than 4096 bytes"},
		{strings.Repeat("a.w -> x\n", maxRules+1), "line 10001: more than 10000 rules"},
	} {
		m, err := ParseRenames("rules", strings.NewReader(tt.text))
		if err == nil {
			_, _, err = m.apply(c)
		}
		var choice *OptionError
		if !errors.As(err, &choice) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40q: %v, not %s", tt.text, err, tt.want)
		}
	}
}

// configs returns the config.json of a model, with fields changed or taken out (nil).
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

// Configurations are compared by what they mean.
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
		{"a pattern written out", map[string]any{"block_types": []string{"recurrent", "attention", "recurrent", "attention"}}, nil},
		{"quantised", map[string]any{"quantization_config": map[string]any{"quant_method": "x"}}, []string{"quantization_config.quant_method"}},
		{"unknown to griffin", map[string]any{"label": "x"}, []string{"label"}},
	} {
		r, err := Diff(t.Context(), open(t, testdata+"micro-griffin/hf"), configWith(t, tt.changes), Options{})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var fields []string
		for _, c := range r.Config {
			fields = append(fields, c.Field)
		}
		if !reflect.DeepEqual(fields, tt.fields) || r.Equal != (len(fields) == 0) {
			t.Errorf("%s: %+v", tt.name, r.Config)
		}
	}
	// An original says only what its shapes tell.
	r, err := Diff(t.Context(), open(t, testdata+"micro-griffin/original/torch.pt"), configWith(t, map[string]any{"attention_window_size": 9}), Options{})
	if err != nil || !r.Equal {
		t.Errorf("an original: %v, %+v", err, r)
	}
	r, err = Diff(t.Context(), open(t, testdata+"micro-griffin/original/torch.pt"), configWith(t, map[string]any{"num_attention_heads": 4}), Options{})
	if err != nil || len(r.Config) != 1 || r.Config[0].A != "2" || r.Config[0].B != "4" {
		t.Errorf("other heads: %v, %+v", err, r)
	}
}

// What happened to the same tensor in several layers is one line, and so is what happened to several
// tensors in just those layers.
func TestGroups(t *testing.T) {
	half := &explain.Explanation{Kind: explain.Scaled, Detail: "by 0.5"}
	e := func(name string, s Status, x *explain.Explanation) TensorDiff {
		out := TensorDiff{Name: name, Status: s, Explanation: x, Elements: 10}
		if s == Differs {
			out.Metrics = &Metrics{Differing: 5, MaxAbs: 1, RelativeL2: 0.5}
		}
		return out
	}
	swap := func(with string) *explain.Explanation { return &explain.Explanation{Kind: explain.Swapped, With: with} }
	r := &Result{Tensors: []TensorDiff{
		e("only.me", OnlyA, nil),
		e("m.layers.0.mlp.gate", Differs, half), e("m.layers.1.mlp.gate", Differs, half), e("m.layers.2.mlp.gate", Differs, half),
		e("m.layers.0.mlp.up", Differs, half), e("m.layers.1.mlp.up", Differs, half), e("m.layers.2.mlp.up", Differs, half),
		e("m.layers.7.mlp.up", Differs, &explain.Explanation{Kind: explain.Scaled, Detail: "by 2"}),
		e("m.layers.3.q", Differs, swap("m.layers.3.k")), e("m.layers.5.q", Differs, swap("m.layers.5.k")), e("m.layers.6.q", Differs, swap("m.layers.4.k")),
		e("m.layers.3.k", Differs, swap("m.layers.3.q")), e("m.layers.5.k", Differs, swap("m.layers.5.q")),
		e("m.layers.3.v", Differs, &explain.Explanation{Kind: explain.Transposed, Then: &explain.Explanation{Kind: explain.Sparse, Detail: "1 of 10"}}),
		e("m.layers.0.x", Differs, &explain.Explanation{Kind: explain.Other}), e("m.layers.0.y", Differs, &explain.Explanation{Kind: explain.Other}),
		e("m.layers.0.same", Equal, nil),
	}}
	var got []string
	for _, g := range r.Groups() {
		got = append(got, string(g.Status)+" "+g.Where()+": "+g.Change)
	}
	want := []string{
		"only_a only.me: ",
		"differs m.layers.0-2.{mlp.gate, mlp.up}: scaled by 0.5",
		"differs m.layers.7.mlp.up: scaled by 2",
		"differs m.layers.3,5.q: swapped with k",
		"differs m.layers.6.q: swapped with m.layers.4.k",
		"differs m.layers.3,5.k: swapped with q",
		"differs m.layers.3.v: transposed, then sparse",
		"differs m.layers.0.x: ",
		"differs m.layers.0.y: ",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	x := r.Extent(&r.Groups()[1])
	if x.Elements != 60 || x.Differing != 30 || x.RelativeL2 != 0.5 {
		t.Errorf("%+v", x)
	}
}
