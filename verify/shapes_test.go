package verify

import (
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
)

// Rows that were added to the vocabulary are said, and that config.json is as the tensors are.
func TestLargerVocabulary(t *testing.T) {
	m := baseOf(t, "bfloat16, torch").made.clone()
	e := m.get(embeddingName)
	rows := slices.Repeat(e.row(0), 4)
	e.shape, e.data = []int64{e.shape[0] + 4, e.shape[1]}, append(slices.Clone(e.data), rows...)
	m.config["vocab_size"] = e.shape[0]
	v, err := m.judge(t)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := WriteText(&b, v, "--json"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"model.embed_tokens.weight (embedder.input_embedding): [132, 32] instead of [128, 32]; resized from 128 to 132 rows: the first 128 are the same\n",
		"vocab_size: 132, not 128; the tensors of the conversion are as this says\n",
		"1 tensor could not be compared (see structure); ",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s\nshould say %q", b.String(), want)
		}
	}
}

// Where tensors are missing, misshapen or renamed, config.json is not wrong because it does not have what is left. It is if that is a whole model.
func TestConfigBesideWrongTensors(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(m *made)
		want string // fields that fail
	}{
		{"a layer missing in place", func(m *made) { m.removeAll("layers.2.") }, ""},
		{"a layer renamed", func(m *made) {
			for _, name := range m.all("layers.2.") {
				m.get(name).name = strings.Replace(name, "layers.", "layer.", 1)
			}
		}, ""},
		{"the last layers missing", func(m *made) { m.removeAll("layers.3."); m.removeAll("layers.4.") }, ""},
		{"the embedding transposed", func(m *made) { slices.Reverse(m.get(embeddingName).shape) }, ""},
		{"the first layer removed, and the others renumbered", func(m *made) { m.renumber(1, func(block int) []int { return []int{block - 1} }) }, "num_hidden_layers, block_types"},
		{"a larger vocabulary", func(m *made) {
			e := m.get(embeddingName)
			e.shape, e.data = []int64{e.shape[0] + 1, e.shape[1]}, append(slices.Clone(e.data), e.row(0)...)
		}, "vocab_size"},
	} {
		m := baseOf(t, "bfloat16, torch").made.clone()
		tt.edit(m)
		v, err := m.judge(t)
		if err != nil {
			t.Fatal(err)
		}
		var fields []string
		for _, f := range v.Config.Findings.All() {
			fields = append(fields, f.Field)
		}
		if got := strings.Join(fields, ", "); got != tt.want || v.Structure.OK || v.Same {
			t.Errorf("%s: %q; %s", tt.name, got, v.Structure.Summary)
		}
	}
}

// removeAll removes the tensors with a part of a name.
func (m *made) removeAll(part string) {
	for _, name := range m.all(part) {
		m.remove(name)
	}
}

// A copy in float64 has all values of the source, and is compared with it.
func TestFloat64(t *testing.T) {
	for _, name := range []string{"bfloat16, torch", "float32, torch", "bfloat16, Hugging Face to torch"} {
		b := append(bases(t, ""), backBases(t)...)
		m := b[slices.IndexFunc(b, func(b *base) bool { return b.name == name })].made.clone()
		for _, e := range m.tensors {
			widened := &entry{e.name, tensor.F64, e.shape, nil}
			for _, x := range e.values() {
				widened.data = binary.LittleEndian.AppendUint64(widened.data, math.Float64bits(float64(x)))
			}
			*e = *widened
		}
		if m.config != nil {
			m.config["dtype"], m.config["torch_dtype"] = "float64", "float64"
		}
		v, err := m.judge(t)
		if err != nil {
			t.Fatal(err)
		}
		if !v.Same || v.Answer() != "the same model, as float64" {
			t.Errorf("%s: %s, %v", name, v.Answer(), findings(v))
		}
		flip(0, 3)(m.get(m.tensors[0].name))
		if v, err = m.judge(t); err != nil || v.Same || v.Weights.Findings.Len() != 1 || v.Weights.Findings.At(0).Differing != 1 {
			t.Errorf("%s: one bit: %v, %v", name, v, err)
		}
	}
}

// The settings that the source lacks are those that config.json of the conversion states, which the error has.
func TestStatedSettings(t *testing.T) {
	b := baseOf(t, "bfloat16, torch")
	_, err := verifyFiles(t, b.source, b.made.write(t), Options{})
	var missing *model.OptionError
	if !errors.As(err, &missing) || len(missing.Missing) != 3 || *missing.Stated.AttentionWindow != 8 || *missing.Stated.LogitsSoftCap != 30 || !*missing.Stated.EmbeddingScale {
		t.Errorf("%v, %+v", err, missing)
	}
}

