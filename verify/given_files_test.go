package verify

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Files of a conversion that were changed, so that they contradict each other or the tensors, do not show that what was given is wrong. A record of another
// layout contradicts nothing.
func TestChangedFilesAgainstGiven(t *testing.T) {
	for _, tt := range []struct {
		name        string
		made, given model.Settings
		file        string // that was changed
		from, to    string
		recorded    bool     // has a conversion.json
		want        []string // findings of the configuration
	}{
		{"a record of another layout", settingsOf(8, 30, true), settingsOf(6, 30, true), manifest.Name, `"layout": "huggingface"`, `"layout": "torch"`, true, []string{"conversion.json: layout: torch, not huggingface", "attention_window: 6, not 8"}},
		{"no window", settingsOf(8, 30, true), settingsOf(8, 30, true), "config.json", `"attention_window_size": 8,`, "", false, []string{"attention_window_size: no such field, which stands for 2048, not 8"}},
		{"a window of nothing", settingsOf(8, 30, true), settingsOf(8, 30, true), "config.json", `"attention_window_size": 8,`, `"attention_window_size": 0,`, false, []string{"attention_window_size: 0, not 8"}},
		{"a soft cap of 0", settingsOf(8, 30, true), settingsOf(8, 30, true), "config.json", `"logits_soft_cap": 30.0`, `"logits_soft_cap": 0.0`, false, []string{"logits_soft_cap: 0, not 30"}},
		{"no head, and not tied", settingsOf(8, 30, true), settingsOf(8, 30, false), "config.json", `"tie_word_embeddings": true`, `"tie_word_embeddings": false`, false, nil},
		{"a head, and tied", settingsOf(8, 30, false), settingsOf(8, 30, true), "config.json", `"tie_word_embeddings": false`, `"tie_word_embeddings": true`, false, nil},
		{"another window than recorded", settingsOf(8, 30, true), settingsOf(6, 30, true), "config.json", `"attention_window_size": 8`, `"attention_window_size": 7`, true, []string{"conversion.json: settings.attention_window: 8, not 6", "conversion.json: huggingface.match_runtime: none, not transformers5"}},
		{"another soft cap than recorded", settingsOf(8, 30, true), settingsOf(8, 20, true), "config.json", `"logits_soft_cap": 30.0`, `"logits_soft_cap": 10.0`, true, []string{"logits_soft_cap: 10, not 20", "conversion.json: settings.logits_soft_cap: 30, not 20"}},
		{"another scale than recorded", settingsOf(8, 30, true), settingsOf(8, 30, false), "config.json", `"tie_word_embeddings": true`, `"tie_word_embeddings": false`, true, []string{"conversion.json: settings.embedding_scale: true, not false"}},
	} {
		source, converted := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: tt.made, AllowInexact: true})
		if !tt.recorded {
			remove(t, converted, manifest.Name)
		}
		rewrite(t, filepath.Join(converted, tt.file), replaced(tt.from, tt.to))
		v, err := verifyFiles(t, source, converted, Options{Settings: tt.given})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		isBlamed := tt.name == "a record of another layout"
		if got := textsOf(v.Config.Findings); v.Same || (v.Unproven != "") != isBlamed || got != strings.Join(tt.want, "\n") {
			t.Errorf("%s: %q: %s", tt.name, got, textOf(t, v))
		}
		if slices.ContainsFunc(v.Config.Findings.All(), func(f Finding) bool { return f.Kind == GivenSetting }) != isBlamed {
			t.Errorf("%s: what was given: %s", tt.name, textOf(t, v))
		}
	}
}

// Beside a source whose config.json has another window, a record says which of them is the original's. Windows that are the same are not doubted.
func TestWindowsOfTwoDirectories(t *testing.T) {
	const isTaken = ", which is taken for the original's window: nothing says whether it is one more, to match transformers 5"
	for _, tt := range []struct {
		name         string
		source, made convert.Options
		recorded     [2]bool // have a conversion.json
		original     int64
		evidence     runtime.Evidence
		summary      string
	}{
		{"one more, of which nothing is known", convert.Options{}, convert.Options{MatchRuntime: convert.Transformers5}, [2]bool{}, 8, runtime.Assumed,
			"attention_window_size is 9, and that of the source 8: nothing says which of them is the original's window, or one more"},
		{"one more, as recorded", convert.Options{}, convert.Options{MatchRuntime: convert.Transformers5}, [2]bool{false, true}, 8, runtime.FromManifest,
			"attention_window_size is 9, one more than the original's window of 8: transformers 5 attends to the same tokens as the original"},
		{"the same", convert.Options{}, convert.Options{}, [2]bool{}, 8, runtime.Assumed, "attention_window_size is 8" + isTaken},
		{"the same, as recorded", convert.Options{}, convert.Options{}, [2]bool{false, true}, 8, runtime.FromManifest, "attention_window_size is 8, the original's window"},
		{"another than the recorded one", convert.Options{}, convert.Options{Settings: settingsOf(6, 30, true)}, [2]bool{true, false}, 8, runtime.FromSource,
			"attention_window_size is 6, neither the original's window of 8 nor one more"},
		{"another, as recorded", convert.Options{}, convert.Options{Settings: settingsOf(6, 30, true)}, [2]bool{false, true}, 6, runtime.FromManifest,
			"attention_window_size is 6, and that of the source 8: conversion.json records 6 for the original's window"},
		{"one more than another, as recorded", convert.Options{}, convert.Options{Settings: settingsOf(9, 30, true), MatchRuntime: convert.Transformers5}, [2]bool{false, true}, 9, runtime.FromManifest,
			"attention_window_size is 10, and that of the source 8: conversion.json records 9 for the original's window"},
		{"one more in both, as recorded", convert.Options{MatchRuntime: convert.Transformers5}, convert.Options{MatchRuntime: convert.Transformers5}, [2]bool{false, true}, 8, runtime.FromManifest,
			"attention_window_size is 9, one more than the original's window of 8: transformers 5 attends to the same tokens as the original"},
		{"one more in both, of which nothing is known", convert.Options{MatchRuntime: convert.Transformers5}, convert.Options{MatchRuntime: convert.Transformers5}, [2]bool{}, 9, runtime.Assumed, "attention_window_size is 9" + isTaken},
	} {
		var dirs [2]string
		for i, o := range []convert.Options{tt.source, tt.made} {
			if o.To = convert.ToHF; o.Settings.AttentionWindow == nil {
				o.Settings = settingsOf(8, 30, true)
			}
			if _, dirs[i] = convertTiny(t, "hf", o); !tt.recorded[i] {
				remove(t, dirs[i], manifest.Name)
			}
		}
		v, err := verifyFiles(t, dirs[0], dirs[1], Options{})
		if err != nil {
			t.Fatal(err)
		}
		if w := v.Window; w.Original != tt.original || w.Source != tt.evidence || w.Summary != tt.summary || (w.Matches != "") != (w.Source == runtime.FromManifest && w.Written > w.Original) {
			t.Errorf("%s: %+v", tt.name, w)
		}
	}
}

