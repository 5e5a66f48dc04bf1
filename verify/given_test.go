package verify

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// settingsOf are settings of tiny-griffin, or others.
func settingsOf(window int64, softCap float64, scale bool) model.Settings {
	return model.Settings{AttentionWindow: &window, LogitsSoftCap: &softCap, EmbeddingScale: &scale}
}

// convertTiny converts tiny-griffin with some settings.
func convertTiny(t *testing.T, name string, o convert.Options) (source, converted string) {
	t.Helper()
	source, converted = filepath.Join(cases.Open(t, "tiny-griffin").Dir, "original", "torch.pt"), filepath.Join(t.TempDir(), name)
	convertFiles(t, source, converted, o)
	return source, converted
}

// Settings that were given, and that are not those of a right conversion, are all that is wrong: neither its files nor its weights are blamed.
func TestGivenAgainstConversion(t *testing.T) {
	if testing.Short() {
		t.Skip("many conversions")
	}
	right, recording := settingsOf(8, 30, true), cases.Open(t, "tiny-griffin").Recording("jax")
	for _, made := range []struct {
		name       string
		o          convert.Options
		unrecorded bool // without its conversion.json
		has        string
	}{
		{"hf", convert.Options{To: convert.ToHF}, false, "conversion.json and config.json of the conversion have"},
		{"matched", convert.Options{To: convert.ToHF, MatchRuntime: convert.Transformers5}, false, "conversion.json and config.json of the conversion have"},
		{"orbax", convert.Options{To: convert.ToOrbax}, false, "conversion.json of the conversion has"},
		{"torch.pt", convert.Options{To: convert.ToTorch}, false, "conversion.json of the conversion has"},
		{"unrecorded", convert.Options{To: convert.ToHF}, true, "config.json of the conversion has"},
	} {
		made.o.Settings = right
		source, converted := convertTiny(t, made.name, made.o)
		if made.unrecorded {
			remove(t, converted, manifest.Name)
		}
		for _, tt := range []struct {
			given model.Settings
			want  []string
		}{
			{right, nil},
			{settingsOf(9, 30, true), []string{"attention_window: 9, not 8"}},
			{settingsOf(7, 30, true), []string{"attention_window: 7, not 8"}},
			{settingsOf(8, 20, true), []string{"logits_soft_cap: 20, not 30"}},
			{settingsOf(8, 30, false), []string{"embedding_scale: false, not true"}},
			{settingsOf(6, 0, false), []string{"attention_window: 6, not 8", "logits_soft_cap: 0, not 30", "embedding_scale: false, not true"}},
		} {
			for _, golden := range []string{recording, ""} {
				if golden == "" && made.unrecorded && *tt.given.AttentionWindow == 7 {
					continue // 8 may be one more, to match transformers 5
				}
				v, err := verifyFiles(t, source, converted, Options{Settings: tt.given, Golden: golden})
				if err != nil {
					t.Fatalf("%s, %q: %v", made.name, tt.want, err)
				}
				if got := textsOf(v.Config.Findings); got != strings.Join(tt.want, "\n") || v.Same != (tt.want == nil) || !v.Structure.OK || !v.Weights.OK {
					t.Errorf("%s, golden %t: %q, want %q; %+v", made.name, golden != "", got, tt.want, v)
				}
				for _, f := range v.Config.Findings.All() {
					end := map[bool]string{true: "the model computes what was recorded, so that the conversion need not be wrong", false: "the weights do not show which"}[golden != ""]
					has := made.has
					if made.o.MatchRuntime != convert.NoRuntime && f.Field == string(logits.WindowSetting) {
						has = "conversion.json of the conversion has" // config.json has one more
					}
					if f.Field == string(logits.ScaleSetting) { // which is no field of config.json
						has = map[bool]string{true: "the conversion is written for true", false: "conversion.json of the conversion has"}[made.unrecorded]
					}
					if f.Kind != GivenSetting || !strings.HasPrefix(f.Detail, has) || !strings.HasSuffix(f.Detail, end) {
						t.Errorf("%s: %s", made.name, f.String())
					}
				}
				if !v.Same && (v.Unproven == "" || !strings.HasSuffix(v.Answer(), "given is not the conversion's") && !strings.HasSuffix(v.Answer(), "given are not the conversion's")) {
					t.Errorf("%s, %q: %s", made.name, tt.want, v.Answer())
				}
				var given []string
				for _, f := range v.Config.Findings.All() {
					given = append(given, words(logits.SettingName(f.Field))+" "+f.Got)
				}
				if s := v.Settings; s != nil && !slices.Equal(s.Contradicted, given) {
					t.Errorf("%s: %q, want %q", made.name, s.Contradicted, given)
				}
				doubted := golden == "" && len(tt.want) > 0 && strings.HasPrefix(tt.want[0], "attention_window")
				if w := v.Window; w != nil && (w.Source == runtime.Contradicted) != doubted || w != nil && strings.HasSuffix(w.Summary, "for the original's window, and the conversion has 8") != doubted {
					t.Errorf("%s, golden %t, %q: %+v", made.name, golden != "", tt.want, w)
				}
				if golden != "" && (len(v.Logits) != 1 || !v.Logits[0].OK) {
					t.Errorf("%s, %q: %+v", made.name, tt.want, v.Logits)
				}
			}
		}
	}
}

