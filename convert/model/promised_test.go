package model

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// editedAdapter reads the small adapter of PEFT after edits of its configuration. edits are pairs of a text and its replacement; "…" in the
// former matches any text.
func editedAdapter(t *testing.T, edits ...string) *peft.Adapter {
	t.Helper()
	files := fstest.MapFS{}
	for _, name := range []string{"adapter_config.json", "adapter_model.safetensors"} {
		content, err := os.ReadFile(filepath.Join("../../testdata/finetune/adapter", name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".json") {
			for i := 0; i < len(edits); i += 2 {
				from, to, _ := strings.Cut(edits[i], "…")
				before, rest, ok := strings.Cut(string(content), from)
				if _, after, found := strings.Cut(rest, to); ok && found {
					content = []byte(before + edits[i+1] + after)
				} else {
					t.Fatalf("no %s", edits[i])
				}
			}
		}
		files[name] = &fstest.MapFile{Data: content}
	}
	a, err := peft.Read(files, ".")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// An adapter that lacks what its configuration says it changes is refused, with what it lacks and why that is known. Only what
// target modules lack may be accepted.
func TestIncompleteAdapters(t *testing.T) {
	base := openSafetensors(t, "../../testdata/finetune/base")
	const q, gate = "model.layers.1.temporal_block.q_proj.weight", "model.layers.0.mlp_block.gate_proj.weight"
	without := func(names ...string) func(*peft.Adapter) {
		return func(a *peft.Adapter) {
			changes := slices.DeleteFunc(a.Changes(), func(c peft.Change) bool { return slices.Contains(names, c.Parameter) })
			a.Changes = func() []peft.Change { return changes }
		}
	}
	withoutRoot := func(names ...string) func(*peft.Adapter) {
		return func(a *peft.Adapter) {
			without(names...)(a)
			for i, c := range a.Changes() {
				a.Changes()[i].Parameter = strings.TrimPrefix(c.Parameter, "model.")
			}
		}
	}
	add := func(a *peft.Adapter, change peft.Change) {
		changes := append(a.Changes(), change)
		a.Changes = func() []peft.Change { return changes }
	}
	// value adds a change that replaces a parameter by itself.
	value := func(name string) func(*peft.Adapter) {
		return func(a *peft.Adapter) {
			v := *base.Tensor(name)
			add(a, peft.Change{Parameter: name, Value: &v})
		}
	}
	head := func(a *peft.Adapter) {
		v := *base.Tensor("model.embed_tokens.weight")
		v.Name = "lm_head.weight"
		add(a, peft.Change{Parameter: "lm_head.weight", Value: &v})
	}
	tokens := func(a *peft.Adapter) {
		w := base.Tensor("model.embed_tokens.weight").Shape[1]
		add(a, peft.Change{Parameter: "model.embed_tokens.weight", Rows: withData(named("r", 1, w), make([]byte, 4*w)), Indices: []int64{3}})
	}
	saves := func(names string) []string {
		return []string{`"modules_to_save": null`, `"modules_to_save": [` + names + `]`}
	}
	const one, two = "lacks the tensors of 1 parameter that its configuration says it changes ", "lacks the tensors of 2 parameters that its configuration says it changes "
	for _, tt := range []struct {
		name   string
		edits  []string
		change func(*peft.Adapter)
		want   string // "" if the adapter is complete
		advice string // "" if only target modules lack something
	}{
		{"complete", nil, without(), "", ""},
		{"without the root", nil, withoutRoot(), "", ""},
		{"one matrix", nil, without(q), one + "(target_modules): " + q, ""},
		{"one matrix, without the root", nil, withoutRoot(q), one + "(target_modules): " + strings.TrimPrefix(q, "model."), ""},
		{"two matrices", nil, without(q, gate), two + "(target_modules): " + gate + ", " + q, ""},
		{"targets that are not known", []string{`"target_modules": […]`, `"target_modules": "(?<!x)q_proj"`}, without(q), "", ""},
		{"a norm", saves(`"final_norm"`), without(), one + "(modules_to_save): model.final_norm.weight", "correct modules_to_save in"},
		{"a saved norm", saves(`"final_norm"`), value("model.final_norm.weight"), "", ""},
		{"a norm and a matrix", saves(`"final_norm"`), without(q), two + "(target_modules, modules_to_save): " + q + ", model.final_norm.weight", "correct target_modules and modules_to_save in"},
		{"a module that is adapted, not replaced", saves(`"layers.1.temporal_block.q_proj"`), without(), one + "(modules_to_save): " + q, "correct modules_to_save in"},
		{"a tied head", saves(`"embed_tokens", "lm_head"`), value("model.embed_tokens.weight"), one + "(modules_to_save): lm_head.weight", "correct modules_to_save in"},
		{"a saved head", saves(`"lm_head"`), head, "", ""},
		{"a tied head that shares", append(saves(`"embed_tokens", "lm_head"`), `"ensure_weight_tying": false`, `"ensure_weight_tying": true`), value("model.embed_tokens.weight"), "", ""},
		{"an embedding that the head shares", append(saves(`"embed_tokens", "lm_head"`), `"ensure_weight_tying": false`, `"ensure_weight_tying": true`), head, one + "(modules_to_save): model.embed_tokens.weight", "correct modules_to_save in"},
		{"tokens", []string{`"trainable_token_indices": null`, `"trainable_token_indices": [3]`}, without(), one + "(trainable_token_indices): embed_tokens.weight", "correct trainable_token_indices in"},
		{"trained tokens", []string{`"trainable_token_indices": null`, `"trainable_token_indices": [3]`}, tokens, "", ""},
	} {
		for _, partial := range []bool{false, true} {
			a := editedAdapter(t, tt.edits...)
			tt.change(a)
			m, err := Open(t.Context(), base, Options{Adapter: a, PartialAdapter: partial})
			if tt.want == "" || partial && tt.advice == "" {
				want := ""
				if tt.want != "" {
					want = tt.want + ", which " + map[bool]string{true: "stays", false: "stay"}[strings.HasPrefix(tt.want, one)] + " as in the base"
				}
				if err != nil || m.AdapterLacks != want {
					t.Errorf("%s, partial %t: %+v, %v; want %q", tt.name, partial, m, err, want)
				}
				continue
			}
			var bad *tensor.FormatError
			if !errors.As(err, &bad) || !strings.HasSuffix(err.Error(), tt.want) || (bad.Reason == ReasonPartialAdapter) != (tt.advice == "") || !strings.Contains(bad.Hint, tt.advice) {
				t.Errorf("%s, partial %t: %v; want %q, %q", tt.name, partial, err, tt.want, tt.advice)
			}
		}
	}
	// All biases, or those of adapted modules.
	for bias, want := range map[string]int{"none": 0, "all": 0, "lora_only": 0} {
		a := editedAdapter(t, `"bias": "none"`, `"bias": "`+bias+`"`)
		for _, x := range base.Tensors() {
			module, isBias := strings.CutSuffix(x.Name, ".bias")
			if isBias && (bias == "all" || bias == "lora_only" && a.Config.Adapts(module)) {
				want++
			}
		}
		_, err := Open(t.Context(), base, Options{Adapter: a, PartialAdapter: true})
		if want == 0 && err != nil || want > 0 && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf("lacks the tensors of %d parameters that its configuration says it changes (bias)", want))) {
			t.Errorf("%s: %v; want %d biases", bias, err, want)
		}
	}
}
