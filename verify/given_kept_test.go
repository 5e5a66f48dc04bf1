package verify

import (
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
)

// A recorded conversion has another window than the original only if it matches a runtime that needs it.
func TestGivenAgainstMatchedConversion(t *testing.T) {
	for _, tt := range []struct {
		match   convert.Runtimes
		given   int64
		softCap float64
		want    string
	}{
		{convert.Transformers4, 9, 30, "attention_window: 9, not 8"},
		{convert.Transformers4, 7, 30, "attention_window: 7, not 8"},
		{convert.Transformers5, 9, 30, "attention_window: 9, not 8"},
		{convert.Transformers5, 7, 30, "attention_window: 7, not 8"},
		{convert.MLX, 7, 30, "attention_window: 7, not 8"},
		{0, 9, 0, "attention_window: 9, not 8"}, // without a soft cap, which is recorded with what else config.json has
	} {
		source, converted := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: settingsOf(8, tt.softCap, true), MatchRuntime: tt.match})
		v, err := verifyFiles(t, source, converted, Options{Settings: settingsOf(tt.given, tt.softCap, true)})
		if err != nil || textsOf(v.Config.Findings) != tt.want {
			t.Errorf("%v, %d: %v: %s", tt.match, tt.given, err, textOf(t, v))
		}
	}
}

// A window of config.json that may be one more than the given one is taken for the original's only if the recording was made with it. Another setting with
// which it was made does not make what was given right.
func TestWrittenWindowAgainstRecording(t *testing.T) {
	for _, tt := range []struct {
		given, recorded model.Settings // that of the conversion is 8, and its soft cap 30
		kept            bool           // its conversion.json
		findings        string
		answer          string
	}{
		{settingsOf(7, 30, true), settingsOf(8, 30, true), false, "attention_window: 7, not 8", "not proven: the attention window that was given is not the conversion's"},
		{settingsOf(7, 30, true), settingsOf(6, 30, true), false, "", "not the same model"}, // it was made with neither 6 nor 5
		{settingsOf(7, 30, true), settingsOf(7, 30, true), false, "", "the same model, with attention window 7 as given"},
		{settingsOf(8, 30, true), settingsOf(8, 30, true), false, "", "the same model"},
		{settingsOf(7, 30, true), settingsOf(7, 8, true), false, "", "not the same model"},
		{settingsOf(6, 30, true), settingsOf(8, 20, true), true, "attention_window: 6, not 8", "not the same model"},
		{settingsOf(6, 30, true), settingsOf(6, 30, true), true, "attention_window_size: 8, not 6\nconversion.json: settings.attention_window: 8, not 6", "not the same model"},
	} {
		source, converted := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true)})
		if !tt.kept {
			remove(t, converted, manifest.Name)
		}
		recording := recordFixture(t, source, tt.recorded, reference.Original)
		v, err := verifyFiles(t, source, converted, Options{Settings: tt.given, Golden: recording})
		if err != nil || textsOf(v.Config.Findings) != tt.findings || v.Answer() != tt.answer {
			t.Errorf("given %d, recorded %d and %g: %v: %s", *tt.given.AttentionWindow, *tt.recorded.AttentionWindow, *tt.recorded.LogitsSoftCap, err, textOf(t, v))
		}
	}
}

// A conversion that was made with the wrong setting that was given too is wrong, whatever number was recorded.
func TestMadeWithWrongSetting(t *testing.T) {
	for _, tt := range []struct {
		name     string
		to       convert.Target
		made     model.Settings
		recorded model.Settings
		kept     bool // its conversion.json
		answer   string
		again    string // what a note says
	}{
		{"hf", convert.ToHF, settingsOf(8, 3, true), settingsOf(8, 7, true), false, "not the same model", "another logits soft cap than the recording too: it has to be made again with 7"},
		{"hf", convert.ToHF, settingsOf(8, 3, true), settingsOf(8, 7, true), true, "not the same model", "another logits soft cap than the recording too: it has to be made again with 7"},
		{"hf", convert.ToHF, settingsOf(8, 30, true), settingsOf(7, 30, true), false, "not proven: the attention window that was given is not the recording's", ""},
		{"hf", convert.ToHF, settingsOf(8, 30, true), settingsOf(7, 30, true), true, "not the same model", "another attention window than the recording too: it has to be made again with 7"},
		{"orbax", convert.ToOrbax, settingsOf(8, 3, true), settingsOf(8, 7, true), false, "not proven: the logits soft cap that was given is not the recording's", ""},
		{"orbax", convert.ToOrbax, settingsOf(8, 3, true), settingsOf(8, 7, true), true, "not the same model", "another logits soft cap than the recording too: it has to be made again with 7"},
	} {
		source, converted := convertTiny(t, tt.name, convert.Options{To: tt.to, Settings: tt.made})
		if !tt.kept {
			remove(t, converted, manifest.Name)
		}
		v, err := verifyFiles(t, source, converted, Options{Settings: tt.made, Golden: recordFixture(t, source, tt.recorded, reference.Original)})
		notes := ""
		if err == nil {
			notes = strings.Join(v.Notes, "\n")
		}
		if err != nil || v.Answer() != tt.answer || !strings.Contains(notes, tt.again) || strings.Contains(notes, "made again") != (tt.again != "") {
			t.Errorf("%s, kept %t: %v: %s", tt.name, tt.kept, err, textOf(t, v))
		}
	}
}