// A config.json without a conversion.json contradicts what was given also where it stands for no scale or no soft cap, and each of its fields by itself.
// One that is not there states nothing.
func TestGivenAgainstConfig(t *testing.T) {
	for _, tt := range []struct {
		name        string
		made, given model.Settings
		edit        func([]byte) []byte // of config.json
		want        string              // findings
		answer      string
	}{
		{"no scale and no soft cap", settingsOf(8, 0, false), settingsOf(8, 0, false), nil, "", "the same model"},
		{"neither, against both", settingsOf(8, 0, false), settingsOf(8, 30, true), nil, "logits_soft_cap: 30, not 0\nembedding_scale: true, not false",
			"not proven: the logits soft cap and the embedding scale that were given are not the conversion's"},
		{"both, against neither", settingsOf(8, 30, true), settingsOf(6, 0, false), nil, "attention_window: 6, not 8\nlogits_soft_cap: 0, not 30\nembedding_scale: false, not true",
			"not proven: the attention window, the logits soft cap and the embedding scale that were given are not the conversion's"},
		{"one more, to match transformers 5", settingsOf(8, 30, true), settingsOf(7, 30, true), nil, "", "the same model, with attention window 7 as given"},
		{"and a wrong field", settingsOf(8, 30, true), settingsOf(16, 30, true), replaced(`"rms_norm_eps": 1e-06`, `"rms_norm_eps": 1e-05`),
			"rms_norm_eps: 1e-05, not 1e-06\nattention_window: 16, not 8", "not the same model"},
		{"a field that is not there", settingsOf(8, 30, true), settingsOf(8, 20, true), replaced(`"logits_soft_cap": 30.0,`, ""), "logits_soft_cap: no such field, which stands for 30, not 20", "not the same model"},
	} {
		isOnlyGiven := strings.HasSuffix(tt.answer, "as given")
		source, converted := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: tt.made, AllowInexact: true})
		remove(t, converted, manifest.Name)
		if tt.edit != nil {
			rewrite(t, filepath.Join(converted, "config.json"), tt.edit)
		}
		v, err := verifyFiles(t, source, converted, Options{Settings: tt.given})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := textsOf(v.Config.Findings); got != tt.want || !v.Structure.OK || !v.Weights.OK || !strings.HasPrefix(v.Answer(), tt.answer) {
			t.Errorf("%s: %q; %s", tt.name, got, textOf(t, v))
		}
		if strings.HasPrefix(v.Window.Summary, "attention_window_size is 8, one more than the window of 7 that was given: if that is the original's") != isOnlyGiven {
			t.Errorf("%s: %s", tt.name, v.Window.Summary)
		}
	}
}

// A conversion that was made with wrong settings is blamed, and not what was given, if the recording shows it.
func TestConversionAgainstGiven(t *testing.T) {
	recording := cases.Open(t, "tiny-griffin").Recording("jax")
	for _, tt := range []struct {
		name     string
		to       convert.Target
		settings model.Settings
		want     []string // fields

		unrecorded bool // without its conversion.json
	}{
		{"hf", convert.ToHF, settingsOf(6, 30, true), []string{"attention_window_size", "conversion.json: settings.attention_window"}, false},
		{"hf", convert.ToHF, settingsOf(8, 3, true), []string{"logits_soft_cap", "conversion.json: settings.logits_soft_cap"}, false},
		{"hf", convert.ToHF, settingsOf(8, 30, false), []string{"conversion.json: settings.embedding_scale", "conversion.json: huggingface.embedding_divided_by"}, false},
		{"orbax", convert.ToOrbax, settingsOf(6, 30, true), []string{"conversion.json: settings.attention_window"}, false},
		{"hf", convert.ToHF, settingsOf(6, 30, true), []string{"attention_window_size"}, true},
		{"hf", convert.ToHF, settingsOf(8, 3, true), []string{"logits_soft_cap"}, true},
	} {
		source, converted := convertTiny(t, tt.name, convert.Options{To: tt.to, Settings: tt.settings, AllowInexact: tt.to == convert.ToHF})
		if tt.unrecorded {
			remove(t, converted, manifest.Name)
		}
		v, err := verifyFiles(t, source, converted, Options{Settings: settingsOf(8, 30, true), Golden: recording})
		if err != nil {
			t.Fatal(err)
		}
		var fields []string
		for _, f := range v.Config.Findings.All() {
			fields = append(fields, f.Field)
			if f.Kind == GivenSetting {
				t.Errorf("%s", f.String())
			}
		}
		answer := "not the same model"
		if tt.to == convert.ToOrbax { // nothing but the record states settings
			answer = fmt.Sprintf("the same model, but conversion.json records attention window %d, not 8", *tt.settings.AttentionWindow)
		}
		if v.Answer() != answer || !slices.Equal(fields, tt.want) || slices.ContainsFunc(v.Notes, doubts) || !v.Logits[0].OK {
			t.Errorf("%s: %q, want %q; notes %q", tt.name, fields, tt.want, v.Notes)
		}
	}
}

