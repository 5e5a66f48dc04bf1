package verify

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

const (
	dividedClass = "without scale and cap"
	matchedClass = "window"
	recordClass  = "conversion.json"
)

func neither(window int64) model.Settings {
	return model.Settings{AttentionWindow: &window, LogitsSoftCap: pointer(0.0), EmbeddingScale: pointer(false)}
}

// dividedBases are conversions of models without embedding scale and soft cap.
func dividedBases(t testing.TB) []*base {
	return prepare(t, []*base{
		{name: "float32 without scale and cap", source: "micro-hawk/original/torch.pt", settings: neither(6)},
		{name: "float32 to bfloat16 without scale and cap, Orbax", source: "micro-hawk/original/orbax-ocdbt", settings: neither(6), dtype: tensor.BF16},
		{name: "float16 to float32 without scale and cap", source: "micro-griffin/original/torch.pt", settings: neither(6), dtype: tensor.F32},
	})
}

// matchedBases are conversions whose window is written to match transformers 5.
func matchedBases(t testing.TB) []*base {
	window := func(w int64, softCap float64) model.Settings {
		return model.Settings{AttentionWindow: &w, LogitsSoftCap: &softCap, EmbeddingScale: pointer(true)}
	}
	return prepare(t, []*base{
		{name: "bfloat16 for transformers 5", source: "tiny-griffin/original/torch.pt", settings: window(8, 30), match: convert.Transformers5},
		{name: "float32 for transformers 5, Orbax", source: "odd-griffin/original/orbax-zarr3", settings: window(5, 20), match: convert.Transformers5},
		{name: "float16 to float32 for transformers 5, without scale and cap", source: "micro-griffin/original/torch.pt", settings: neither(6), dtype: tensor.F32, match: convert.Transformers5},
	})
}

// misrecorded changes the conversion.json of a conversion that is right.
func misrecorded(field string, edit func(m *made, record map[string]any)) func(*made) []string {
	return func(m *made) []string {
		m.keeps = true
		edit(m, m.record)
		return []string{"conversion.json: " + field}
	}
}

func inner(record map[string]any, name string) map[string]any {
	x, _ := record[name].(map[string]any)
	return x
}

func multiplied(by float32) func(*entry) { return each(func(x float32) float32 { return x * by }) }

var ownHead = named1(headName)

var dividedFaults = []fault{
	{dividedClass, "embedding not divided", one(embedding, multiplied(4)), "not divided by 4", false},
	{dividedClass, "embedding divided by the width", one(embedding, multiplied(0.25)), "divided by 16 instead of by 4", false},
	{dividedClass, "embedding multiplied instead", one(embedding, multiplied(16)), "multiplied by 4 instead of divided by 4", false},
	{dividedClass, "one ulp in the divided embedding", one(embedding, flip(33, 0)), "1 of ", false},
	{dividedClass, "head divided, too", one(ownHead, multiplied(0.25)), "copied from model.embed_tokens.weight", false},
	{dividedClass, "head of an earlier step", one(ownHead, each(func(x float32) float32 { return x + 0.0625 })), "added 0.0625", false},
	{dividedClass, "one ulp in the head", one(ownHead, flip(100, 0)), "1 of ", false},
	{dividedClass, "head left out", missing(ownHead), "missing", false},
	{dividedClass, "head tied", field("tie_word_embeddings", constant(true)), "(divided by 4), and 5.23 with lm_head.weight", false},
	{dividedClass, "head tied by default", without("tie_word_embeddings"), "stands for true", false},
	{dividedClass, "soft cap 0", field("logits_soft_cap", constant(0.0)), "has no soft cap", false},
	{dividedClass, "soft cap of RecurrentGemma", recorded(field("logits_soft_cap", constant(30.0))), "has no soft cap", false},
	{dividedClass, "soft cap left to the default", without("logits_soft_cap"), "stands for 30", false},
	{dividedClass, "soft cap that is large and no power of two", recorded(field("logits_soft_cap", constant(1e6))), "only a power of two", false},
	{dividedClass, "soft cap that is too small", recorded(field("logits_soft_cap", constant(512.0))), "only a power of two", false},
	{recordClass, "another divisor", misrecorded("huggingface.embedding_divided_by", func(_ *made, r map[string]any) { inner(r, "huggingface")["embedding_divided_by"] = 2.0 }), "a conversion back", false},
	{recordClass, "embedding said to be scaled", misrecorded("settings.embedding_scale", func(_ *made, r map[string]any) { inner(r, "settings")["embedding_scale"] = true }), "true, not false", false},
	{recordClass, "soft cap said to be the model's", misrecorded("settings.logits_soft_cap", func(_ *made, r map[string]any) { inner(r, "settings")["logits_soft_cap"] = 30.0 }), "30, not 0", false},
}

