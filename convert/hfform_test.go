package convert

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// formConfig is a model of the given width that takes a few kilobytes.
func formConfig(width int64, blocks ...BlockType) *Config {
	return &Config{VocabSize: 12, Width: width, MLPExpandedWidth: 6, NumHeads: 2, LRUWidth: 10, ConvWidth: 4, BlockTypes: blocks}
}

func TestHFForms(t *testing.T) {
	griffin := []BlockType{Recurrent, Attention}
	hawk := []BlockType{Recurrent, Recurrent}
	const none = 1 << 20
	for _, tt := range []struct {
		name    string
		width   int64
		blocks  []BlockType
		dtype   tensor.DType
		cap     float64
		scale   bool
		match   string
		want    HFForm
		refused string // what NewPlan says unless AllowInexact
	}{
		{"plain", 16, griffin, tensor.F32, 30, true, "", HFForm{"", 8, 30, 0, true, nil}, ""},
		{"matched", 16, griffin, tensor.F32, 30, true, "transformers5", HFForm{"transformers5", 9, 30, 0, true, nil}, ""},
		{"nothing to match", 16, hawk, tensor.F32, 30, true, "transformers5", HFForm{"", 8, 30, 0, true, nil}, ""},
		{"no cap", 16, griffin, tensor.F32, 0, true, "", HFForm{"", 8, none, 0, true, nil}, ""},
		{"no cap, bfloat16", 16, griffin, tensor.BF16, 0, true, "", HFForm{"", 8, none, 0, true, nil}, ""},
		{"no cap, float64", 16, griffin, tensor.F64, 0, true, "", HFForm{"", 8, 1 << 32, 0, true, nil}, ""},
		{"no cap, float16", 16, griffin, tensor.F16, 0, true, "", HFForm{"", 8, 2048, 0, true, nil}, "in float16, logits up to 40 change by as much as 6.1e-05 with the best cap, 2048"},
		{"no scale", 64, griffin, tensor.F32, 30, false, "", HFForm{"", 8, 30, 8, false, nil}, ""},
		{"no scale, bfloat16", 16, hawk, tensor.BF16, 30, false, "", HFForm{"", 8, 30, 4, false, nil}, ""},
		{"neither, matched", 16, griffin, tensor.BF16, 0, false, "transformers5", HFForm{"transformers5", 9, none, 4, false, nil}, ""},
		{"a root that bfloat16 rounds to a power of two", 4096 - 8, hawk, tensor.F32, 30, false, "", HFForm{"", 8, 30, 64, false, nil}, ""},
		{"no scale of width 40", 40, griffin, tensor.F32, 30, false, "", HFForm{"", 8, 30, 6.3125, false, nil}, "here 6.3125, and this model does not: no power of two"},
		{"no scale of width 40, bfloat16", 40, griffin, tensor.BF16, 30, false, "", HFForm{"", 8, 30, 6.3125, false, nil}, "changes bfloat16 elements by as much as a relative 0.0"},
		{"neither, width 40, float16", 40, griffin, tensor.F16, 0, false, "", HFForm{"", 8, 2048, 6.3125, false, nil}, "with the best cap, 2048 (all of them tried); transformers always scales"},
	} {
		c := formConfig(tt.width, tt.blocks...)
		tensors := modelTensors(c, Torch, "")
		for _, x := range tensors {
			x.DType = tt.dtype
		}
		o := PlanOptions{Settings: Settings{AttentionWindow: ptr(int64(8)), LogitsSoftCap: &tt.cap, EmbeddingScale: &tt.scale}, MatchRuntime: tt.match}
		m, err := Recognize(checkpoint(t, tensors...))
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewPlan(m, o)
		if tt.refused != "" {
			var bad *tensor.FormatError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.refused) || !strings.Contains(bad.Hint, "--allow-inexact") {
				t.Errorf("%s: %v", tt.name, err)
			}
			o.AllowInexact = true
			p, err = NewPlan(m, o)
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got := *p.HF
		if (len(got.Inexact) > 0) != (tt.refused != "") {
			t.Errorf("%s: inexact: %q", tt.name, got.Inexact)
		}
		got.Inexact = nil
		if !equalForms(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
		checkDivision(t, tt.name, p, tt.scale, tt.width)
	}
}

func equalForms(a, b HFForm) bool {
	return a.MatchRuntime == b.MatchRuntime && a.AttentionWindowSize == b.AttentionWindowSize && a.LogitsSoftCap == b.LogitsSoftCap &&
		a.EmbeddingDividedBy == b.EmbeddingDividedBy && a.TieWordEmbeddings == b.TieWordEmbeddings && slices.Equal(a.Inexact, b.Inexact)
}

// checkDivision holds the tensors of a plan against what a model without embedding scale needs.
func checkDivision(t *testing.T, name string, p *Plan, scale bool, width int64) {
	t.Helper()
	heads := 0
	for _, m := range p.Moves {
		d := p.Dests[m.Dest]
		divide := 0.0
		if d.Name == "model.embed_tokens.weight" && !scale {
			divide = normalizer(width)
		}
		if m.Divide != divide {
			t.Errorf("%s: %s is divided by %v, want %v", name, d.Name, m.Divide, divide)
		}
		if d.Name == "lm_head.weight" {
			heads++
			if m.Source.Name != "embedder.input_embedding" {
				t.Errorf("%s: the head comes from %s", name, m.Source.Name)
			}
		}
	}
	if (heads == 1) == scale || heads > 1 {
		t.Errorf("%s: %d heads", name, heads)
	}
}

// TestNormalizer has what torch.tensor(width**0.5, dtype=torch.bfloat16) is.
func TestNormalizer(t *testing.T) {
	for width, want := range map[int64]float64{1: 1, 16: 4, 32: 5.65625, 36: 6, 64: 8, 2560: 50.5, 4096: 64, 4088: 64, 4064: 63.75, 5632: 75} {
		if got := normalizer(width); got != want {
			t.Errorf("width %d: %v, want %v", width, got, want)
		}
	}
}

// TestNoCapInFloat16 tries every logit that float16 has up to 40, as transformers computes it.
func TestNoCapInFloat16(t *testing.T) {
	round := func(x float64) float64 { // to float16
		step := math.Ldexp(1, max(math.Ilogb(x), -14)-10)
		return math.RoundToEven(x/step) * step
	}
	cost := func(cap float64) float64 {
		worst := 0.0
		for code := 1; ; code++ {
			x := float16Value([]byte{byte(code), byte(code >> 8)})
			if x > 40 {
				return worst
			}
			quotient := round(x / cap)
			if quotient == 0 {
				worst = max(worst, x)
				continue
			}
			worst = max(worst, math.Abs(round(round(math.Tanh(quotient))*cap)-x))
		}
	}
	best := noCap[tensor.F16]
	if got := cost(best.cap); got != best.cost {
		t.Errorf("a cap of %v costs %v, want %v", best.cap, got, best.cost)
	}
	for power := 4; power < 24; power++ {
		if cap := math.Ldexp(1, power); cost(cap) < best.cost {
			t.Errorf("a cap of %v costs %v, less than %v", cap, cost(cap), best.cap)
		}
	}
}

func TestDivisionCost(t *testing.T) {
	for _, d := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F16} {
		half := map[tensor.DType]float64{tensor.F32: 0x1p-24, tensor.BF16: 0x1p-8, tensor.F16: 0x1p-11}[d]
		for _, by := range []float64{4, 64} {
			if got := divisionCost(d, by); got != 0 {
				t.Errorf("%s by %v: %v", d, by, got)
			}
		}
		for _, by := range []float64{5.65625, 50.5} {
			if got := divisionCost(d, by); got < half || got > 2*half {
				t.Errorf("%s by %v: %v, between %v and its double is possible", d, by, got, half)
			}
		}
	}
}