// MLX stores the convolution with its unit axis last. That is right in its own files, and noted; transformers does not load it.
func TestConvolutionOfMLX(t *testing.T) {
	for _, format := range []string{"pt", "mlx"} {
		m := baseOf(t, "float32, torch").made.clone()
		m.format = format
		for _, e := range m.tensors {
			if strings.HasSuffix(e.name, convWeight) {
				e.shape = []int64{e.shape[0], e.shape[2], 1}
			}
		}
		v, err := m.judge(t)
		if err != nil {
			t.Fatal(err)
		}
		if v.Same != (format == "mlx") || v.Structure.OK != v.Same || v.Weights.Findings.Len() > 0 {
			t.Errorf("%s: %q", format, named(v))
		}
		if slices.ContainsFunc(v.Notes, func(n string) bool {
			return strings.HasPrefix(n, "the conversion: ") && strings.Contains(n, "axes of length 1 are elsewhere")
		}) != v.Same {
			t.Errorf("%s: notes %q", format, v.Notes)
		}
	}
}

// Other errors stay as they are, and a record that cannot be read is named.
func TestWithStated(t *testing.T) {
	hf, torch := modelAt(t, "../testdata/tiny-griffin/hf"), modelAt(t, "../testdata/tiny-griffin/original/torch.pt")
	lacks := &model.OptionError{Problem: "p", Missing: []string{"AttentionWindow"}}
	unreadable := errors.New("cut short")
	for _, tt := range []struct {
		name       string
		err        error
		m          *model.Model
		unreadable error
		problem    string
		stated     bool // the window, which alone is missing
	}{
		{"an error of files", unreadable, hf, unreadable, "", false},
		{"an option that is wrong", &model.OptionError{Problem: "p"}, hf, unreadable, "p", false},
		{"config.json", lacks, hf, nil, "p", true},
		{"config.json, and a record that cannot be read", lacks, hf, unreadable, "p; conversion.json of the conversion cannot be used: cut short", true},
		{"an original", lacks, torch, nil, "p", false},
		{"an original, and a record that cannot be read", lacks, torch, unreadable, "p; conversion.json of the conversion cannot be used: cut short", false},
		{"no model", lacks, nil, nil, "p", false},
	} {
		got := withStated(t.Context(), tt.err, &run{convertedModel: tt.m, record: record{err: tt.unreadable}})
		var option *model.OptionError
		if !errors.As(got, &option) {
			if tt.problem != "" || got != tt.err {
				t.Errorf("%s: %v", tt.name, got)
			}
			continue
		}
		if option.Problem != tt.problem || (option.Stated.AttentionWindow != nil) != tt.stated || option.Stated.EmbeddingScale != nil {
			t.Errorf("%s: %+v", tt.name, option)
		}
	}
}

// Of the settings that are missing, those are named that the conversion shows: an embedding that is not scaled is shown by its output head, whatever
// config.json has, and a Hawk has no window.
func TestWithStatedOfHawk(t *testing.T) {
	original, dir := filepath.Join(cases.Open(t, "micro-hawk").Dir, "original", "torch.pt"), filepath.Join(t.TempDir(), "hf")
	zero, isScaled := 0.0, false
	convertFiles(t, original, dir, convert.Options{To: convert.ToHF, Settings: model.Settings{LogitsSoftCap: &zero, EmbeddingScale: &isScaled}})
	remove(t, dir, manifest.Name)
	for _, given := range []model.Settings{{}, {EmbeddingScale: &isScaled}} {
		_, err := verifyFiles(t, original, dir, Options{Settings: given})
		var option *model.OptionError
		if !errors.As(err, &option) {
			t.Fatal(err)
		}
		s, isMissing := option.Stated, given.EmbeddingScale == nil
		if s.AttentionWindow != nil || s.LogitsSoftCap == nil || *s.LogitsSoftCap != 0 || (s.EmbeddingScale != nil) != isMissing || isMissing && *s.EmbeddingScale {
			t.Errorf("%+v: %+v", given, option)
		}
	}
}

// A field of config.json that is not there is said not to be, and not to have the value that it stands for.
func TestOpenWindowWithoutField(t *testing.T) {
	original, dir := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true)})
	rewrite(t, filepath.Join(dir, hfconfig.Name), func(text []byte) []byte {
		return regexp.MustCompile(`(?m)^.*"attention_window_size".*\n`).ReplaceAll(text, nil)
	})
	v, err := verifyFiles(t, original, dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const want = "attention window: config.json of the conversion has no attention_window_size, which stands for 2048, and its conversion.json has 8: the source does not say which is right"
	if all := v.Config.Findings.All(); len(all) != 1 || all[0].String() != want {
		t.Errorf("%s", textOf(t, v))
	}
}

// A field that a version reads under another name is one finding with both, and two numbers have one notation.
func TestFieldsOfTwoNames(t *testing.T) {
	m := baseOf(t, "bfloat16, torch").made.clone()
	m.config["dtype"], m.config["torch_dtype"], m.config["rms_norm_eps"] = "float32", "float32", 1e-5
	v, err := m.judge(t)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range v.Config.Findings.Len() {
		f := v.Config.Findings.At(i)
		got = append(got, f.String())
	}
	want := []string{"rms_norm_eps: 1e-05, not 1e-06; every norm would differ slightly", `dtype, torch_dtype: "float32", not "bfloat16"; transformers would round the weights to it, or compute in it`}
	if !slices.Equal(got, want) || !strings.Contains(v.Config.Summary, "3 fields: rms_norm_eps, dtype, torch_dtype") {
		t.Errorf("%s: %q", v.Config.Summary, got)
	}
}
