package convert

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// formConfig returns the configuration of a small model of a width.
func formConfig(width int64, blocks ...model.BlockType) *model.Config {
	return &model.Config{VocabSize: 12, Width: width, MLPExpandedWidth: 6, NumHeads: 2, LRUWidth: 10, ConvWidth: 4, BlockTypes: blocks}
}

func TestHFForms(t *testing.T) {
	griffin := []model.BlockType{model.Recurrent, model.Attention}
	hawk := []model.BlockType{model.Recurrent, model.Recurrent}
	const none = 1 << 20
	for _, tt := range []struct {
		name    string
		width   int64
		blocks  []model.BlockType
		dtype   tensor.DType
		cap     float64
		scale   bool
		match   Runtimes
		want    manifest.HuggingFace
		refused string // what NewPlan says unless AllowInexact
	}{
		{"plain", 16, griffin, tensor.F32, 30, true, NoRuntime, formOf("", 8, 30, 0, true), ""},
		{"matched", 16, griffin, tensor.F32, 30, true, Transformers5, formOf("transformers5", 9, 30, 0, true), ""},
		{"nothing to match", 16, hawk, tensor.F32, 30, true, Transformers5, formOf("", 8, 30, 0, true), ""},
		{"no cap", 16, griffin, tensor.F32, 0, true, NoRuntime, formOf("", 8, none, 0, true), ""},
		{"no cap, bfloat16", 16, griffin, tensor.BF16, 0, true, NoRuntime, formOf("", 8, none, 0, true), ""},
		{"no cap, float64", 16, griffin, tensor.F64, 0, true, NoRuntime, formOf("", 8, 1<<32, 0, true), ""},
		{"no cap, float16", 16, griffin, tensor.F16, 0, true, NoRuntime, formOf("", 8, 2048, 0, true), "in float16, logits up to 40 change by as much as 6.1e-05 with the best cap, 2048"},
		{"no scale", 64, griffin, tensor.F32, 30, false, NoRuntime, formOf("", 8, 30, 8, false), ""},
		{"no scale, bfloat16", 16, hawk, tensor.BF16, 30, false, NoRuntime, formOf("", 8, 30, 4, false), ""},
		{"neither, matched", 16, griffin, tensor.BF16, 0, false, Transformers5, formOf("transformers5", 9, none, 4, false), ""},
		{"a root that bfloat16 rounds to a power of two", 4096 - 8, hawk, tensor.F32, 30, false, NoRuntime, formOf("", 8, 30, 64, false), ""},
		{"no scale of width 40", 40, griffin, tensor.F32, 30, false, NoRuntime, formOf("", 8, 30, 6.3125, false), "here 6.3125, and this model does not: no power of two"},
		{"no scale of width 40, bfloat16", 40, griffin, tensor.BF16, 30, false, NoRuntime, formOf("", 8, 30, 6.3125, false), "changes bfloat16 elements by as much as a relative 0.0"},
		{"neither, width 40, float16", 40, griffin, tensor.F16, 0, false, NoRuntime, formOf("", 8, 2048, 6.3125, false), "with the best cap, 2048 (all of them tried); transformers always scales"},
	} {
		c := formConfig(tt.width, tt.blocks...)
		tensors := modelTensors(c, model.Torch, "")
		for _, x := range tensors {
			x.DType = tt.dtype
		}
		o := PlanOptions{Settings: model.Settings{AttentionWindow: ptr(int64(8)), LogitsSoftCap: &tt.cap, EmbeddingScale: &tt.scale}, MatchRuntime: tt.match}
		m := open(t, model.Options{}, tensors...)
		p, err := NewPlan(m, o)
		if tt.refused != "" {
			var bad *tensor.FormatError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.refused) || bad.Reason != ReasonInexact && bad.Reason != ReasonInexactF16 {
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

func formOf(match string, window int64, softCap, dividedBy manifest.Float, tied bool) manifest.HuggingFace {
	return manifest.HuggingFace{MatchRuntime: match, AttentionWindowSize: window, LogitsSoftCap: softCap, EmbeddingDividedBy: dividedBy, TieWordEmbeddings: tied}
}

func equalForms(a, b manifest.HuggingFace) bool {
	return a.MatchRuntime == b.MatchRuntime && a.AttentionWindowSize == b.AttentionWindowSize && a.LogitsSoftCap == b.LogitsSoftCap &&
		a.EmbeddingDividedBy == b.EmbeddingDividedBy && a.TieWordEmbeddings == b.TieWordEmbeddings && slices.Equal(a.Inexact, b.Inexact)
}

// checkDivision checks that the embedding is divided, and the head added, if the model has no embedding
// scale.
func checkDivision(t *testing.T, name string, p *Plan, scale bool, width int64) {
	t.Helper()
	heads := 0
	for _, m := range p.Moves {
		d := p.Dests[m.Dest]
		divide := 0.0
		if d.Name == "model.embed_tokens.weight" && !scale {
			divide = huggingface.EmbeddingScale(width)
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

// TestHFFormAndBack converts an original that transformers cannot express with its own settings to a
// Hugging Face directory, that to another one, and back: with conversion.json, and then without it, from
// the weights alone.
func TestHFFormAndBack(t *testing.T) {
	const original = "../testdata/micro-hawk/original/torch.pt"
	settings := model.Settings{LogitsSoftCap: ptr(0.0), EmbeddingScale: ptr(false)}
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
			if err := os.Remove(filepath.Join(hf, manifest.Name)); err != nil {
				t.Fatal(err)
			}
		}
		convertFile(t, hf, again, Options{})
		if !tt.record {
			os.Remove(filepath.Join(again, manifest.Name))
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

// TestMatchRuntimeIsKnown converts with MatchRuntime, and from the result: the window is increased only
// once, and a conversion back restores it.
func TestMatchRuntimeIsKnown(t *testing.T) {
	const original = "../testdata/tiny-griffin/original/torch.pt"
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	matched := Options{Settings: tinySettings, MatchRuntime: Transformers5}
	convertFile(t, original, at("matched"), matched)
	convertFile(t, at("matched"), at("twice"), Options{MatchRuntime: Transformers5})
	convertFile(t, at("matched"), at("plain"), Options{})
	convertFile(t, at("plain"), at("later"), Options{MatchRuntime: Transformers5})
	convertFile(t, at("matched"), at("given"), Options{Settings: tinySettings, MatchRuntime: Transformers5})
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
		record, path, err := readManifest(at(tt.name))
		if err != nil || record == nil || path != filepath.Join(at(tt.name), manifest.Name) {
			t.Fatalf("%s: %v, %v", tt.name, record, err)
		}
		if config.Window != tt.window || record.Settings.AttentionWindow != 8 || (record.HuggingFace != nil) != (tt.matched != "") ||
			record.HuggingFace != nil && (record.HuggingFace.MatchRuntime != tt.matched || record.HuggingFace.AttentionWindowSize != 9) {
			t.Errorf("%s: attention_window_size %d, %+v, %+v", tt.name, config.Window, record.Settings, record.HuggingFace)
		}
		c, original := completed(t, at(tt.name))
		if c.AttentionWindow != tt.window || original.AttentionWindow != 8 {
			t.Errorf("%s: %+v", tt.name, c)
		}
	}
	if record, _, err := readManifest(at("back")); err != nil || record.Settings.AttentionWindow != 8 || record.HuggingFace != nil {
		t.Errorf("back: %+v, %v", record, err)
	}
}

// TestConfigChangedSince edits config.json after the conversion: its numbers are taken as they are.
func TestConfigChangedSince(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hf")
	convertFile(t, "../testdata/tiny-griffin/original/torch.pt", dir, Options{Settings: tinySettings, MatchRuntime: Transformers5})
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
		c, original := completed(t, dir)
		if text, _ := json.Marshal(c.AttentionWindow); string(text) != window || original.AttentionWindow != c.AttentionWindow {
			t.Errorf("attention_window_size %s: %+v", window, c)
		}
	}
}

// completed returns the configuration of a checkpoint, as it states it and in the original's terms.
func completed(t *testing.T, path string) (stated, original model.Config) {
	t.Helper()
	m, err := model.Open(t.Context(), openFile(t, path), model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	configured, err := m.Configure(model.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	return configured.Config, configured.Original
}

func TestParseRuntimes(t *testing.T) {
	for _, name := range []string{"candle3", "original", "transformers5,", "transformers5;mlx-lm"} {
		var option *OptionError
		if _, err := ParseRuntimes(name); !errors.As(err, &option) || option.Option != "MatchRuntime" || len(option.Accepted) != 4 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := ParseRuntimes("mlx-lm, transformers5"); err != nil || got.String() != "transformers5,mlx-lm" {
		t.Errorf("%s, %v", got, err)
	}
	for _, r := range []Runtimes{NoRuntime, Transformers5, Transformers5 | MLX, Transformers4 | Candle} {
		if got, err := ParseRuntimes(r.String()); err != nil || got != r {
			t.Errorf("%s: %v, %v", r, got, err)
		}
	}
}

// TestPresetsOfThePaper: both 7B models have neither scale nor cap, and an exact Hugging Face form.
func TestPresetsOfThePaper(t *testing.T) {
	for _, name := range []string{"griffin-paper-7b", "hawk-paper-7b"} {
		for _, d := range []tensor.DType{tensor.F32, tensor.BF16} {
			c := model.Griffin.Preset(name).Config
			c.VocabSize = 10
			p, err := plan(t, model.Settings{}, d, modelTensors(&c, model.Flax, "")...)
			if err != nil {
				t.Errorf("%s in %s: %v", name, d, err)
				continue
			}
			if !equalForms(*p.HF, formOf("", 1024, 1<<20, 64, false)) || p.Preset != name {
				t.Errorf("%s in %s: %+v", name, d, p.HF)
			}
		}
	}
}

// withEmbedding returns a small float16 model with an embedding of given bits, and a head unless it is nil.
func withEmbedding(t *testing.T, l model.Layout, embedding, head []byte) *tensor.Checkpoint {
	c := formConfig(16, model.Recurrent)
	var tensors []*tensor.Tensor
	for _, x := range modelTensors(c, l, model.Griffin.Roots[l]) {
		x.DType = tensor.F16
		withData(x, make([]byte, x.Bytes()))
		if x.Shape[0] == c.VocabSize {
			withData(x, embedding)
		}
		tensors = append(tensors, x)
	}
	if head != nil {
		x := &tensor.Tensor{Name: "lm_head.weight", DType: tensor.F16, Shape: []int64{c.VocabSize, c.Width}}
		tensors = append(tensors, withData(x, head))
	}
	return checkpoint(t, tensors...)
}

// codes returns the elements of an embedding that all have the same bits.
func codes(code uint16) []byte {
	p := make([]byte, 2*12*16)
	for i := 0; i < len(p); i += 2 {
		p[i], p[i+1] = byte(code), byte(code>>8)
	}
	return p
}

// TestDivisionThatLosesBits: the smallest float16 numbers lose their last bits when they are divided.
// This is known only after the elements were moved.
func TestDivisionThatLosesBits(t *testing.T) {
	settings := model.Settings{LogitsSoftCap: ptr(30.0), EmbeddingScale: ptr(false)}
	const large, small = 0x3c01, 0x0003 // 1.001 and 3 * 2^-24
	for _, tt := range []struct {
		code    uint16
		allowed bool
		want    string
	}{
		{large, false, ""}, {small, true, ""},
		{small, false, "192 of 192 elements of model.embed_tokens.weight, divided by 4, become too small for float16 and lose their last bits"},
	} {
		dst := filepath.Join(t.TempDir(), "hf")
		r, err := Convert(context.Background(), withEmbedding(t, model.Torch, codes(tt.code), nil), dst, Options{Settings: settings, AllowInexact: tt.allowed})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%#x: %v, want %q", tt.code, err, tt.want)
		}
		if _, missing := os.Stat(dst); (missing != nil) != (tt.want != "") {
			t.Errorf("%#x: %v", tt.code, missing)
		}
		if tt.allowed && (r == nil || r.Inexact != 192 || len(r.HF.Inexact) != 1 || !strings.Contains(strings.Join(r.Notes, "\n"), "192 of 192 elements")) {
			t.Errorf("%#x: %+v", tt.code, r)
		}
	}
}

// TestOverflow: elements that the dtype cannot hold are refused, with the tensor and the largest of them, unless they are allowed; then they are recorded. This is
// known only after the elements were moved.
func TestOverflow(t *testing.T) {
	const large, more, most = 0x47800000, 0xc8000000, 0x7f7fffff // of float32: 65536, -131072, and the largest
	for _, tt := range []struct {
		codes   []uint32 // of the first elements of the embedding
		bias    uint32   // of the first element of each vector
		to      tensor.DType
		allowed bool
		want    string
		reason  tensor.Reason
	}{
		{[]uint32{large, more}, 0, tensor.BF16, false, "", ""},
		{[]uint32{0x477fefff}, 0, tensor.F16, false, "", ""}, // rounds to the largest float16
		{[]uint32{large, more, 0x7f800000}, 0, tensor.F16, true, "", ""},
		{[]uint32{large, more, 0x7f800000, 0x7fc00000}, 0, tensor.F16, false, "2 of 192 elements would be infinite in float16, the largest with magnitude 131072", ReasonOverflowF16},
		{[]uint32{more}, large, tensor.F16, false, "1 of 192 elements would be infinite in float16, the largest with magnitude 131072; so would be elements of 9 other tensors", ReasonOverflowF16},
		{[]uint32{most}, 0, tensor.F16, false, "1 of 192 elements would be infinite in float16, the largest with magnitude 3.40282e+38", ReasonOverflow},
		{[]uint32{most}, 0, tensor.BF16, false, "1 of 192 elements would be infinite in bfloat16, the largest with magnitude 3.40282e+38", ReasonOverflow},
	} {
		c := formConfig(16, model.Recurrent)
		var tensors []*tensor.Tensor
		for _, x := range modelTensors(c, model.Torch, model.Griffin.Roots[model.Torch]) {
			x.DType = tensor.F32
			data := make([]byte, x.Bytes())
			switch {
			case x.Shape[0] == c.VocabSize:
				for i, code := range tt.codes {
					binary.LittleEndian.PutUint32(data[4*i:], code)
				}
			case len(x.Shape) == 1:
				binary.LittleEndian.PutUint32(data, tt.bias)
			}
			tensors = append(tensors, withData(x, data))
		}
		for _, to := range []Target{ToHF, ToTorch, ToOrbax, ToSafetensors} {
			o := Options{To: to, DType: tt.to, AllowInexact: tt.allowed, Verify: true}
			if to != ToSafetensors {
				o.Settings = model.Settings{LogitsSoftCap: ptr(30.0), EmbeddingScale: ptr(true)}
			}
			dst := filepath.Join(t.TempDir(), "out")
			r, err := Convert(t.Context(), checkpoint(t, tensors...), dst, o)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || tensor.ReasonOf(err) != tt.reason) {
				t.Errorf("%s %x: %v, want %q", to, tt.codes, err, tt.want)
			}
			if err != nil {
				if left, _ := os.ReadDir(filepath.Dir(dst)); len(left) > 0 {
					t.Errorf("%s %x: %v", to, tt.codes, left)
				}
				continue
			}
			record, _, err := readManifest(dst)
			if want := map[bool]int64{true: 2}[tt.allowed]; err != nil || r.Overflowed != want || record.Overflowed != want {
				t.Errorf("%s %x: %d became infinite, %+v recorded, %v", to, tt.codes, r.Overflowed, record, err)
			}
		}
	}
}

// TestHeadsOfADirectory finds out what an untied head of a Hugging Face directory without conversion.json is.
func TestHeadsOfADirectory(t *testing.T) {
	embedding := codes(0x3c01)
	other := slices.Clone(embedding)
	other[len(other)-2] ^= 1
	fourfold := codes(0x4401)
	nearly := slices.Clone(fourfold)
	nearly[len(nearly)-2] ^= 1
	for _, tt := range []struct {
		name string
		head []byte
		want model.HeadRelation
		back string // what a conversion to an original says
	}{
		{"a copy", embedding, model.CopiedHead, ""},
		{"sqrt(width) times it", fourfold, model.UnscaledHead, ""},
		{"nearly a copy", other, model.SeparateHead, "a separate output head, which the original implementations do not have"},
		{"nearly that", nearly, model.SeparateHead, "a separate output head"},
	} {
		src := withEmbedding(t, model.HuggingFace, embedding, tt.head)
		m, err := model.Open(t.Context(), src, model.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if tt.want == model.CopiedHead {
			if m.Config.SeparateHead {
				t.Errorf("%s: it is not tied", tt.name)
			}
		} else if m.HeadRelation != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, m.HeadRelation, tt.want)
		}
		p, err := NewPlan(m, PlanOptions{To: ToTorch})
		if tt.back != "" {
			if err == nil || !strings.Contains(err.Error(), tt.back) {
				t.Errorf("%s: %v", tt.name, err)
			}
			if m, err = model.Open(t.Context(), src, model.Options{KeepExtra: true}); err != nil {
				t.Fatal(err)
			}
			if p, err = NewPlan(m, PlanOptions{To: ToTorch}); err != nil || len(p.Dests) != len(written(formConfig(16, model.Recurrent), model.Torch))+1 {
				t.Errorf("%s, kept: %v", tt.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if p.Moves[0].Source.Name == "lm_head.weight" != (tt.want == model.UnscaledHead) {
			t.Errorf("%s: the embedding comes from %s", tt.name, p.Moves[0].Source.Name)
		}
		if err := p.CheckCopies(context.Background()); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestHeadTrainedSince changes the head of a directory whose conversion.json records that it is the
// unscaled embedding: it is a separate head then, and the embedding is not divided again.
func TestHeadTrainedSince(t *testing.T) {
	dir := t.TempDir()
	hf := filepath.Join(dir, "hf")
	convertFile(t, "../testdata/micro-hawk/original/torch.pt", hf, Options{Settings: model.Settings{LogitsSoftCap: ptr(0.0), EmbeddingScale: ptr(false)}})
	path := filepath.Join(hf, "model.safetensors")
	weights, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := formats.Open(hf, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lay, ok, err := tensor.Layout(c.Tensor("lm_head.weight"))
	c.Close()
	if err != nil || !ok {
		t.Fatal(err)
	}
	weights[lay.Base] ^= 1
	if err := os.WriteFile(path, weights, 0o666); err != nil {
		t.Fatal(err)
	}
	c, err = formats.Open(hf, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, err := model.Open(t.Context(), c, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewPlan(m, PlanOptions{To: ToOrbax}); err == nil || !strings.Contains(err.Error(), "a separate output head") {
		t.Errorf("to an original: %v", err)
	}
	p, err := NewPlan(m, PlanOptions{DType: tensor.BF16})
	if err != nil {
		t.Fatal(err)
	}
	if divisionOf(p.List) != nil || p.HF.EmbeddingDividedBy != 0 || p.HF.TieWordEmbeddings {
		t.Errorf("to bfloat16: %+v", p.HF)
	}
}

// A directory without a conversion.json whose logits_soft_cap is so large that it has no effect is the directory of a model without a soft cap, whatever it
// is converted to. A new config.json keeps the number if it has no effect in the new dtype either. A smaller one is the soft cap of the model.
func TestLargeCapsOfOthers(t *testing.T) {
	dir := t.TempDir()
	hf := filepath.Join(dir, "hf")
	for _, tt := range []struct {
		cap      float64
		original float64
	}{{1 << 20, 0}, {1 << 21, 0}, {1 << 19, 1 << 19}, {1<<20 + 1, 1<<20 + 1}} {
		convertFile(t, "../testdata/micro-hawk/original/torch.pt", hf, Options{Overwrite: true,
			Settings: model.Settings{LogitsSoftCap: &tt.cap, EmbeddingScale: ptr(true)}})
		os.Remove(filepath.Join(hf, manifest.Name))
		for dtype, want := range map[tensor.DType]float64{tensor.Invalid: tt.cap, tensor.BF16: tt.cap, tensor.F16: 1 << 11} {
			if tt.original != 0 {
				want = tt.cap
			}
			r := convertFile(t, hf, filepath.Join(dir, "hf16"), Options{DType: dtype, AllowInexact: true, Overwrite: true})
			written := r.Settings.LogitsSoftCap
			if r.HF != nil {
				written = r.HF.LogitsSoftCap
			}
			if float64(r.Settings.LogitsSoftCap) != tt.original || float64(written) != want {
				t.Errorf("cap %v in %v: %+v, %v in config.json", tt.cap, dtype, r.Settings, written)
			}
		}
		r := convertFile(t, hf, filepath.Join(dir, "back.pt"), Options{To: ToTorch, Overwrite: true})
		if float64(r.Settings.LogitsSoftCap) != tt.original {
			t.Errorf("cap %v, original: %+v", tt.cap, r.Settings)
		}
	}
}
