package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func TestSettingsComplete(t *testing.T) {
	hawk := tinyConfig
	hawk.BlockTypes = []BlockType{Recurrent}
	given := Settings{LogitsSoftCap: ptr(20.0), EmbeddingScale: ptr(false)}
	for _, tt := range []struct {
		name     string
		c        Config
		settings Settings
		preset   string
		want     string // window, cap, scale; or the fields that are missing; or a part of the error
	}{
		{"preset by its shapes", Griffin.Preset("2b").Config, Settings{}, "2b", "2048 30 true"},
		{"preset by its name", Griffin.Preset("2b").Config, Settings{Preset: "2b"}, "2b", "2048 30 true"},
		{"preset, a setting given", Griffin.Preset("2b").Config, Settings{AttentionWindow: ptr(int64(7))}, "2b", "7 30 true"},
		{"preset, settings given", Griffin.Preset("2b").Config, given, "2b", "2048 20 false"},
		{"another preset", Griffin.Preset("2b").Config, Settings{Preset: "9b"}, "", "a.pt is not of preset 9b: width 2560, not 4096; "},
		{"no such preset", tinyConfig, Settings{Preset: "3b"}, "", "no preset"},
		{"nothing", tinyConfig, Settings{}, "", "AttentionWindow LogitsSoftCap EmbeddingScale"},
		{"one is missing", tinyConfig, given, "", "AttentionWindow"},
		{"another is missing", tinyConfig, Settings{AttentionWindow: ptr(int64(7)), EmbeddingScale: ptr(true)}, "", "LogitsSoftCap"},
		{"all given", tinyConfig, tinySettings, "", "8 30 true"},
		{"no attention", hawk, Settings{}, "", "LogitsSoftCap EmbeddingScale"},
		{"no attention, others given", hawk, given, "", fmt.Sprintf("%d 20 false", Griffin.DefaultWindow)},
		{"no attention, all given", hawk, tinySettings, "", "8 30 true"},
		{"out of range", tinyConfig, Settings{AttentionWindow: ptr(int64(0))}, "", "not between 1 and"},
	} {
		c := tt.c
		c.AttentionWindow, c.LogitsSoftCap, c.EmbeddingScale = 0, 0, false
		preset, err := tt.settings.complete(&c, &Model{Family: Griffin, Checkpoint: &tensor.Checkpoint{Path: "a.pt"}})
		got := fmt.Sprint(c.AttentionWindow, c.LogitsSoftCap, c.EmbeddingScale)
		var option *OptionError
		if errors.As(err, &option) {
			if got = strings.Join(option.Missing, " "); got == "" && strings.Contains(err.Error(), tt.want) {
				got = tt.want
			}
		}
		if got != tt.want || preset != tt.preset {
			t.Errorf("%s: %s of %q, %v; want %s", tt.name, got, preset, err, tt.want)
		}
	}
}

func TestSettingsRange(t *testing.T) {
	window := func(n int64) Settings { return Settings{AttentionWindow: &n} }
	softCap := func(x float64) Settings { return Settings{LogitsSoftCap: &x} }
	for _, tt := range []struct {
		s             Settings
		given, range_ bool // accepted of a user, and of a file
	}{
		{window(0), false, false}, {window(1), true, true}, {window(math.MaxInt32), true, true}, {window(math.MaxInt32 + 1), false, false},
		{softCap(0), true, true}, {softCap(-1), false, true}, {softCap(math.MaxFloat32), true, true}, {softCap(-math.MaxFloat32), false, true},
		{softCap(math.MaxFloat32 * 2), false, false}, {softCap(math.NaN()), false, false}, {softCap(math.Inf(-1)), false, false}, {Settings{}, true, true},
	} {
		if err := tt.s.check(); (err == nil) != tt.given {
			t.Errorf("%+v: %v", tt.s, err)
		}
		if err := tt.s.checkRange(); (err == nil) != tt.range_ {
			t.Errorf("%+v: %v", tt.s, err)
		}
	}
}