// TestHFFormAndBack converts an original that transformers cannot express by its own numbers to a Hugging Face
// directory, that to another, and back; conversion.json, and then what it says, are told from the
// weights alone.
func TestHFFormAndBack(t *testing.T) {
	const original = "../testdata/micro-hawk/original/torch.pt"
	settings := Settings{LogitsSoftCap: ptr(0.0), EmbeddingScale: ptr(false)}
	for _, tt := range []struct {
		name   string
		first  Options
		record bool // keep conversion.json
	}{
		{"with conversion.json", Options{Settings: settings}, true},
		{"without", Options{Settings: settings}, false},
	} {
		dir := t.TempDir()
		hf, again, back := filepath.Join(dir, "hf"), filepath.Join(dir, "again"), filepath.Join(dir, "back.pt")
		convertFile(t, original, hf, tt.first)
		if !tt.record {
			if err := os.Remove(filepath.Join(hf, ManifestName)); err != nil {
				t.Fatal(err)
			}
		}
		convertFile(t, hf, again, Options{})
		if !tt.record {
			os.Remove(filepath.Join(again, ManifestName))
		}
		for _, source := range []string{hf, again} {
			r := convertFile(t, source, back, Options{To: ToTorch, Overwrite: true, Verify: true})
			if r.Settings == nil || r.Settings.EmbeddingScale || r.Settings.LogitsSoftCap != 0 {
				t.Errorf("%s: settings %+v", tt.name, r.Settings)
			}
			sameTensors(t, original, back)
		}
		sameTensors(t, hf, again)
	}
}