// The record of a conversion to an original says whether the window of its source is the original's; a changed one is not taken for nothing either.
func TestWindowOfRecordedOriginal(t *testing.T) {
	_, source := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true)})
	remove(t, source, manifest.Name)
	const taken = "attention_window_size is 8, which is taken for the original's window: nothing says whether it is one more, to match transformers 5"
	given := settingsOf(8, 30, true) // with which the conversion is made
	for _, tt := range []struct {
		to       convert.Target
		given    model.Settings
		from, is string // in the record; "" for no record
		summary  string
	}{
		{convert.ToTorch, given, "x", "x", "attention_window_size is 8, the original's window"},
		{convert.ToTorch, model.Settings{}, "x", "x", taken},
		{convert.ToOrbax, given, "x", "x", "attention_window_size is 8, the original's window"},
		{convert.ToOrbax, model.Settings{}, "x", "x", taken},
		{convert.ToHF, model.Settings{}, "x", "x", taken},
		{convert.ToHF, given, "x", "x", "attention_window_size is 8, the original's window"},
		{convert.ToHF, model.Settings{}, `"attention_window": 8`, `"attention_window": 7`, "attention_window_size is 8, which is taken for the original's window; conversion.json records another"},
		{convert.ToOrbax, model.Settings{}, `"attention_window": 8`, `"attention_window": 7`, "attention_window_size is 8, which is taken for the original's window; conversion.json records another"},
		{convert.ToOrbax, model.Settings{}, "\n  \"layout\": \"", "\n  \"layout\": \"another ", taken},
		{convert.ToOrbax, model.Settings{}, "", "", taken},
	} {
		converted := filepath.Join(t.TempDir(), "made")
		c, err := formats.Open(source, formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := convert.Convert(t.Context(), c, converted, convert.Options{To: tt.to, Settings: tt.given}); err != nil {
			t.Fatal(err)
		}
		record := filepath.Join(converted, manifest.Name)
		if tt.to == convert.ToTorch {
			record = converted + "." + manifest.Name
		}
		if tt.from == "" {
			remove(t, filepath.Dir(record), manifest.Name)
		} else if tt.from != tt.is {
			rewrite(t, record, replaced(tt.from, tt.is))
		}
		v, err := verifyFiles(t, source, converted, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if v.Window == nil || v.Window.Summary != tt.summary {
			t.Errorf("%s, %s: %s", tt.to, tt.is, textOf(t, v))
		}
	}
}

// What was given is named where nothing else states it: a window that config.json of the conversion has one more of, and the settings of a checkpoint alone.
func TestOnlyGiven(t *testing.T) {
	recording := cases.Open(t, "tiny-griffin").Recording("jax")
	right := settingsOf(8, 30, true)
	original, stated := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: right})
	for _, tt := range []struct {
		name     string
		source   string
		made     convert.Options
		recorded bool
		want     []string
	}{
		{"one more", original, convert.Options{To: convert.ToHF, MatchRuntime: convert.Transformers5}, false, []string{"attention window 8"}},
		{"one more, as recorded", original, convert.Options{To: convert.ToHF, MatchRuntime: convert.Transformers5}, true, nil},
		{"one more, of a source that states its window", stated, convert.Options{To: convert.ToHF, MatchRuntime: convert.Transformers5}, false, nil},
		{"the same", original, convert.Options{To: convert.ToHF}, false, nil},
		{"an original", original, convert.Options{To: convert.ToOrbax}, false, nil},
	} {
		tt.made.Settings = right
		_, converted := convertTiny(t, "made", tt.made)
		if !tt.recorded {
			remove(t, converted, manifest.Name)
		}
		v, err := verifyFiles(t, tt.source, converted, Options{Settings: right})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if !slices.Equal(v.Given, tt.want) {
			t.Errorf("%s: %q, not %q", tt.name, v.Given, tt.want)
		}
	}
	for path, want := range map[string][]string{original: {"attention window 8", "logits soft cap 30", "embedding scale true"}, stated: nil} {
		c, err := formats.Open(path, formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		v, err := Verify(t.Context(), c, nil, Options{Settings: right, Golden: recording})
		if err != nil || !v.Same || !slices.Equal(v.Given, want) {
			t.Errorf("%s: %q, %v", path, v.Given, err)
		}
	}
}