// Settings may repeat those of the original that a config.json expresses, and not numbers that stand for others.
func TestCheckGiven(t *testing.T) {
	m := &Model{Family: Griffin, Layout: HuggingFace, Config: tinyConfig}
	stated, original := tinyConfig, tinyConfig
	stated.AttentionWindow, stated.LogitsSoftCap, stated.EmbeddingScale = 9, 65536, true
	original.AttentionWindow, original.LogitsSoftCap, original.EmbeddingScale = 8, 0, false
	for _, tt := range []struct {
		original Config
		s        Settings
		ok       bool
	}{
		{original, Settings{}, true},
		{original, Settings{AttentionWindow: ptr(int64(9)), LogitsSoftCap: ptr(65536.0), EmbeddingScale: ptr(true)}, false},
		{original, Settings{AttentionWindow: ptr(int64(8)), LogitsSoftCap: ptr(0.0), EmbeddingScale: ptr(false)}, true},
		{original, Settings{AttentionWindow: ptr(int64(9)), LogitsSoftCap: ptr(0.0)}, false},
		{original, Settings{EmbeddingScale: ptr(true)}, false},
		{original, Settings{LogitsSoftCap: ptr(65536.0)}, true},
		{original, Settings{AttentionWindow: ptr(int64(7))}, false},
		{original, Settings{LogitsSoftCap: ptr(30.0)}, false},
		{stated, Settings{EmbeddingScale: ptr(false)}, false},
		{stated, Settings{LogitsSoftCap: ptr(0.0)}, false},
		{stated, Settings{AttentionWindow: ptr(int64(8))}, false},
		{original, Settings{AttentionWindow: ptr(int64(0))}, false},
	} {
		r := &Configured{Model: m, Config: stated, Original: tt.original}
		if err := r.checkGiven(tt.s, "config.json"); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt.s, err)
		}
	}
}

// What contradicts a config.json or the shapes is named with the option that gave it, if it is one, and what to do.
func TestContradictedSettings(t *testing.T) {
	published := Griffin.Preset("2b").Config
	own := published
	own.AttentionWindow, own.LogitsSoftCap = 1024, 50
	for _, tt := range []struct {
		s                     Settings
		option, problem, hint string
	}{
		{Settings{Preset: "2b"}, "Preset", "preset 2b contradicts d/config.json: attention window 1024, not 2048; logits soft cap 50, not 30", needsNoSettings},
		{Settings{Preset: "2b", LogitsSoftCap: ptr(50.0)}, "Preset", "preset 2b contradicts d/config.json: attention window 1024, not 2048", needsNoSettings},
		{Settings{Preset: "2b", LogitsSoftCap: ptr(3.0)}, "", "the settings contradict d/config.json: attention window 1024, not 2048; logits soft cap 50, not 3", needsNoSettings},
		{Settings{AttentionWindow: ptr(int64(7))}, "AttentionWindow", "the settings contradict d/config.json: attention window 1024, not 7", needsNoSettings},
		{Settings{AttentionWindow: ptr(int64(7)), EmbeddingScale: ptr(false)}, "", "the settings contradict d/config.json: attention window 1024, not 7; embedding scale true, not false", needsNoSettings},
		{Settings{Preset: "9b"}, "Preset", "d is not of preset 9b: width 2560, not 4096; ", needsNoSettings},
	} {
		m := &Model{Family: Griffin, Layout: HuggingFace, Config: published, Checkpoint: &tensor.Checkpoint{Path: "d"}}
		m.files = &files{config: &hfconfig.Config{}}
		var bad *OptionError
		err := (&Configured{Model: m, Config: own, Original: own}).checkGiven(tt.s, "d/config.json")
		if !errors.As(err, &bad) || bad.Option != tt.option || !strings.HasPrefix(bad.Problem, tt.problem) || bad.Hint != tt.hint || bad.Contradicted != (tt.s.Preset != "9b") {
			t.Errorf("%+v: %+v", tt.s, err)
		}
	}
	for _, tt := range []struct {
		c    Config
		s    Settings
		hint string
	}{
		{published, Settings{}, "its shapes are those of preset 2b, which is taken if none is given"},
		{tinyConfig, Settings{LogitsSoftCap: ptr(30.0)}, ""},
		{tinyConfig, tinySettings, "leave the preset out: all settings are given without it"},
	} {
		var bad *OptionError
		tt.s.Preset = "9b"
		_, err := tt.s.complete(&tt.c, &Model{Family: Griffin, Checkpoint: &tensor.Checkpoint{Path: "a.pt"}})
		if !errors.As(err, &bad) || bad.Hint != tt.hint {
			t.Errorf("%+v, want %q", err, tt.hint)
		}
	}
}

// recordOf returns a manifest as it is read.
func recordOf(head manifest.Head, tensors []manifest.Tensor) *manifest.Record {
	head.Griffin = "test"
	text, err := (&manifest.Manifest{Head: head, Tensors: tensors}).JSON()
	if err != nil {
		panic(err)
	}
	r, err := manifest.Parse(text)
	if err != nil {
		panic(err)
	}
	return r
}