func convertFile(t *testing.T, src, dst string, o Options) *Result {
	t.Helper()
	c, err := formats.Open(src, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := Convert(context.Background(), c, dst, o)
	if err != nil {
		t.Fatalf("%s to %s: %v", src, dst, err)
	}
	return r
}

// sameTensors compares two checkpoints by name and digest.
func sameTensors(t *testing.T, a, b string) {
	t.Helper()
	digests := func(path string) map[string]string {
		c, err := formats.Open(path, formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		out := map[string]string{}
		for _, x := range c.Tensors() {
			out[x.Name] = x.DType.String() + tensor.ShapeString(x.Shape) + string(readAll(t, x))
		}
		return out
	}
	want, got := digests(a), digests(b)
	for name := range want {
		if want[name] != got[name] {
			t.Errorf("%s of %s is not that of %s", name, b, a)
		}
	}
	if len(want) != len(got) {
		t.Errorf("%d tensors in %s, %d in %s", len(got), b, len(want), a)
	}
}

// TestMatchRuntimeIsKnown converts with --match-runtime, and from what that wrote: the window is never
// added to twice, and comes back.
func TestMatchRuntimeIsKnown(t *testing.T) {
	const original = "../testdata/tiny-griffin/original/torch.pt"
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	matched := Options{Settings: tinySettings, MatchRuntime: MatchTransformers5}
	convertFile(t, original, at("matched"), matched)
	convertFile(t, at("matched"), at("twice"), Options{MatchRuntime: MatchTransformers5})
	convertFile(t, at("matched"), at("plain"), Options{})
	convertFile(t, at("plain"), at("later"), Options{MatchRuntime: MatchTransformers5})
	convertFile(t, at("matched"), at("given"), Options{Settings: tinySettings, MatchRuntime: MatchTransformers5})
	convertFile(t, at("matched"), at("back"), Options{To: ToOrbax})
	for _, tt := range []struct {
		name    string
		window  int64 // in config.json
		matched string
	}{
		{"matched", 9, "transformers5"}, {"twice", 9, "transformers5"}, {"plain", 8, ""}, {"later", 9, "transformers5"}, {"given", 9, "transformers5"},
	} {
		var config struct {
			Window int64 `json:"attention_window_size"`
		}
		readJSON(t, filepath.Join(at(tt.name), "config.json"), &config)
		record, path, err := ReadManifest(at(tt.name))
		if err != nil || record == nil || path != filepath.Join(at(tt.name), ManifestName) {
			t.Fatalf("%s: %v, %v", tt.name, record, err)
		}
		if config.Window != tt.window || record.Settings.AttentionWindow != 8 || (record.HF != nil) != (tt.matched != "") ||
			record.HF != nil && (record.HF.MatchRuntime != tt.matched || record.HF.AttentionWindowSize != 9) {
			t.Errorf("%s: attention_window_size %d, %+v, %+v", tt.name, config.Window, record.Settings, record.HF)
		}
		c := completed(t, at(tt.name))
		if c.AttentionWindow != tt.window || (c.OriginalWindow == 8) != (tt.matched != "") || tt.matched == "" && c.OriginalWindow != 0 {
			t.Errorf("%s: %+v", tt.name, c)
		}
	}
	if record, _, err := ReadManifest(at("back")); err != nil || record.Settings.AttentionWindow != 8 || record.HF != nil {
		t.Errorf("back: %+v, %v", record, err)
	}
}

// TestConfigChangedSince edits config.json behind conversion.json's back: it says what is computed.
func TestConfigChangedSince(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hf")
	convertFile(t, "../testdata/tiny-griffin/original/torch.pt", dir, Options{Settings: tinySettings, MatchRuntime: MatchTransformers5})
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, window := range []string{"8", "12"} {
		changed := strings.Replace(string(text), `"attention_window_size": 9`, `"attention_window_size": `+window, 1)
		if err := os.WriteFile(path, []byte(changed), 0o666); err != nil {
			t.Fatal(err)
		}
		c := completed(t, dir)
		if text, _ := json.Marshal(c.AttentionWindow); string(text) != window || c.OriginalWindow != 0 {
			t.Errorf("attention_window_size %s: %+v", window, c)
		}
	}
}

func completed(t *testing.T, path string) Config {
	t.Helper()
	src, err := formats.Open(path, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	m, err := Recognize(src)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := m.Complete(Settings{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRuntimesThatCannotBeMatched(t *testing.T) {
	for name, want := range map[string]string{"transformers4": "no window", "transformers4.57": "position window - 1", "candle": `no runtime "candle"`} {
		_, err := plan(t, tinySettings, tensor.Invalid, modelTensors(&tinyConfig, Torch, "")...)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Recognize(checkpoint(t, modelTensors(&tinyConfig, Torch, "")...))
		if err != nil {
			t.Fatal(err)
		}
		_, err = NewPlan(m, PlanOptions{Settings: tinySettings, MatchRuntime: name})
		var usage *SettingsError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
