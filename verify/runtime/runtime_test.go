package runtime_test

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Runtimes diverge at the token where their recordings diverge.
func TestCompare(t *testing.T) {
	for name, window := range map[string]int{"tiny-griffin": 8, "odd-griffin": 5} {
		c := cases.Open(t, name)
		source, hf := c.Model(t, c.Checkpoints(t)[0]), c.Model(t, filepath.Join(c.Dir, "hf"))
		jax, err := golden.Open(c.Recording("jax"))
		if err != nil {
			t.Fatal(err)
		}
		defer jax.Close()
		for r, want := range map[*runtime.Runtime]int{runtime.Transformers5: window, runtime.Transformers4: window + 1, runtime.Original: -1} {
			plain, packed := jax.Passes[:1], jax.Passes[1:]
			a, b := source.RunBy(r), hf.RunBy(r)
			d := runtime.Compare(a, b, plain)
			if d.From != want || (d.First != nil) != (want >= 0) || d.First != nil && (int(d.First.Position) != want || d.First.Row != 0) {
				t.Errorf("%s, %s: %+v", name, r.Name, d)
			}
			if d.First != nil {
				m, err := logits.Distance(t.Context(), a.Reference(), b.Reference(), plain, d.First.Index)
				if err != nil || m == nil || !(m.Largest > 0) {
					t.Errorf("%s, %s: logits differ by %+v, %v", name, r.Name, m, err)
				}
			}
			if d = runtime.Compare(a, b, packed); (d.First != nil) != (r != runtime.Original) || d.First != nil && d.Pass != "packed" {
				t.Errorf("%s, %s, packed: %+v", name, r.Name, d)
			}
			short := []golden.Pass{{Batch: 1, Length: window, Tokens: jax.Passes[0].Tokens[:window], Positions: jax.Passes[0].Positions[:window]}}
			if d = runtime.Compare(a, b, short); d.First != nil || want >= 0 && !strings.Contains(d.Summary, "was not reached") {
				t.Errorf("%s, %s, short: %+v", name, r.Name, d)
			}
		}
		recordingsDiverge(t, c, window)
	}
}

// recordingsDiverge checks that the recordings of the original and of transformers 5 diverge at the window.
func recordingsDiverge(t *testing.T, c *cases.Case, window int) {
	t.Helper()
	var logits [2]*reference.Activations
	for i, name := range []string{"jax", "hf5"} {
		g, err := golden.Open(c.Recording(name))
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		if logits[i], err = g.Passes[0].Read("logits"); err != nil {
			t.Fatal(err)
		}
	}
	at := func(token int) float64 {
		worst := 0.0
		for i := range logits[0].Width {
			worst = math.Max(worst, math.Abs(logits[0].At(token*logits[0].Width+i)-logits[1].At(token*logits[0].Width+i)))
		}
		return worst
	}
	before := 0.0
	for i := range window {
		before = math.Max(before, at(i))
	}
	if after := at(window); after < 2*before {
		t.Errorf("recordings differ by %g at the window and by %g before it", after, before)
	}
}

// With a window that is one larger, transformers 5 sees what the original sees.
func TestCompareWithLargerWindow(t *testing.T) {
	config := model.Config{BlockTypes: []model.BlockType{model.Attention}, AttentionWindow: 8, LogitsSoftCap: 30}
	side := func(layout model.Layout, config model.Config) runtime.Side {
		m := &runtime.Model{Found: &model.Model{Layout: layout}, Config: config, Original: config}
		return m.RunBy(runtime.Transformers5)
	}
	original, larger := side(model.Torch, config), config
	larger.AttentionWindow = 9
	if d := runtime.Compare(original, side(model.HuggingFace, larger), nil); d.From != -1 {
		t.Errorf("they diverge from %d on", d.From)
	}
	larger.LogitsSoftCap = 0
	if d := runtime.Compare(original, side(model.HuggingFace, larger), nil); d.From != 0 {
		t.Errorf("with a soft cap of 0 they diverge from %d on", d.From)
	}
}

func TestFacts(t *testing.T) {
	config := model.Config{Width: 32, LRUWidth: 32, BlockTypes: []model.BlockType{model.Recurrent, model.Attention}, AttentionWindow: 8, LogitsSoftCap: 30}
	find := func(c model.Config, name, prompt, cache string) string {
		for _, f := range runtime.Facts(&c, &c) {
			if f.Runtime == name && f.Prompt == prompt && f.Cache == cache {
				return f.Does
			}
		}
		return ""
	}
	narrow, hawk, capless := config, config, config
	narrow.LRUWidth = 48
	hawk.BlockTypes = hawk.BlockTypes[:1]
	capless.LogitsSoftCap = 0
	for _, tt := range []struct {
		config                        model.Config
		runtime, prompt, cache, wants string
	}{
		{config, "original", "any", "either", "sees 9 tokens"},
		{config, "transformers4", "1 token", "with", "crashes"},
		{config, "transformers4", "more than 8 tokens", "with", "from position 0"},
		{config, "transformers4", "2 to 7 tokens", "with", "position 7"},
		{config, "transformers4", "more than 9 tokens", "without", "position 9"},
		{config, "transformers5", "1 token", "with", "previous call"},
		{narrow, "transformers5", "1 token", "with", "crashes"},
		{hawk, "transformers5", "any", "with", "cannot use the cache"},
		{config, "transformers5", "more than 8 tokens", "either", "position 8"},
		{capless, "transformers5", "any", "either", "zero"},
		{capless, "transformers4", "any", "either", "zero"},
	} {
		if got := find(tt.config, tt.runtime, tt.prompt, tt.cache); !strings.Contains(got, tt.wants) {
			t.Errorf("%s, %s, %s cache: %q, want %q", tt.runtime, tt.prompt, tt.cache, got, tt.wants)
		}
	}
}

// What is said of runtimes fits how the window is written.
func TestFactsOfMatchedWindow(t *testing.T) {
	original := model.Config{Width: 32, LRUWidth: 32, BlockTypes: []model.BlockType{model.Recurrent, model.Attention}, AttentionWindow: 8, LogitsSoftCap: 0}
	written := original
	written.AttentionWindow, written.LogitsSoftCap = 9, 1<<20
	facts := map[string]runtime.Fact{}
	for _, f := range runtime.Facts(&original, &written) {
		facts[f.Runtime+", "+f.Prompt+", "+f.Cache] = f
	}
	for key, does := range map[string]string{
		"original, any, either":                      "attention sees 9 tokens: its own and 8 before it",
		"transformers5, 2 tokens and more, with":     "as the original, decoding too: attention sees 9 tokens in both",
		"transformers5, any, without":                "as the original",
		"transformers5, any, in float16, either":     "logits lose digits: divided by 1048576, the soft cap that stands for none, they leave the range of float16",
		"transformers4, 2 to 8 tokens, with":         "as the original; decoding diverges from position 8 on",
		"transformers4, 9 tokens, with":              "as the original, decoding too",
		"transformers4, more than 9 tokens, with":    "wrong logits from position 0 on",
		"transformers4, up to 9 tokens, without":     "as the original",
		"transformers4, more than 9 tokens, without": "attention has no window: diverges from position 9 on, whatever attention_window_size is",
	} {
		if facts[key].Does != does {
			t.Errorf("%s: %q, want %q", key, facts[key].Does, does)
		}
	}
}
