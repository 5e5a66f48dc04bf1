package verify

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// The ids of tokens are compared with those of the source's config.json or, if it has none, with those of the family.
func TestTokenIDNotes(t *testing.T) {
	ids := func(pad, eos string) map[string]any {
		return map[string]any{"pad_token_id": json.Number(pad), "eos_token_id": json.Number(eos)}
	}
	for _, tt := range []struct {
		name           string
		fields, source map[string]any
		want           []string
	}{
		{"those of the family", ids("0", "1"), nil, nil},
		{"none", map[string]any{}, nil, nil},
		{"others", ids("3", "1"), nil, []string{"pad_token_id is 3, and that of RecurrentGemma is 0; the source does not state which is right"}},
		{"no number", map[string]any{"pad_token_id": nil, "eos_token_id": []any{json.Number("1"), json.Number("107")}}, nil, nil},
		{"those of the source, which are usual", ids("0", "1"), ids("0", "1"), nil},
		{"those of the source", ids("3", "1"), ids("3", "1"), []string{"pad_token_id is 3, as the source's config.json says; that of RecurrentGemma is 0"}},
		{"others than the source's", ids("0", "1"), ids("0", "107"), []string{"eos_token_id is 1, and that of the source's config.json is 107"}},
		{"others than both", ids("3", "107"), ids("0", "1"), []string{"pad_token_id is 3, and that of the source's config.json is 0", "eos_token_id is 107, and that of the source's config.json is 1"}},
		{"not in the source", ids("3", "1"), map[string]any{}, []string{"pad_token_id is 3, and that of the source's config.json is 0"}},
	} {
		if got := tokenIDNotes(tt.fields, tt.source); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

// A directory that transformers cannot load, by the names of its files or of its tensors, fails whatever its weights are.
func TestDirectoriesThatAreNotLoaded(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	hf, original := filepath.Join(c.Dir, "hf"), filepath.Join(c.Dir, "original", "torch.pt")
	for _, tt := range []struct {
		name    string
		files   map[string]string // of the directory, by those of tiny-griffin
		field   string            // of the finding, "" for none
		summary string            // how it begins
	}{
		{"names of the original", map[string]string{"pytorch_model.bin": "original/torch.pt", "config.json": "hf/config.json"}, "config.json", "transformers does not find these names"},
		{"an original alone", map[string]string{"pytorch_model.bin": "original/torch.pt"}, "", ""},
		{"a file that transformers does not look for", map[string]string{"weights.safetensors": "hf/model.safetensors", "config.json": "hf/config.json"}, "model.safetensors",
			"transformers cannot load the directory: there is no model.safetensors"},
		{"files as they should be", map[string]string{"model.safetensors": "hf/model.safetensors", "config.json": "hf/config.json"}, "", ""},
	} {
		dir := t.TempDir()
		for name, from := range tt.files {
			if err := os.WriteFile(filepath.Join(dir, name), readFile(filepath.Join(c.Dir, from)), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		for _, source := range []string{hf, original} {
			v, err := verifyFiles(t, source, dir, Options{Settings: settingsOf(8, 30, true)})
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			s := v.Structure
			if s.OK != (tt.field == "") || v.Same != s.OK || !v.Weights.OK || !strings.HasPrefix(s.Summary, tt.summary) {
				t.Errorf("%s: %s", tt.name, textOf(t, v))
			}
			if all := s.Findings.All(); tt.field == "" && len(all) > 0 || tt.field != "" && (len(all) != 1 || all[0].Kind != MissingFile || all[0].Field != tt.field) {
				t.Errorf("%s: %+v", tt.name, all)
			}
		}
	}
}

// A fault whose weights are right may be caused by the fields that all of its places depend on, but for those that explain another fault.
func TestCandidateFields(t *testing.T) {
	const given = "the settings that were given"
	hf, torch := &Subject{Path: "c", Layout: "huggingface"}, &Subject{Path: "o", Layout: "torch"}
	window := &logits.Fault{Setting: &logits.Setting{Name: logits.WindowSetting}}
	for _, tt := range []struct {
		name              string
		source, converted *Subject
		checkpoint        string
		f                 logits.Fault
		others            []*logits.Fault
		want              string
	}{
		{"embedding", hf, nil, "c", logits.Fault{Kind: logits.EmbeddingFault}, nil, ""},
		{"final norm", hf, nil, "c", logits.Fault{Kind: logits.FinalNormFault}, nil, "rms_norm_eps"},
		{"logits", hf, nil, "c", logits.Fault{Kind: logits.LogitsFault}, nil, "logits_soft_cap, tie_word_embeddings"},
		{"attention", hf, nil, "c", logits.Fault{Kind: logits.AttentionFault, Half: logits.TemporalHalf}, nil,
			"rms_norm_eps, num_attention_heads, head_dim, rope_theta, partial_rotary_factor, attention_window_size"},
		{"attention, whose window is known", hf, nil, "c", logits.Fault{Kind: logits.AttentionFault, Half: logits.TemporalHalf}, []*logits.Fault{window},
			"rms_norm_eps, num_attention_heads, head_dim, rope_theta, partial_rotary_factor"},
		{"MLP of an attention block", hf, nil, "c", logits.Fault{Kind: logits.AttentionFault, Half: logits.MLPHalf}, nil, "rms_norm_eps, hidden_activation"},
		{"recurrence", hf, nil, "c", logits.Fault{Kind: logits.RecurrentFault, Half: logits.TemporalHalf}, nil, "rms_norm_eps, hidden_activation, num_attention_heads"},
		{"of an original", torch, nil, "o", logits.Fault{Kind: logits.FinalNormFault}, nil, given},
		{"of nothing", nil, nil, "o", logits.Fault{Kind: logits.FinalNormFault}, nil, given},
		{"of the source", torch, hf, "o", logits.Fault{Kind: logits.FinalNormFault}, nil, given},
		{"of the conversion", torch, hf, "c", logits.Fault{Kind: logits.FinalNormFault}, nil, "rms_norm_eps"},
	} {
		v := &Verdict{Source: tt.source, Converted: tt.converted}
		l := &logits.Result{Checkpoint: tt.checkpoint, Faults: append(tt.others, &tt.f)}
		if got := strings.Join(v.candidates(l, &tt.f), ", "); got != tt.want {
			t.Errorf("%s: %s, not %s", tt.name, got, tt.want)
		}
	}
}

// The other name of a tensor is told apart from the other number of its layer.
func TestChangeOfNames(t *testing.T) {
	moved := &renaming{layers: &diff.MovedLayers{List: "layers", A: []int{0, 2, 3}, B: []int{0, 1, 2}, OnlyA: []int{1}}}
	for _, tt := range []struct {
		r                *renaming
		tensor, to, want string
	}{
		{nil, "layers.2.up", "layers.1.up", "moved to layer 1"},
		{&renaming{}, "layers.2.up", "layers.2.down", "renamed to down"},
		{moved, "layers.2.up", "layers.1.down", "renamed to down"},
		{moved, "layers.2.up", "layers.1.up", "moved to layer 1"},
		{moved, "layers.2.up", "layers.2.up2", "renamed to layers.3.up2"},
		{moved, "embed", "wte", "renamed to wte"},
	} {
		if got := tt.r.change(&Finding{Tensor: tt.tensor, Got: tt.to}); got != tt.want {
			t.Errorf("%s to %s: %q, not %q", tt.tensor, tt.to, got, tt.want)
		}
	}
}

// A tokenizer that is not the model's is noted, and does not make the conversion another model.
func TestTokenizerIsNoted(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	for _, tt := range []struct {
		content string // of tokenizer_config.json
		want    string // beginning of a note, "" for none
	}{
		{`{"added_tokens_decoder": {"99999": {"content": "<x>"}}}`, "the tokenizer has ids up to 99999, and the embedding has "},
		{`{"added_tokens_decoder": {"0": {"content": "<pad>"}}}`, ""},
	} {
		_, converted := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true)})
		if err := os.WriteFile(filepath.Join(converted, "tokenizer_config.json"), []byte(tt.content), 0o666); err != nil {
			t.Fatal(err)
		}
		v, err := verifyFiles(t, filepath.Join(c.Dir, "hf"), converted, Options{})
		if err != nil {
			t.Fatal(err)
		}
		isNoted := slices.ContainsFunc(v.Config.Notes, func(n string) bool { return strings.HasPrefix(n, "the tokenizer has ids up to ") })
		if !v.Same || isNoted != (tt.want != "") || isNoted && !slices.ContainsFunc(v.Config.Notes, func(n string) bool { return strings.HasPrefix(n, tt.want) }) {
			t.Errorf("%s: %q; %s", tt.content, v.Config.Notes, v.Answer())
		}
	}
}

// What runtimes do otherwise is said apart from what fails.
func TestRuntimesBesideFailures(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	const apart, same, from8 = "but for what fails, ", "under transformers 5 the conversion computes the same as the source at every position of a document", "transformers 5 diverges from the original from position 8 of a document on"
	plain := filepath.Join(c.Dir, "hf")
	for _, tt := range []struct {
		source   string // "" for an original
		runtime  *runtime.Runtime
		from, to string // in config.json
		want     string
	}{
		{"", nil, "", "", from8},
		{"", runtime.Original, "", "", "under the original the conversion computes the same as the source at every position of a document"},
		{"", nil, `"hidden_activation": "gelu_pytorch_tanh"`, `"hidden_activation": "gelu"`, apart + from8},
		{"", nil, `"attention_window_size": 8`, `"attention_window_size": 6`, apart + from8},
		{plain, nil, "", "", same},
		{plain, nil, `"attention_window_size": 8`, `"attention_window_size": 9`, "under transformers 5 the conversion diverges from the source from position 8 of a document on"},
		{plain, nil, `"attention_window_size": 8`, `"attention_window_size": 2048`, apart + same},
		{plain, nil, `"logits_soft_cap": 30.0`, `"logits_soft_cap": 0.0`, apart + same},
		{"", runtime.Transformers4, `"attention_window_size": 8`, `"attention_window_size": 6`, apart + "transformers 4 diverges from the original from position 9 of a document on"},
		{"", runtime.Transformers4, `"rope_theta": 10000.0`, `"rope_theta": 20000.0`, apart + "transformers 4 diverges from the original from position 9 of a document on"},
		{"", nil, `"model_type": "recurrent_gemma",`, "", "transformers 5 does not load the directory, because of what fails"},
	} {
		source, converted := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true)})
		o := Options{Runtime: tt.runtime, Settings: settingsOf(8, 30, true)}
		if tt.source != "" {
			source, o.Settings = tt.source, model.Settings{}
			remove(t, converted, "conversion.json")
		}
		rewrite(t, filepath.Join(converted, "config.json"), replaced(tt.from, tt.to))
		v, err := verifyFiles(t, source, converted, o)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if r := v.Runtime; r != nil {
			got = r.Summary
			if r.Refused != strings.Contains(got, "does not load") {
				t.Errorf("%s: %+v", tt.to, r)
			}
		}
		if v.Same != (tt.from == "") || got != tt.want || v.Converted.Prefix != "model." {
			t.Errorf("%s under %v: %+v, %s", tt.to, tt.runtime, v.Converted, textOf(t, v))
		}
	}
}

// A finding that is put first leaves the others as they are, and a fault without tensors whose weights are right proves nothing of them.
func TestPutFirst(t *testing.T) {
	s := &Section{}
	for _, name := range []string{"c", "b", "a"} {
		s.putFirst(Finding{Field: name})
	}
	var got []string
	for _, f := range s.Findings.All() {
		got = append(got, f.Field)
	}
	if !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("%q", got)
	}
	v := &Verdict{Source: &Subject{Path: "c", Layout: "huggingface"}}
	l := &logits.Result{Checkpoint: "c", Weights: logits.SameWeights}
	if proof := v.place(l, &logits.Fault{Kind: logits.DecodingFault}).Proof(); proof != "" {
		t.Errorf("a fault without tensors: %q", proof)
	}
}