var matchedFaults = []fault{
	{matchedClass, "window + 2", recorded(field("attention_window_size", func(m *made) any { return m.family().AttentionWindow + 2 })), "it should be the original's window", false},
	{matchedClass, "window - 1", recorded(field("attention_window_size", func(m *made) any { return m.family().AttentionWindow - 1 })), "it should be the original's window", false},
	{matchedClass, "no window", without("attention_window_size"), "stands for 2048", false},
	{matchedClass, "the window under one name, window + 1 under the other", func(m *made) []string {
		field("sliding_window", func(m *made) any { return m.family().AttentionWindow })(m)
		return []string{"attention_window_size"} // sliding_window is right, and wins in transformers 5
	}, "transformers 4.57 takes it and ignores sliding_window", false},
	{recordClass, "window + 1 said to be the window", misrecorded("huggingface.match_runtime", func(m *made, r map[string]any) { delete(inner(r, "huggingface"), "match_runtime") }), "none, not transformers5", false},
	{recordClass, "the window said to be window + 1", misrecorded("huggingface.match_runtime", func(m *made, r map[string]any) { m.config["attention_window_size"] = m.family().AttentionWindow }), "transformers5, not none", false},
	{recordClass, "another window", misrecorded("settings.attention_window", func(m *made, r map[string]any) {
		inner(r, "settings")["attention_window"] = m.family().AttentionWindow + 1
	}), "", false},
	{recordClass, "a size that config.json has no more", misrecorded("huggingface.attention_window_size", func(m *made, r map[string]any) {
		inner(r, "huggingface")["attention_window_size"] = m.family().AttentionWindow + 7
	}), "was changed after", false},
	{recordClass, "digest of another tensor", misrecorded("tensors", func(m *made, r map[string]any) {
		all := r["tensors"].([]any)
		last := all[len(all)-1-len(all)%2].(map[string]any) // with a digest by the same hash function
		setDigest(all[1], last["sha256"])
	}), "changed or damaged", false},
	{recordClass, "without tensors", misrecorded("tensors", func(_ *made, r map[string]any) { r["tensors"] = []any{} }), "0 tensors, not", false},
	{recordClass, "a tensor without a digest", misrecorded("tensors", func(_ *made, r map[string]any) {
		for _, name := range digest.Names() {
			delete(r["tensors"].([]any)[2].(map[string]any), name)
		}
	}), "with digests", false},
	{recordClass, "a tensor more", misrecorded("tensors", func(_ *made, r map[string]any) {
		r["tensors"] = append(r["tensors"].([]any), map[string]any{"name": "x", "sha256": "00"})
	}), "1 more tensor, such as x", false},
	{recordClass, "weights changed after it was written", func(m *made) []string {
		m.keeps = true
		return one(last(downBias), flip(2, 0))(m)
	}, "changed or damaged", false},
	{recordClass, "cut short", func(m *made) []string {
		m.disturb = cutRecord
		return []string{manifest.Name}
	}, "a corrupt file", false},
	{recordClass, "that of a conversion to torch", misrecorded("layout", func(_ *made, r map[string]any) { r["layout"] = "torch" }), "another conversion", false},
}

// Any soft cap that stands for none is accepted. So are a plain window and one that matches transformers 5, with and without
// conversion.json, and the verdict says which it is.
func TestFormsPass(t *testing.T) {
	judge := func(m *made) *Verdict {
		v, err := m.judge(t)
		if err != nil {
			t.Fatalf("%s: %v", m.base.name, err)
		}
		if !v.Same || len(named(v)) > 0 {
			t.Errorf("%s: %q", m.base.name, named(v))
		}
		return v
	}
	for _, b := range dividedBases(t) {
		for _, softCap := range []float64{1 << 20, 1 << 30} {
			for _, keeps := range []bool{false, true} {
				m := b.made.clone()
				m.config["logits_soft_cap"], m.keeps = softCap, keeps && softCap == 1<<20
				v := judge(m)
				if v.Weights.Divided != b.config.VocabSize*b.config.Width || v.Weights.Inexact != 0 || (v.Weights.Rounded == 0) != (b.dtype == tensor.Invalid) {
					t.Errorf("%s: %d divided, %d inexact, %d rounded", b.name, v.Weights.Divided, v.Weights.Inexact, v.Weights.Rounded)
				}
			}
		}
	}
	for _, b := range matchedBases(t) {
		for _, written := range []int64{b.config.AttentionWindow, b.config.AttentionWindow + 1} {
			m := b.made.clone()
			m.config["attention_window_size"] = written
			v := judge(m)
			if v.Window == nil || v.Window.Written != written || v.Window.Original != b.config.AttentionWindow || (v.Window.Matches != "") != (written > b.config.AttentionWindow) {
				t.Errorf("%s: %+v", b.name, v.Window)
			}
			if from := v.Runtime.From; written > b.config.AttentionWindow && from != -1 || written == b.config.AttentionWindow && from != int(written) {
				t.Errorf("%s, %d: they diverge from %d on", b.name, written, from)
			}
		}
		m := b.made.clone()
		m.keeps = true
		judge(m)
	}
	for _, b := range backBases(t) {
		for _, keeps := range []bool{false, true} {
			m := b.made.clone()
			m.keeps = keeps
			judge(m)
		}
	}
}

// A divided embedding that loses bits is said to.
func TestInexactDivision(t *testing.T) {
	b := prepare(t, []*base{{name: "width 36", source: "odd-griffin/original/torch.pt", settings: neither(5), inexact: true}})[0]
	v, err := b.made.judge(t)
	if err != nil {
		t.Fatal(err)
	}
	if v.Weights.Divided != 61*36 || v.Weights.Inexact == 0 || v.Weights.Inexact >= v.Weights.Divided || !strings.Contains(v.Weights.Summary, "divided by 6; ") ||
		!strings.Contains(v.Weights.Summary, "multiplying does not restore") || !slices.ContainsFunc(v.Notes, func(n string) bool { return strings.HasPrefix(n, "not exact: ") }) {
		t.Errorf("%d of %d: %s %q", v.Weights.Inexact, v.Weights.Divided, v.Weights.Summary, v.Notes)
	}
	e := b.made.get(embeddingName)
	values := e.values()
	values[7] = math.Nextafter32(values[7], 9)
	e.set(values)
	if v, err = b.made.judge(t); err != nil || v.Same || !slices.Equal(named(v), []string{embeddingName}) {
		t.Errorf("one ulp: %v, %v", v, err)
	}
}