// filesWith returns files whose conversion.json is read as record, or not because of err.
func filesWith(record *manifest.Record, err error) *files {
	return &files{record: func() (recordFile, error) { return recordFile{Record: record}, err }}
}

// A conversion.json has the settings of an original only if it describes all of its tensors.
func TestRecordedSettings(t *testing.T) {
	own := []manifest.Tensor{{Name: "a", DType: "float32", Shape: []int64{2}}, {Name: "b", DType: "float32", Shape: []int64{3}}}
	tensors := []*tensor.Tensor{named("a", 2), named("b", 3)}
	settings := &manifest.Settings{AttentionWindow: 8, LogitsSoftCap: 30, EmbeddingScale: true}
	for _, tt := range []struct {
		name    string
		record  *manifest.Record
		tensors []*tensor.Tensor
		given   Settings
		want    string
	}{
		{"none", nil, tensors, Settings{}, "-"},
		{"all", recordOf(manifest.Head{Layout: "torch", Settings: settings}, own), tensors, Settings{}, "8 30 true attention_window logits_soft_cap embedding_scale"},
		{"one is given", recordOf(manifest.Head{Layout: "torch", Settings: settings}, own), tensors, Settings{LogitsSoftCap: ptr(20.0)}, "8 20 true attention_window embedding_scale"},
		{"some are given", recordOf(manifest.Head{Layout: "torch", Settings: settings}, own), tensors, Settings{AttentionWindow: ptr(int64(7)), LogitsSoftCap: ptr(0.0), EmbeddingScale: ptr(false)}, "7 0 false"},
		{"preset", recordOf(manifest.Head{Layout: "torch", Settings: settings}, own), tensors, Settings{Preset: "2b"}, "-"},
		{"no settings", recordOf(manifest.Head{Layout: "torch"}, own), tensors, Settings{}, "-"},
		{"another layout", recordOf(manifest.Head{Layout: "flax", Settings: settings}, own), tensors, Settings{}, "-"},
		{"one is missing", recordOf(manifest.Head{Layout: "torch", Settings: settings}, own[:1]), tensors, Settings{}, "-"},
		{"another type", recordOf(manifest.Head{Layout: "torch", Settings: settings}, []manifest.Tensor{own[0], {Name: "b", DType: "bfloat16", Shape: []int64{3}}}), tensors, Settings{}, "-"},
		{"another shape", recordOf(manifest.Head{Layout: "torch", Settings: settings}, []manifest.Tensor{own[0], {Name: "b", DType: "float32", Shape: []int64{1, 3}}}), tensors, Settings{}, "-"},
		{"no tensors", recordOf(manifest.Head{Layout: "torch", Settings: settings}, own), nil, Settings{}, "-"},
	} {
		s, recorded := recordedSettings(&Model{Layout: Torch, Tensors: tt.tensors, files: filesWith(tt.record, nil)}, tt.given)
		got := "-"
		if s.AttentionWindow != nil {
			got = fmt.Sprint(*s.AttentionWindow, *s.LogitsSoftCap, *s.EmbeddingScale)
			if len(recorded) > 0 {
				got += " " + strings.Join(recorded, " ")
			}
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestReadForm(t *testing.T) {
	form := manifest.HuggingFace{MatchRuntime: "transformers", AttentionWindowSize: 9, LogitsSoftCap: 50, EmbeddingDividedBy: 6,
		Inexact: []string{strings.Repeat("x", 1000), strings.Repeat("x", 1001), "a", "b", "c", "d"}}
	plain := manifest.Settings{AttentionWindow: 8}
	edit := func(change func(f *manifest.HuggingFace, s *manifest.Settings, m *manifest.Record)) *manifest.Record {
		f, s := form, plain
		m := &manifest.Record{Head: manifest.Head{Layout: "huggingface", HuggingFace: &f, Settings: &s}}
		change(&f, &s, m)
		return m
	}
	type (
		f = *manifest.HuggingFace
		s = *manifest.Settings
	)
	for _, tt := range []struct {
		name     string
		record   *manifest.Record
		err      error
		tied     bool
		relation HeadRelation
		softCap  float64 // of config.json
		want     string  // window, cap, scale, whether no cap is recorded, divisor of the form
	}{
		{"none", nil, nil, true, UnknownHead, 50, "9 50 true false -"},
		{"a cap that changes nothing", nil, nil, true, UnknownHead, float64(1 << 40), "9 0 true false -"},
		{"as it was written", edit(func(f, s, *manifest.Record) {}), nil, false, UnknownHead, 50, "8 0 false true 6"},
		{"tied", edit(func(f, s, *manifest.Record) {}), nil, true, UnknownHead, 50, "8 0 true true 0"},
		{"scaled", edit(func(_ f, s s, _ *manifest.Record) { s.EmbeddingScale = true }), nil, false, UnknownHead, 50, "8 0 true true 0"},
		{"not divided", edit(func(f f, _ s, _ *manifest.Record) { f.EmbeddingDividedBy = 0 }), nil, false, UnknownHead, 50, "8 0 true true 0"},
		{"head that was compared", edit(func(f, s, *manifest.Record) {}), nil, false, SeparateHead, 50, "8 0 true true 6"},
		{"unscaled head", nil, nil, false, UnscaledHead, 50, "9 50 false false -"},
		{"for no runtime", edit(func(f f, _ s, _ *manifest.Record) { f.MatchRuntime = "" }), nil, true, UnknownHead, 50, "9 0 true true 0"},
		{"window was edited", edit(func(f f, s s, _ *manifest.Record) { f.AttentionWindowSize, s.AttentionWindow = 10, 9 }), nil, true, UnknownHead, 50, "9 0 true true 0"},
		{"window of another form", edit(func(_ f, s s, _ *manifest.Record) { s.AttentionWindow = 7 }), nil, true, UnknownHead, 50, "9 0 true true 0"},
		{"a cap", edit(func(_ f, s s, _ *manifest.Record) { s.LogitsSoftCap = 50 }), nil, true, UnknownHead, 50, "8 50 true false 0"},
		{"cap was edited", edit(func(f f, _ s, _ *manifest.Record) { f.LogitsSoftCap = 40 }), nil, true, UnknownHead, 50, "8 50 true false 0"},
		{"of another layout", edit(func(_ f, _ s, m *manifest.Record) { m.Layout = "torch" }), nil, true, UnknownHead, 50, "9 50 true false -"},
		{"no form", edit(func(_ f, _ s, m *manifest.Record) { m.HuggingFace = nil }), nil, true, UnknownHead, 50, "9 50 true false -"},
		{"no settings", edit(func(_ f, _ s, m *manifest.Record) { m.Settings = nil }), nil, true, UnknownHead, 50, "9 50 true false -"},
		{"corrupt", nil, tensor.Bad("no JSON"), true, UnknownHead, 50, "9 50 true false -"},
		{"not readable", nil, errors.New("denied"), true, UnknownHead, 50, "denied"},
	} {
		m := &Model{Family: Griffin, Layout: HuggingFace, HeadRelation: tt.relation, found: byKey{first: map[string]*tensor.Tensor{"embed_tokens.weight": named("embed_tokens.weight", 8, 4)}},
			files: filesWith(tt.record, tt.err)}
		m.files.config = &hfconfig.Config{TieWordEmbeddings: tt.tied}
		r := &Configured{Model: m, Config: Config{AttentionWindow: 9, LogitsSoftCap: tt.softCap, EmbeddingScale: true}}
		err := r.readForm()
		divided := "-"
		if r.Form != nil {
			divided = fmt.Sprint(r.Form.EmbeddingDividedBy)
			if got := []int{len(r.Form.Inexact), len(r.Form.Inexact[0]), len(r.Form.Inexact[1])}; !slices.Equal(got, []int{4, 1000, 1}) {
				t.Errorf("%s: %v lines and bytes", tt.name, got)
			}
		}
		got := fmt.Sprint(r.Original.AttentionWindow, " ", r.Original.LogitsSoftCap, " ", r.Original.EmbeddingScale, " ", r.NoCapRecorded, " ", divided)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if !huggingface.IsNoSoftCap(1<<40, tensor.F32) {
		t.Error("2^40 is a soft cap of float32")
	}
}

// The window of a config.json may be one more than the original's, unless the record beside it, the shapes of a preset or the caller say it.
func TestWindowAssumed(t *testing.T) {
	preset := Griffin.Preset("2b").Config
	record := func(s manifest.Settings) *manifest.Record {
		return &manifest.Record{Head: manifest.Head{Layout: "huggingface", Settings: &s}}
	}
	for _, tt := range []struct {
		name   string
		window int64 // of config.json
		record *manifest.Record
		width  int64
		known  bool
	}{
		{"no record", 9, nil, 32, false},
		{"recorded", 9, record(manifest.Settings{AttentionWindow: 9}), 32, true},
		{"recorded as assumed", 9, record(manifest.Settings{AttentionWindow: 9, WindowAssumed: true}), 32, false},
		{"edited since", 9, record(manifest.Settings{AttentionWindow: 8}), 32, false},
		{"no settings", 9, &manifest.Record{}, 32, false},
		{"preset", 2048, nil, preset.Width, true},
		{"preset, one more", 2049, nil, preset.Width, false},
		{"window of a preset in another width", 2048, nil, preset.Width + 1, false},
	} {
		c := preset
		c.Width, c.AttentionWindow = tt.width, tt.window
		r := &Configured{Model: &Model{Family: Griffin, Layout: HuggingFace, files: filesWith(tt.record, nil)}, Config: c, Original: c}
		if got := r.windowKnown(); got != tt.known {
			t.Errorf("%s: known %t", tt.name, got)
		}
	}
}

// A window that was given is the original's if config.json has one more, unless something else says which is.
func TestTakeGivenWindow(t *testing.T) {
	for _, tt := range []struct {
		name     string
		stated   int64
		recorded *manifest.Record // nil for none
		s        Settings
		want     int64
		origin   string
	}{
		{"one more", 9, nil, Settings{AttentionWindow: ptr(int64(8))}, 8, "given"},
		{"as stated", 9, nil, Settings{AttentionWindow: ptr(int64(9))}, 9, "config.json"},
		{"another", 9, nil, Settings{AttentionWindow: ptr(int64(7))}, 9, "config.json"},
		{"not given", 9, nil, Settings{}, 9, "config.json"},
		{"of a preset", 2049, nil, Settings{Preset: "2b"}, 2048, "given"},
		{"recorded", 9, recordOfWindow(9, false), Settings{AttentionWindow: ptr(int64(8))}, 9, "config.json"},
		{"recorded as assumed", 9, recordOfWindow(9, true), Settings{AttentionWindow: ptr(int64(8))}, 8, "given"},
		{"another is recorded", 9, recordOfWindow(6, false), Settings{AttentionWindow: ptr(int64(8))}, 8, "given"},
	} {
		c := tinyConfig
		c.AttentionWindow = tt.stated
		m := &Model{Family: Griffin, Layout: HuggingFace, Config: c}
		m.files = &files{record: func() (recordFile, error) { return recordFile{Record: tt.recorded}, nil }}
		r := &Configured{Model: m, Config: c, Original: c, Origins: Origins{AttentionWindow: "config.json"}}
		if r.takeGivenWindow(tt.s); r.Original.AttentionWindow != tt.want || r.Origins.AttentionWindow != tt.origin {
			t.Errorf("%s: %d, %s", tt.name, r.Original.AttentionWindow, r.Origins.AttentionWindow)
		}
	}
}

func recordOfWindow(window int64, assumed bool) *manifest.Record {
	return &manifest.Record{Head: manifest.Head{Settings: &manifest.Settings{AttentionWindow: window, WindowAssumed: assumed}}}
}

// A setting has one text, which Parse reads again. Take and Clear change no other.
func TestSettingsByName(t *testing.T) {
	window, softCap, scale := int64(2048), 1048576.0, true
	all := Settings{AttentionWindow: &window, LogitsSoftCap: &softCap, EmbeddingScale: &scale}
	values := map[string]string{WindowSetting: "2048", SoftCapSetting: "1048576", ScaleSetting: "true"}
	for _, name := range SettingNames {
		var taken, parsed Settings
		taken.Take(name, &all)
		if err := parsed.Parse(name, values[name]); err != nil {
			t.Error(err)
		}
		cleared := all
		cleared.Clear(name)
		for _, other := range SettingNames {
			one, rest := "", values[other]
			if other == name {
				one, rest = rest, one
			}
			if taken.Value(other) != one || parsed.Value(other) != one || cleared.Value(other) != rest || all.Value(other) != values[other] {
				t.Errorf("%s of %s: taken %q, parsed %q, cleared %q", other, name, taken.Value(other), parsed.Value(other), cleared.Value(other))
			}
		}
		if err := parsed.Parse(name, "x"); err == nil || parsed.Value(name) != values[name] {
			t.Errorf("%s of x: %v, %q", name, err, parsed.Value(name))
		}
	}
}
