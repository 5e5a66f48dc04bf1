package verify

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
)

// A copy of a directory is judged by what the source states, where that is not what a conversion writes.
func TestConfigOfACopy(t *testing.T) {
	const classifier = "RecurrentGemmaForSequenceClassification"
	score := &entry{"score.weight", tensor.BF16, []int64{2, 32}, make([]byte, 128)}
	set := func(fields map[string]any) func(*made) {
		return func(m *made) { maps.Copy(m.config, fields) }
	}
	withHead := func(m *made) {
		m.config["architectures"] = []string{classifier}
		m.tensors = append(m.tensors, score)
	}
	unknown := func(n int) map[string]any {
		fields := map[string]any{}
		for i := range n {
			fields[fmt.Sprint("slot", i)] = i
		}
		return fields
	}
	none := func(*made) {}
	for _, tt := range []struct {
		name           string
		source, copied func(*made)
		named          []string
		note           string // a part of one, "" for none of unknown fields, ids and types
	}{
		{"the same", none, none, nil, ""},
		{"a classifier of the source", set(map[string]any{"architectures": []string{classifier}}), set(map[string]any{"architectures": []string{classifier}}), nil, ""},
		{"another classifier", set(map[string]any{"architectures": []string{classifier}}), set(map[string]any{"architectures": []string{"Other"}}), []string{"architectures"}, ""},
		{"a classifier", none, set(map[string]any{"architectures": []string{classifier}}), []string{"architectures"}, ""},
		{"a classifier with its head", withHead, withHead, nil, ""},
		{"a classifier without its head", withHead, set(map[string]any{"architectures": []string{classifier}}), []string{"architectures"}, ""},
		{"the model of a classifier", withHead, none, nil, ""},
		{"the largest id", none, set(map[string]any{"pad_token_id": 127}), nil, "pad_token_id is 127, and that of the source's config.json is 0"},
		{"an id of the source", set(map[string]any{"bos_token_id": 3}), set(map[string]any{"bos_token_id": 3}), nil, "bos_token_id is 3, as the source's config.json says; that of RecurrentGemma is 2"},
		{"the usual id, not that of the source", set(map[string]any{"bos_token_id": 3}), none, nil, "bos_token_id is 2, and that of the source's config.json is 3"},
		{"a default, not the id of the source", set(map[string]any{"bos_token_id": 3}), func(m *made) { delete(m.config, "bos_token_id") }, nil, "bos_token_id is 2, and that of the source's config.json is 3"},
		{"a default, as in the source", none, func(m *made) { delete(m.config, "bos_token_id") }, nil, ""},
		{"too large an id", none, set(map[string]any{"pad_token_id": 128}), []string{"pad_token_id"}, "pad_token_id is 128"},
		{"a negative id", none, set(map[string]any{"bos_token_id": -1}), []string{"bos_token_id"}, "bos_token_id is -1"},
		{"no id", none, set(map[string]any{"bos_token_id": nil}), nil, "bos_token_id is null, and that of the source's config.json is 2"},
		{"several ends", none, set(map[string]any{"eos_token_id": []int{1, 107}}), nil, "eos_token_id is [1, 107], and that of the source's config.json is 1"},
		{"an end outside", none, set(map[string]any{"eos_token_id": []int{1, 128}}), []string{"eos_token_id"}, "eos_token_id is [1, 128], and"},
		{"an id in words", none, set(map[string]any{"eos_token_id": "end"}), []string{"eos_token_id"}, "eos_token_id is "},
		{"dropout, not of the source", none, set(map[string]any{"attention_dropout": 0.1}), []string{"attention_dropout"}, ""},
		{"another dropout", set(map[string]any{"attention_dropout": 0.2}), set(map[string]any{"attention_dropout": 0.1}), []string{"attention_dropout"}, "attention_dropout is 0.1, and that of the source's config.json is 0.2"},
		{"the dropout of the source", set(map[string]any{"attention_dropout": 0.1}), set(map[string]any{"attention_dropout": 0.1}), nil, "attention_dropout is 0.1, as the source's config.json says"},
		{"no dropout, which the source has", set(map[string]any{"attention_dropout": 0.1}), func(m *made) { delete(m.config, "attention_dropout") }, nil, "attention_dropout is 0, and that of the source's config.json is 0.1"},
		{"code, not of the source", none, set(map[string]any{"auto_map": map[string]any{"AutoModel": "a.B"}}), []string{"auto_map"}, ""},
		{"other code than the source's", set(map[string]any{"auto_map": map[string]any{"AutoModel": "a.C"}}), set(map[string]any{"auto_map": map[string]any{"AutoModel": "a.B"}}), []string{"auto_map"}, ""},
		{"neither type", none, func(m *made) { delete(m.config, "dtype"); delete(m.config, "torch_dtype") }, nil, "there is neither dtype nor torch_dtype"},
		{"the older type", none, func(m *made) { delete(m.config, "dtype"); m.config["torch_dtype"] = "bfloat16" }, nil, ""},
		{"the newer type", none, func(m *made) { m.config["dtype"] = "bfloat16"; delete(m.config, "torch_dtype") }, nil, ""},
		{"unknown fields", none, set(unknown(8)), nil, "8 fields are not known to griffin, and transformers may act on them: slot0 0, slot1 1, slot2 2, slot3 3, slot4 4, slot5 5, slot6 6, slot7 7"},
		{"many unknown fields", none, set(unknown(10)), nil, "slot6 6, slot7 7, 2 more"},
		{"one too many", none, set(unknown(9)), nil, "slot6 6, slot7 7, 1 more"},
		{"unknown fields of the source", set(unknown(3)), set(unknown(3)), nil, ""},
		{"one that the source does not have", set(unknown(2)), set(unknown(3)), nil, "1 field is not known to griffin, and transformers may act on it: slot2 2"},
		{"another value", set(unknown(2)), set(map[string]any{"slot0": 0, "slot1": 7}), nil, "act on it: slot1 7"},
		{"an object of the source", set(map[string]any{"memory": map[string]any{"a": 1, "b": 2}}), set(map[string]any{"memory": map[string]any{"a": 1, "b": 2}}), nil, ""},
		{"another object", set(map[string]any{"memory": map[string]any{"a": 1, "b": 2}}), set(map[string]any{"memory": map[string]any{"a": 1, "b": 3}}), nil, "act on it: memory"},
		{"less of an object", set(map[string]any{"memory": map[string]any{"a": 1, "b": 2}}), set(map[string]any{"memory": map[string]any{"a": 1}}), nil, "act on it: memory"},
		{"more of an object", set(map[string]any{"memory": map[string]any{"a": 1}}), set(map[string]any{"memory": map[string]any{"a": 1, "b": 2}}), nil, "act on it: memory"},
		{"sampling of the source", set(map[string]any{"do_sample": true}), set(map[string]any{"do_sample": true}), nil, ""},
		{"two windows of the source", set(map[string]any{"sliding_window": 8, "attention_window_size": 7}), set(map[string]any{"sliding_window": 8, "attention_window_size": 7}), nil, ""},
		{"two windows, and one of the source", set(map[string]any{"sliding_window": 8, "attention_window_size": 7}), set(map[string]any{"sliding_window": 8, "attention_window_size": 6}), []string{"attention_window_size"}, ""},
		{"sampling", none, set(map[string]any{"do_sample": true, "top_k": 3}), nil, "generate() depends on do_sample true, top_k 3: transformers 4.57 takes them from config.json"},
	} {
		plain := baseOf(t, "bfloat16, torch").made
		source, copied := plain.clone(), plain.clone()
		tt.source(source)
		tt.copied(copied)
		v, err := verifyFiles(t, source.write(t), copied.write(t), Options{})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := named(v); !slices.Equal(got, tt.named) && len(got)+len(tt.named) > 0 || v.Same != (tt.named == nil) {
			t.Errorf("%s: named %q, want %q", tt.name, got, tt.named)
		}
		var notes []string
		for _, n := range v.Config.Notes {
			if strings.Contains(n, "griffin") || strings.Contains(n, "token_id is") || strings.Contains(n, "dtype") || strings.Contains(n, "dropout") || strings.Contains(n, "generate() depends") {
				notes = append(notes, n)
			}
		}
		if len(notes) != min(1, len(tt.note)) || tt.note != "" && !strings.Contains(notes[0], tt.note) || strings.Contains(tt.note, "slot7 7") && !strings.HasSuffix(notes[0], tt.note) {
			t.Errorf("%s: notes %q, want %q", tt.name, notes, tt.note)
		}
	}
}