// Settings that were given, and that the recording contradicts, are not the only thing that is wrong if the conversion states the same.
func TestRecordingAgainstGiven(t *testing.T) {
	recording := cases.Open(t, "tiny-griffin").Recording("jax")
	for _, tt := range []struct {
		name       string
		to         convert.Target
		window     int64
		unrecorded bool // without its conversion.json
		answer     string
	}{
		{"hf", convert.ToHF, 6, false, "not the same model"},
		{"hf", convert.ToHF, 6, true, "not the same model"},
		{"hf", convert.ToHF, 9, false, "not the same model"},
		{"hf", convert.ToHF, 9, true, "not proven: the attention window that was given is not the recording's"}, // it may match transformers 5
		{"orbax", convert.ToOrbax, 6, false, "not the same model"},
		{"orbax", convert.ToOrbax, 6, true, "not proven: the attention window that was given is not the recording's"},
	} {
		wrong := settingsOf(tt.window, 30, true)
		source, converted := convertTiny(t, tt.name, convert.Options{To: tt.to, Settings: wrong})
		if tt.unrecorded {
			remove(t, converted, manifest.Name)
		}
		v, err := verifyFiles(t, source, converted, Options{Settings: wrong, Golden: recording})
		if err != nil || v.Same || v.Answer() != tt.answer || !v.Config.OK {
			t.Errorf("%s, unrecorded %t: %s, %v", tt.name, tt.unrecorded, v.Answer(), err)
		}
		if again := slices.ContainsFunc(v.Notes, func(n string) bool { return strings.HasSuffix(n, "it has to be made again with 8") }); again != (v.Unproven == "") {
			t.Errorf("%s, window %d, unrecorded %t: %q", tt.name, tt.window, tt.unrecorded, v.Notes)
		}
		if w := v.Window; w != nil && (w.Source != runtime.Contradicted || w.Summary != fmt.Sprintf("attention_window_size is %d; the recording was made with an attention window of 8", tt.window)) {
			t.Errorf("%s, unrecorded %t: %+v", tt.name, tt.unrecorded, w)
		}
	}
}

// A checkpoint alone with a setting that is not usual for the family is not what was recorded if all outputs together show the usual one, and otherwise the
// verdict names the setting. That of a pair does not rest on it.
func TestUnusualSettings(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	original, _ := convertTiny(t, "unused", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true)})
	edited := func(old, written string) string {
		_, dir := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true)})
		remove(t, dir, manifest.Name)
		rewrite(t, filepath.Join(dir, "config.json"), replaced(old, written))
		return dir
	}
	eps := func(x string) string { return edited(`"rms_norm_eps": 1e-06`, `"rms_norm_eps": `+x) }
	const recorded, untold = "the model that was recorded", " is not usual for this family, and this recording does not tell it from "
	small := eps("1e-05")
	for _, tt := range []struct {
		path, golden string
		given        model.Settings
		answer       string
	}{
		{eps("0.01"), "jax", model.Settings{}, "not " + recorded},
		{edited(`"logits_soft_cap": 30`, `"logits_soft_cap": 20`), "jax", model.Settings{}, "not " + recorded},
		{small, "jax", model.Settings{}, recorded + " (rms_norm_eps 1e-05" + untold + "1e-06)"},
		{edited(`"gelu_pytorch_tanh"`, `"gelu"`), "hf5", model.Settings{}, recorded + " (hidden_activation gelu" + untold + "gelu_pytorch_tanh)"},
		{original, "jax", settingsOf(8, 20, true), "not proven: the logits soft cap that was given is not the recording's"},
		{original, "torch", settingsOf(8, 50, true), recorded + ", with attention window 8, logits soft cap 50 and embedding scale true as given (logits_soft_cap 50" + untold + "30)"},
		{filepath.Join(c.Dir, "hf"), "jax", model.Settings{}, recorded},
	} {
		v, err := verifyAlone(t, tt.path, Options{Settings: tt.given, Golden: c.Recording(tt.golden)})
		if err != nil || v.Answer() != tt.answer || v.Same != strings.HasPrefix(tt.answer, recorded) {
			t.Errorf("%s: %s, want %s; %v", tt.golden, v.Answer(), tt.answer, err)
		}
	}
	if v, err := verifyFiles(t, small, small, Options{Golden: c.Recording("jax")}); err != nil || v.Answer() != "the same model" || len(v.Logits[0].Untold) != 1 {
		t.Errorf("%v, %v", v, err)
	}
}

