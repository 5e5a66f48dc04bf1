package verify

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// fineTune returns a base whose source is an edited one.
func fineTune(t *testing.T, edit func(source *made)) *base {
	b := *baseOf(t, "float32, torch")
	source := b.original(t)
	edit(source)
	b.source = source.write(t)
	return &b
}

// verdictOn converts a fine-tune, spoils the conversion and verifies it.
func verdictOn(t *testing.T, b *base, spoil func(m *made)) *Verdict {
	t.Helper()
	m := b.convert(t, nil)
	m.base = b
	if spoil != nil {
		spoil(m)
	}
	v, err := m.judge(t)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A separate head is converted, and config.json unties it. A fault in it is found by name.
func TestHeadOfAFineTune(t *testing.T) {
	b := fineTune(t, func(s *made) {
		e := s.get("embedder.input_embedding").clone()
		e.name = headName
		each(func(x float32) float32 { return x / 3 })(e)
		s.tensors = append(s.tensors, e)
	})
	if v := verdictOn(t, b, nil); !v.Same || v.Weights.Tensors != 50 {
		t.Errorf("%q of %d tensors", named(v), v.Weights.Tensors)
	}
	for what, spoil := range map[string]func(m *made){
		headName:              func(m *made) { flip(3, 1)(m.get(headName)) },
		"tie_word_embeddings": func(m *made) { m.config["tie_word_embeddings"] = true },
	} {
		if v := verdictOn(t, b, spoil); v.Same || !slices.Equal(named(v), []string{what}) {
			t.Errorf("%s: %q", what, named(v))
		}
	}
	v := verdictOn(t, b, func(m *made) { m.get(headName).data = slices.Clone(m.get(embeddingName).data) })
	if v.Same || !strings.Contains(v.Weights.Findings.At(0).Detail, "copied from "+embeddingName) {
		t.Errorf("a copy of the embedding: %v", findings(v))
	}
}

// A vocabulary that grew is compared whole, and is not that of the base.
func TestVocabularyOfAFineTune(t *testing.T) {
	grown := fineTune(t, func(s *made) {
		e := s.get("embedder.input_embedding")
		row := e.row(0)
		e.shape = []int64{e.shape[0] + 3, e.shape[1]}
		e.data = append(slices.Clone(e.data), slices.Repeat(row, 3)...)
	})
	if v := verdictOn(t, grown, nil); !v.Same {
		t.Errorf("%q", named(v))
	}
	m := baseOf(t, "float32, torch").made.clone()
	m.base = grown
	v, err := m.judge(t)
	if err != nil || v.Same || !slices.Equal(named(v), []string{embeddingName, "vocab_size"}) {
		t.Errorf("%v: %q", err, named(v))
	}
}

// Extra tensors that were kept are compared; that they were left out is said.
func TestExtraTensorsOfAFineTune(t *testing.T) {
	b := fineTune(t, func(s *made) {
		e := s.get("final_norm.scale").clone()
		e.name = "value_head.scale"
		flip(2, 3)(e)
		s.tensors = append(s.tensors, e)
	})
	const kept = "model.value_head.scale"
	extra := func(m *made) *entry {
		e := m.get(finalNorm).clone()
		e.name = kept
		flip(2, 3)(e)
		m.tensors = append(m.tensors, e)
		return e
	}
	bare := *b
	bare.made = baseOf(t, "float32, torch").made.clone()
	for _, tt := range []struct {
		name  string
		spoil func(m *made)
		named []string
	}{
		{"kept", func(m *made) { extra(m) }, nil},
		{"left out", func(*made) {}, nil},
		{"changed", func(m *made) { flip(7, 7)(extra(m)) }, []string{kept}},
		{"another", func(m *made) { extra(m).name = "model.value_head.bias" }, []string{"model.value_head.bias"}},
	} {
		m := bare.made.clone()
		m.base = &bare
		tt.spoil(m)
		v, err := m.judge(t)
		if err != nil {
			t.Fatal(err)
		}
		if v.Same != (tt.named == nil) || !slices.Equal(named(v), tt.named) {
			t.Errorf("%s: %t, %q", tt.name, v.Same, named(v))
		}
		said := slices.ContainsFunc(v.Notes, func(n string) bool { return strings.Contains(n, "not in the conversion: value_head.scale") })
		if said != (tt.name == "left out" || tt.name == "another") {
			t.Errorf("%s: %q", tt.name, v.Notes)
		}
	}
}

// Of several models in a checkpoint the one is meant that is named, or that conversion.json names.
func TestOneOfSeveralModels(t *testing.T) {
	plain := baseOf(t, "float32, torch")
	b := fineTune(t, func(s *made) {
		for _, e := range slices.Clone(s.tensors) {
			ema := e.clone()
			ema.name, e.name = "ema."+e.name, "params."+e.name
			flip(0, 0)(ema)
			s.tensors = append(s.tensors, ema)
		}
	})
	judge := func(name string, keeps bool) (*Verdict, error) {
		m := plain.made.clone()
		m.keeps = keeps
		m.record["source"].(map[string]any)["prefix"] = "params."
		return verifyFiles(t, b.source, m.write(t), Options{Settings: b.settings, Model: name})
	}
	var bad *tensor.FormatError
	if _, err := judge("", false); !errors.As(err, &bad) || !strings.Contains(err.Error(), "2 models") {
		t.Errorf("neither: %v", err)
	}
	if v, err := judge("", true); err != nil || !v.Same {
		t.Errorf("by conversion.json: %v", err)
	}
	if v, err := judge("params", false); err != nil || !v.Same || v.Source.Prefix != "params." {
		t.Errorf("by name: %v", err)
	}
	if v, err := judge("ema", false); err != nil || v.Same || v.Weights.Findings.Len() != 43 {
		t.Errorf("the other: %v", err)
	}
	var choice *model.OptionError
	if _, err := judge("none", true); !errors.As(err, &choice) {
		t.Errorf("none: %v", err)
	}
}

// A converted original is found under any prefix and beside other tensors. Faults have its names there.
func TestOriginalUnderAWrapper(t *testing.T) {
	for _, b := range backBases(t)[:2] {
		for _, faulty := range []bool{false, true} {
			m := b.made.clone()
			for _, e := range m.tensors {
				e.name = "state." + e.name
			}
			m.tensors = append(m.tensors, &entry{"optimizer.mu.blocks.0.final", tensor.F32, []int64{2}, make([]byte, 8)})
			if faulty {
				flip(0, 0)(m.get("state." + m.part(-1, normLast)))
			}
			v, err := m.judge(t)
			if err != nil {
				t.Fatal(err)
			}
			if v.Same == faulty || faulty && !slices.Equal(named(v), []string{"state." + m.part(-1, normLast)}) {
				t.Errorf("%s: same %t, %q", b.name, v.Same, named(v))
			}
			if !slices.Contains(v.Structure.Notes, "1 tensor is not part of the model") || v.Converted.Prefix != "state."+model.Griffin.Roots[b.to.Layout()] {
				t.Errorf("%s: %q", b.name, v.Structure.Notes)
			}
		}
	}
}