// transformers 5 cannot cache a model without attention, so that config.json has to turn the cache off.
func TestCacheWithoutAttention(t *testing.T) {
	b := dividedBases(t)[0]
	for _, tt := range []struct {
		edit func(m *made)
		said bool
	}{
		{func(*made) {}, false},
		{func(m *made) { m.config["use_cache"] = false }, false},
		{func(m *made) { m.config["use_cache"] = true }, true},
		{func(m *made) { delete(m.config, "use_cache") }, true},
	} {
		m := b.made.clone()
		tt.edit(m)
		v, err := m.judge(t)
		if err != nil || !v.Same || !slices.Contains(v.Config.Notes, "there are no attention blocks: attention_window_size has no effect") {
			t.Fatalf("%+v, %v", v, err)
		}
		if said := slices.ContainsFunc(v.Config.Notes, func(n string) bool { return strings.HasPrefix(n, "use_cache is not false") }); said != tt.said {
			t.Errorf("%q: %t", v.Config.Notes, said)
		}
	}
}

// A file of weights alone has no configuration to check: it is run with the settings of the source, and nothing is said of other runtimes. Where
// there is a configuration beside it, it is checked.
func TestFileAlone(t *testing.T) {
	recording := cases.Open(t, "odd-griffin").Recording("jax")
	for _, b := range []*base{baseOf(t, "float32, torch"), matchedBases(t)[1]} {
		for _, configured := range []bool{false, true} {
			m := b.made.clone()
			if !configured {
				m.config = nil
			}
			path := filepath.Join(m.write(t), "model.safetensors")
			v, err := verifyFiles(t, b.source, path, Options{Settings: b.settings, Golden: recording, Facts: true})
			if err != nil || !v.Same || v.Config.Skipped == configured || strings.Contains(v.Verdict, ", without a config.json") == configured || !configured && v.Config.Summary != "not checked: there is no config.json beside model.safetensors" {
				t.Fatalf("%s, configured %t: %+v, %v", b.name, configured, v, err)
			}
			if f := v.Facts.Converted; f.Config == nil || f.Digest == "" || (v.Runtime != nil) != configured {
				t.Errorf("%s, configured %t: %+v, %+v", b.name, configured, f, v.Runtime)
			}
			flip(0, 0)(m.get(finalNorm)) // both are compared with the recording: one ulp is within rounding
			v, err = verifyFiles(t, b.source, filepath.Join(m.write(t), "model.safetensors"), Options{Settings: b.settings, Golden: recording})
			if err != nil || v.Same || len(v.Logits) != 2 || !v.Logits[0].OK || !v.Logits[1].OK {
				t.Errorf("%s, configured %t, an ulp: %+v, %v", b.name, configured, v, err)
			}
		}
	}
}