// A directory is run with what its config.json states, also where a setting that was given contradicts it and is what was recorded. Its window is then not
// doubted because of what was given.
func TestGivenAgainstDirectory(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	_, wide := convertTiny(t, "wide", convert.Options{To: convert.ToHF, Settings: settingsOf(16, 30, true)})
	remove(t, wide, manifest.Name)
	right := filepath.Join(c.Dir, "hf")
	eight, seven, six := int64(8), int64(7), int64(6)
	v, err := verifyAlone(t, wide, Options{Settings: model.Settings{AttentionWindow: &eight}, Golden: c.Recording("jax")})
	if err != nil || v.Answer() != "not the model that was recorded" || textsOf(v.Config.Findings) != "attention_window: 8, not 16" || v.Logits[0].Faults[0].Setting.Recorded != "8" {
		t.Errorf("%+v, %v", v, err)
	}
	v, err = verifyFiles(t, right, right, Options{Settings: model.Settings{AttentionWindow: &seven}})
	if err != nil || v.Answer() != "the same model, with attention window 7 as given" || v.Window.Source != runtime.Given || v.Window.Original != 7 {
		t.Errorf("%s, %+v, %v", v.Answer(), v.Window, err)
	}
	v, err = verifyFiles(t, right, right, Options{Settings: model.Settings{AttentionWindow: &six}})
	if err != nil || v.Answer() != "not proven: the attention window that was given is not the source's" || strings.Contains(v.Window.Summary, "given") || v.Window.Source == runtime.Contradicted {
		t.Errorf("%s, %+v, %v", v.Answer(), v.Window, err)
	}
	if _, err := verifyAlone(t, right, Options{Settings: model.Settings{Preset: "2b"}, Golden: c.Recording("jax")}); err == nil {
		t.Error("a preset of another model is accepted")
	}
}

// A window that was given for a directory whose config.json may have one more, to match transformers 5, is judged by a recording of the original, with
// which the model was run.
func TestGivenMatchedWindow(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	_, matched := convertTiny(t, "matched", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true), MatchRuntime: convert.Transformers5})
	remove(t, matched, manifest.Name)
	const recorded = "the model that was recorded"
	const notRecorded = "not proven: the attention window that was given is not the recording's"
	for _, tt := range []struct {
		path             string
		given            int64
		answer, findings string
	}{
		{matched, 8, recorded, ""},
		{matched, 9, notRecorded, "attention window: 9 was given, but the recording matches with 8, with which it was run"},
		{matched, 7, "not proven: the attention window that was given is not the checkpoint's",
			"attention window: 7 was given, but config.json of the checkpoint has 9; it was run with 8, with which the recording matches"},
		{filepath.Join(c.Dir, "hf"), 8, recorded, ""},
		{filepath.Join(c.Dir, "hf"), 7, notRecorded, "attention window: 7 was given, but the recording matches with 8, with which it was run"},
		{filepath.Join(c.Dir, "hf"), 9, "not proven: the attention window that was given is not the checkpoint's",
			"attention window: 9 was given, but config.json of the checkpoint has 8, with which it was run"},
	} {
		v, err := verifyAlone(t, tt.path, Options{Settings: model.Settings{AttentionWindow: &tt.given}, Golden: c.Recording("jax")})
		if err != nil {
			t.Fatal(err)
		}
		findings := ""
		if v.Config != nil {
			first := v.Config.Findings.At(0)
			findings = first.String()
		}
		if v.Answer() != tt.answer || findings != tt.findings || v.Logits[0].Window != 8 || !v.Logits[0].OK {
			t.Errorf("%s, %d: %s; %q; run with %d", tt.path, tt.given, v.Answer(), findings, v.Logits[0].Window)
		}
	}
	// Where another setting contradicts config.json, the window is kept.
	eight, twenty := int64(8), 20.0
	v, err := verifyAlone(t, matched, Options{Settings: model.Settings{AttentionWindow: &eight, LogitsSoftCap: &twenty}, Golden: c.Recording("jax")})
	if err != nil || textsOf(v.Config.Findings) != "logits_soft_cap: 20, not 30" {
		t.Errorf("%+v, %v", v, err)
	}
}