// What was given beside a config.json is wrong if it is not what the original has, whatever number of the file stands for that.
func TestGivenAgainstStated(t *testing.T) {
	window, softCap, scale := func(w int64) model.Settings { return model.Settings{AttentionWindow: &w} }, func(x float64) model.Settings { return model.Settings{LogitsSoftCap: &x} }, func(is bool) model.Settings { return model.Settings{EmbeddingScale: &is} }
	for _, tt := range []struct {
		name  string
		made  convert.Options
		given model.Settings
		want  string // findings
	}{
		{"what it has", convert.Options{Settings: settingsOf(8, 30, true)}, settingsOf(8, 30, true), ""},
		{"another window", convert.Options{Settings: settingsOf(8, 30, true)}, window(7), "attention_window: 7, not 8"},
		{"another soft cap", convert.Options{Settings: settingsOf(8, 30, true)}, softCap(20), "logits_soft_cap: 20, not 30"},
		{"another scale", convert.Options{Settings: settingsOf(8, 30, true)}, scale(false), "embedding_scale: false, not true"},
		{"everything", convert.Options{Settings: settingsOf(8, 30, true)}, settingsOf(7, 20, false), "attention_window: 7, not 8\nlogits_soft_cap: 20, not 30\nembedding_scale: false, not true"},
		{"the window that is written to match transformers 5", convert.Options{Settings: settingsOf(8, 30, true), MatchRuntime: convert.Transformers5}, settingsOf(9, 20, true), "attention_window: 9, not 8\nlogits_soft_cap: 20, not 30"},
		{"the window for which it is written", convert.Options{Settings: settingsOf(8, 30, true), MatchRuntime: convert.Transformers5}, settingsOf(8, 20, true), "logits_soft_cap: 20, not 30"},
		{"a number that stands for no soft cap", convert.Options{Settings: settingsOf(8, 0, true)}, settingsOf(7, 0, true), "attention_window: 7, not 8"},
		{"a soft cap in place of none", convert.Options{Settings: settingsOf(8, 0, true)}, settingsOf(8, 30, true), "logits_soft_cap: 30, not 0"},
		{"a scale in place of none", convert.Options{Settings: settingsOf(8, 30, false), AllowInexact: true}, settingsOf(7, 30, false), "attention_window: 7, not 8"},
		{"a scale where there is none", convert.Options{Settings: settingsOf(8, 30, false), AllowInexact: true}, scale(true), "embedding_scale: true, not false"},
	} {
		tt.made.To = convert.ToHF
		_, dir := convertTiny(t, "hf", tt.made)
		v, err := verifyFiles(t, dir, dir, Options{Settings: tt.given})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := textsOf(v.Config.Findings); got != tt.want || v.Same != (tt.want == "") || (v.Unproven == "") != v.Same || v.Settings != nil && len(v.Settings.Contradicted) > 0 {
			t.Errorf("%s: %q: %s", tt.name, got, textOf(t, v))
		}
	}
	_, dir := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true)})
	if v, err := verifyFiles(t, dir, dir, Options{Settings: window(-1)}); err == nil {
		t.Errorf("an impossible window is taken: %s", textOf(t, v))
	}
}

// What a record beside an original states is not called given, also where it was given too.
func TestGivenAndRecorded(t *testing.T) {
	recording := cases.Open(t, "tiny-griffin").Recording("jax")
	right := settingsOf(8, 30, true)
	for _, kept := range []bool{true, false} {
		_, orbax := convertTiny(t, "orbax", convert.Options{To: convert.ToOrbax, Settings: right})
		want := "the model that was recorded"
		if !kept {
			remove(t, orbax, manifest.Name)
			want += ", with attention window 8, logits soft cap 30 and embedding scale true as given"
		}
		v, err := verifyAlone(t, orbax, Options{Settings: right, Golden: recording})
		if err != nil || v.Answer() != want {
			t.Errorf("recorded %t: %v: %s", kept, err, textOf(t, v))
		}
	}
}
