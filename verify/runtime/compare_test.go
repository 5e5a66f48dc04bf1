package runtime_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// changed returns the Hugging Face directory of tiny-griffin with other fields in config.json.
func changed(t *testing.T, fields map[string]any) *runtime.Model {
	t.Helper()
	c := cases.Open(t, "tiny-griffin")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(c.Dir, "hf"))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]json.RawMessage{} // numbers stay as they are written
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for name, value := range fields {
		if all[name], err = json.Marshal(value); err != nil {
			t.Fatal(err)
		}
	}
	if text, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o666); err != nil {
		t.Fatal(err)
	}
	return c.Model(t, dir)
}

// row is a pass of one document.
func row(n int) []golden.Pass {
	p := golden.Pass{Batch: 1, Length: n}
	for i := range n {
		p.Tokens, p.Positions = append(p.Tokens, int32(i)), append(p.Positions, int32(i))
	}
	return []golden.Pass{p}
}

// What a runtime makes of config.json itself comes before and after windows, whichever side it runs.
func TestCompareOwnReasons(t *testing.T) {
	c := cases.Open(t, "tiny-griffin") // with a window of 8
	source := c.Model(t, c.Checkpoints(t)[0])
	base := changed(t, map[string]any{"rope_theta": 10000.0, "rope_parameters": map[string]any{"rope_theta": 500.0, "partial_rotary_factor": 0.5, "rope_type": "default"}})
	rotation := changed(t, map[string]any{"partial_rotary_factor": 0.25, "rope_parameters": map[string]any{"rope_theta": 10000.0, "partial_rotary_factor": 0.25, "rope_type": "default"}})
	capless := *base
	capless.Config.LogitsSoftCap = 0
	for _, tt := range []struct {
		name    string
		hf      *runtime.Model
		runtime *runtime.Runtime
		tokens  int
		from    int
		first   int // -1 for none
		want    string
		own     bool
	}{
		{"base", base, runtime.Transformers4, 5, 1, 1, "transformers 4 ignores rope_parameters", true},
		{"base", base, runtime.Transformers4, 1, 1, -1, "from position 1 on, and the longest document has 1 token", true},
		{"base", base, runtime.Transformers4, 0, 1, -1, "diverges from the original from position 1 of a document on", true},
		{"base", base, runtime.Transformers5, 12, 8, 8, "there attention sees 9 tokens in the original and 8 tokens in transformers 5", false},
		{"rotation", rotation, runtime.Transformers4, 5, 0, 0, "at token 0 of row 0 (position 0): transformers 4 every pass fails", true},
		{"rotation", rotation, runtime.Transformers4, 0, 0, -1, "from position 0 of a document on", true},
		{"capless", &capless, runtime.Transformers5, 3, 0, 0, "all its logits are zero", true},
	} {
		passes := row(tt.tokens)
		for _, d := range []*runtime.Divergence{compare(t, source.RunBy(tt.runtime), tt.hf.RunBy(tt.runtime), passes), compare(t, tt.hf.RunBy(tt.runtime), source.RunBy(tt.runtime), passes)} {
			first := -1
			if d.First != nil {
				first = d.First.Index
			}
			if d.From != tt.from || d.Own != tt.own || first != tt.first || d.First != nil && (d.First.Row != 0 || int(d.First.Position) != first) {
				t.Errorf("%s, %s: from %d, first %+v: %s", tt.name, tt.runtime.Name, d.From, d.First, d.Summary)
			}
		}
		if d := compare(t, source.RunBy(tt.runtime), tt.hf.RunBy(tt.runtime), passes); !strings.Contains(d.Summary, tt.want) || strings.Contains(d.Summary, "for a document alone") {
			t.Errorf("%s, %s: %s", tt.name, tt.runtime.Name, d.Summary)
		}
	}
	if d := compare(t, base.RunBy(runtime.Transformers4), base.RunBy(runtime.Transformers4), row(3)); d.From != -1 || d.First != nil {
		t.Errorf("one directory on both sides: %+v", d)
	}
	if d := compare(t, base.RunBy(runtime.Original), base.RunBy(runtime.Original), row(3)); !d.Refused || d.Summary != "the original does not compute the model: rope_theta is 500, not 10000" {
		t.Errorf("one directory that the original shall run: %+v", d)
	}
	for s, want := range map[reference.Semantics]float64{reference.Transformers5: 500, reference.Transformers4: 10000, reference.MLX: 10000} {
		if theta := base.ConfigUnder(s).Numerics.RopeTheta; theta != want {
			t.Errorf("semantics %v: rotates with %g", s, theta)
		}
	}
	if c := source.ConfigUnder(reference.Transformers4); c.AttentionWindow != 8 {
		t.Errorf("%+v", c)
	}
	if d, err := base.Directory(); err != nil || d.Head || d.ByHead || d.Stated == nil || d.Format == "" {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := source.Directory(); err != nil || d.Stated == nil || d.Fields["attention_window_size"] == nil || d.Original.AttentionWindow != 8 {
		t.Errorf("the directory of a plain conversion: %+v, %v", d, err)
	}
	// Two directories under one runtime are the source and the conversion.
	hf := changed(t, nil)
	smaller, larger := *hf, *hf
	smaller.Config.AttentionWindow, larger.Config.AttentionWindow = 5, 9
	if d := compare(t, hf.RunBy(runtime.Transformers5), smaller.RunBy(runtime.Transformers5), row(9)); d.From != 5 || d.First == nil || d.First.Index != 5 ||
		!strings.Contains(d.Summary, "under transformers 5 the conversion diverges from the source at token 5 of row 0 (position 5)") {
		t.Errorf("%+v", d)
	}
	if d := compare(t, hf.RunBy(runtime.Transformers5), hf.RunBy(runtime.Transformers5), row(9)); d.From != -1 || !strings.Contains(d.Summary, "under transformers 5 the conversion computes the same as the source at every position") {
		t.Errorf("%+v", d)
	}
	// Packed rows diverge although documents do not.
	packed := []golden.Pass{{Name: "packed", Batch: 2, Length: 4, Tokens: make([]int32, 8), Positions: []int32{0, 1, 2, 3, 0, 0, 1, 2}}}
	d := compare(t, source.RunBy(runtime.Transformers5), larger.RunBy(runtime.Transformers5), packed)
	if d.From != -1 || d.First == nil || d.First.Row != 1 || d.Pass != "packed" || !strings.Contains(d.Summary, "of the packed rows") || !strings.Contains(d.Summary, "for a document alone it computes the same") {
		t.Errorf("%+v", d)
	}
	twice := []golden.Pass{{Name: "packed", Batch: 1, Length: 2, Tokens: make([]int32, 2), Positions: make([]int32, 2)}}
	if d := compare(t, hf.RunBy(runtime.Transformers5), source.RunBy(runtime.Transformers5), twice); !strings.Contains(d.Summary, "sees 1 earlier token in transformers 5 and 0 in the original") {
		t.Errorf("%+v", d)
	}
}

func TestLongestDocument(t *testing.T) {
	if n := runtime.LongestDocument(append(row(3), row(5)...)); n != 5 {
		t.Errorf("%d tokens", n)
	}
	if n := runtime.LongestDocument(nil); n != 0 {
		t.Errorf("%d tokens of nothing", n)
	}
}

// Window says how config.json writes the window, and For whether that is the window of another model.
func TestWindow(t *testing.T) {
	hf := changed(t, nil) // with attention_window_size 8
	for _, tt := range []struct {
		original int64
		evidence runtime.Evidence
		matches  string
		summary  string
	}{
		{8, runtime.FromSource, "", "is 8, the original's window"},
		{8, runtime.Assumed, "", "which is taken for the original's window"},
		{8, runtime.Contradicted, "", "taken for the original's window; conversion.json records another"},
		{7, runtime.FromManifest, "transformers5", "one more than the original's window of 7"},
		{9, runtime.FromFixture, "", "the original's window"},
	} {
		w := hf.WithOriginal(tt.original, 30, tt.evidence).Window()
		if w.Written != 8 || w.Original != tt.original || w.Matches != tt.matches || w.Source != tt.evidence || !strings.Contains(w.Summary, tt.summary) {
			t.Errorf("%+v", w)
		}
	}
	beyond := changed(t, map[string]any{"rms_norm_eps": 0.001}).WithOriginal(7, 30, runtime.FromManifest).Window()
	if want := "is 8, one more than the window of 7, to match an original that does not compute the model; with 7, transformers 5 computes other logits"; beyond.Matches == "" || !strings.HasSuffix(beyond.Summary, want) {
		t.Errorf("%+v", beyond)
	}
	if assumed := changed(t, map[string]any{"rms_norm_eps": 0.001}).WithOriginal(8, 30, runtime.Assumed).Window(); !strings.HasSuffix(assumed.Summary, "is 8; the original implementation, whose window could be another, does not compute the model") {
		t.Errorf("%+v", assumed)
	}
	w := hf.Window()
	for original, same := range map[int64]bool{6: false, 7: true, 8: true, 9: false} {
		if f := w.For(original); (f == w) != same || !same && (f.Original != original || !strings.Contains(f.Summary, "neither the original's window of")) {
			t.Errorf("for %d: %+v", original, f)
		}
	}
	c, hawk := cases.Open(t, "tiny-griffin"), *hf
	source := c.Model(t, c.Checkpoints(t)[0])
	hawk.Config.BlockTypes = []model.BlockType{model.Recurrent}
	if source.Window() != nil || hawk.Window() != nil {
		t.Error("another layout, or a model without attention, has a window")
	}
	if source.Semantics() != reference.Original || hf.Semantics() != reference.Transformers5 {
		t.Errorf("semantics %v, %v", source.Semantics(), hf.Semantics())
	}
}

// The record of a conversion is evidence of the window, and a quantised copy is known as one.
func TestOpen(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	path := c.Checkpoints(t)[0]
	src, err := formats.Open(path, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst := filepath.Join(t.TempDir(), "hf")
	if _, err := convert.Convert(t.Context(), src, dst, convert.Options{To: convert.ToHF, Settings: c.Settings}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]runtime.Evidence{path: runtime.Assumed, filepath.Join(c.Dir, "hf"): runtime.Given, dst: runtime.FromManifest} {
		if m := c.Model(t, path); m.Evidence != want || m.Quantized != nil {
			t.Errorf("%s: %s", path, m.Evidence)
		}
	}
	quantized := cases.Case{}
	if m := quantized.Model(t, filepath.Join(cases.Testdata(t), "quantized", "fp8-rows")); m.Quantized == nil {
		t.Error("the quantised copy is not known as one")
	}
}

func TestParse(t *testing.T) {
	for i, name := range runtime.Names() {
		if r, err := runtime.Parse(name); err != nil || r != runtime.All[i] {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := runtime.Parse("llama.cpp"); err == nil || !strings.Contains(err.Error(), "is not one of original, transformers4") {
		t.Error(err)
	}
}

// WindowAlone is for directories that one more in attention_window_size would mend.
func TestWindowAlone(t *testing.T) {
	zero := plain
	zero.LogitsSoftCap = 0
	for _, tt := range []struct {
		config model.Config
		size   int64
		fields map[string]any
		want   bool
	}{{plain, 8, nil, true}, {plain, 9, nil, false}, {zero, 8, nil, false}, {plain, 8, map[string]any{"logits_soft_cap": 30}, false}} {
		if got := directoryOf(t, tt.config, tt.size, tt.fields).WindowAlone(); got != tt.want {
			t.Errorf("%d %v: %v", tt.size, tt.fields, got)
		}
	}
}

// What depends on one number or one field more is said there only.
func TestCasesOfOneField(t *testing.T) {
	attention, wide, head := plain, plain, plain
	head.SeparateHead = true
	attention.BlockTypes = attention.BlockTypes[2:]
	wide.BlockTypes, wide.LRUWidth = attention.BlockTypes, 88
	narrow := plain
	narrow.AttentionWindow = 1
	theta := map[string]any{"rope_theta": 10000.0, "partial_rotary_factor": 0.5, "rope_parameters": map[string]any{"rope_theta": 100.0, "partial_rotary_factor": 0.5, "rope_type": "default"}}
	for _, tt := range []struct {
		name string
		d    *runtime.Directory
		want map[string]string // "" for none
	}{
		{"two more", directoryOf(t, plain, 11, nil), map[string]string{"transformers5, more than 9 tokens, either": "attention sees 11 tokens, 2 more than the original"}},
		{"one more", directoryOf(t, plain, 10, nil), map[string]string{"transformers5, more than 9 tokens, either": "one more than the original", "transformers5, any, in float16, either": ""}},
		{"four less", directoryOf(t, plain, 5, nil), map[string]string{"transformers5, more than 5 tokens, either": "4 less than the original"}},
		{"wide attention", directoryOf(t, wide, 9, nil), map[string]string{"transformers5, 1 token, with": ""}},
		{"window of 2", directoryOf(t, narrow, 2, nil), map[string]string{"transformers4, 2 to 1 tokens, with": "", "transformers4, 1 token, with": "crashes", "transformers4, 2 tokens, with": "decoding too"}},
		{"window of 3", directoryOf(t, narrow, 3, nil), map[string]string{"transformers4, 2 tokens, with": "as the original"}},
		{"window of 1", directoryOf(t, narrow, 1, nil), map[string]string{"transformers4, 1 token, with": "crashes", "transformers4, more than 1 token, with": "wrong logits", "transformers5, more than 1 token, either": "attention sees 1 token, one less", "transformers5, 2 to 1 tokens, with": ""}},
		{"base", directoryOf(t, plain, 9, theta), map[string]string{"transformers4, any, without": "diverges from position 1 on", "transformers4, any, either": "", "transformers4, 1 token, with": "crashes", "transformers4, 2 to 9 tokens, with": "from position 1 on, as without", "transformers4, more than 9 tokens, with": "from position 0 on", "candle, any, either": "diverges from position 1 on", "candle, any, without": ""}},
		{"head and base", directoryOf(t, head, 9, theta), map[string]string{"candle, any, either": "diverges from position 0 on"}},
	} {
		got := map[string]string{}
		for _, f := range runtime.Facts(runtime.Explain(tt.d)) {
			got[f.Runtime+", "+f.Prompt+", "+f.Cache] = f.Does
		}
		for key, does := range tt.want {
			if !strings.Contains(got[key], does) || does == "" && got[key] != "" {
				t.Errorf("%s: %s: %q, want %q; there are %q", tt.name, key, got[key], does, slices.Sorted(maps.Keys(got)))
			}
		}
	}
	for size, want := range map[int64]bool{8: false, 9: true} {
		for _, f := range runtime.Facts(runtime.Explain(directoryOf(t, attention, size, nil))) {
			if f.Runtime == "transformers5" && f.Prompt == "packed rows" && f.Cache == "without" && f.AsOrig != want {
				t.Errorf("packed rows with attention_window_size %d: %v", size, f.AsOrig)
			}
		}
	}
	null := json.RawMessage("null")
	bfloat16 := directoryOf(t, plain, 9, nil)
	bfloat16.DType = tensor.BF16
	hawk := directoryOf(t, plain, 9, nil)
	hawk.DType, hawk.Original.BlockTypes = tensor.BF16, hawk.Original.BlockTypes[:2]
	for _, tt := range []struct {
		name   string
		d      *runtime.Directory
		at     int
		want   string
		denied string
	}{
		{"head and base", directoryOf(t, head, 9, theta), 0, "ignores the output head", ""},
		{"null", directoryOf(t, plain, 9, map[string]any{"num_key_value_heads": null}), -1, "num_key_value_heads", ""},
		{"other blocks", directoryOf(t, plain, 9, map[string]any{"block_types": []string{"attention", "recurrent", "recurrent"}}), -1, "other blocks than the weights have", ""},
		{"float32", directoryOf(t, plain, 9, nil), 9, "attention has no window", "angles of the rotary embedding"},
		{"bfloat16", bfloat16, 9, "angles of the rotary embedding are rounded to bfloat16", ""},
		{"bfloat16 without attention", hawk, -1, "", "angles of the rotary embedding"},
	} {
		for _, e := range runtime.Explain(tt.d) {
			at, reasons := -1, strings.Join(e.Reasons, "; ")
			if e.DivergesAt != nil {
				at = *e.DivergesAt
			}
			if e.Runtime == "candle" && (at != tt.at || !strings.Contains(reasons, tt.want) || tt.denied != "" && strings.Contains(reasons, tt.denied)) {
				t.Errorf("%s: %d: %q", tt.name, at, reasons)
			}
		}
	}
	if _, err := runtime.Review(directoryOf(t, plain, 9, theta), convert.Transformers4); err == nil || strings.Contains(err.Error(), "it agrees in documents") || !strings.Contains(err.Error(), "from position 1 on") {
		t.Errorf("%v", err)
	}
}
