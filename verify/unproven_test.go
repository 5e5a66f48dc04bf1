package verify

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// A verdict proves nothing, instead of that the models differ, only if all that fails is what was given, or the recording.
func TestUnproven(t *testing.T) {
	section := func(kinds ...FindingKind) *Section {
		var all []Finding
		for _, kind := range kinds {
			all = append(all, Finding{Kind: kind, Field: "attention_window"})
		}
		return &Section{OK: len(kinds) == 0, Findings: strictjson.Items(all...)}
	}
	failed := func(faults ...*logits.Fault) []*logits.Result { return []*logits.Result{{Faults: faults}} }
	fault := func(name logits.SettingName, given bool) *logits.Fault {
		return &logits.Fault{Setting: &logits.Setting{Name: name, Given: given}}
	}
	right, wrong, given := section(), section(WrongField), section(GivenSetting)
	other := []*logits.Result{{Weights: logits.OtherWeights, Faults: []*logits.Fault{{}}}}
	const window, recording, weights = "the attention window that was given is not the ", "the recording is not finite", "the recording is of other weights"
	for _, tt := range []struct {
		name string
		v    Verdict
		want string // how it begins
	}{
		{"what was given", Verdict{Structure: right, Config: given, Weights: &WeightsSection{Section: *right}}, window},
		{"what was given, and a field", Verdict{Structure: right, Config: section(GivenSetting, WrongField)}, ""},
		{"a field", Verdict{Structure: right, Config: wrong}, ""},
		{"a configuration that fails for another reason", Verdict{Structure: right, Config: &Section{}}, ""},
		{"the structure too", Verdict{Structure: wrong, Config: given}, ""},
		{"a structure that could not be compared", Verdict{Structure: &Section{Skipped: true}, Config: given}, window},
		{"the weights too", Verdict{Structure: right, Config: given, Weights: &WeightsSection{Section: *wrong}}, ""},
		{"a quantised copy", Verdict{Structure: right, Config: given, Quantized: &QuantizedSection{Section: *right}}, ""},
		{"logits by what was given", Verdict{Logits: failed(fault(logits.WindowSetting, true))}, window + "recording's"},
		{"logits by two settings", Verdict{Logits: failed(fault(logits.WindowSetting, true), fault(logits.ScaleSetting, true), fault(logits.WindowSetting, true))},
			"the attention window and the embedding scale that were given are not the recording's"},
		{"logits by the semantics", Verdict{Logits: failed(fault(logits.SemanticsSetting, true))}, "the semantics that were given are not the recording's"},
		{"logits by a setting of the checkpoint", Verdict{Logits: failed(fault(logits.WindowSetting, false))}, ""},
		{"logits by what was given, which the conversion states", Verdict{Logits: failed(fault(logits.SoftCapSetting, true))}, ""},
		{"logits by what was given, and a layer", Verdict{Logits: failed(fault(logits.WindowSetting, true), &logits.Fault{})}, ""},
		{"logits for no known reason", Verdict{Logits: failed()}, ""},
		{"a recording that is not finite", Verdict{Logits: failed(&logits.Fault{Kind: logits.RecordingFault})}, recording},
		{"a recording of other weights", Verdict{Logits: failed(&logits.Fault{Kind: logits.WeightsFault})}, weights},
		{"a recording that is likely of other weights", Verdict{Logits: []*logits.Result{{Weights: logits.UnlikeWeights, Faults: []*logits.Fault{{Kind: logits.WeightsFault}}}}}, "the recording is likely of other weights or of another model"},
		{"other weights by their digest", Verdict{Converted: &Subject{}, Logits: other}, weights},
		{"other weights by their digest, of a checkpoint alone", Verdict{Logits: other}, ""},
		{"both sides for one reason", Verdict{Logits: append(failed(fault(logits.WindowSetting, true)), failed(fault(logits.WindowSetting, true))...)}, window + "recording's"},
		{"one side", Verdict{Logits: append([]*logits.Result{{OK: true}}, failed(&logits.Fault{Kind: logits.RecordingFault})...)}, recording},
		{"one side for no known reason", Verdict{Logits: append(failed(&logits.Fault{Kind: logits.RecordingFault}), failed()...)}, ""},
		{"what was given, and the recording", Verdict{Config: given, Logits: failed(&logits.Fault{Kind: logits.RecordingFault})}, window},
		{"nothing", Verdict{Structure: right, Config: right}, ""},
	} {
		tt.v.conclude(func(s *logits.Setting) bool { return s.Name == logits.SoftCapSetting })
		if got := tt.v.Unproven; tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) || strings.Count(got, "; ") > 0 != (tt.name == "what was given, and the recording") {
			t.Errorf("%s: %q, not %q", tt.name, got, tt.want)
		}
		if tt.v.Same != (tt.name == "nothing") {
			t.Errorf("%s: the same %t", tt.name, tt.v.Same)
		}
	}
}

// A recording of a directory with another config.json disproves no pair that agrees in its own. Where the conversion, or a setting that was given, may be
// as wrong as the source, it does.
func TestRecordedUnderAnotherConfig(t *testing.T) {
	if testing.Short() {
		t.Skip("many recordings")
	}
	c := cases.Open(t, "tiny-griffin")
	c.Settings = model.Settings{} // as config.json has them
	hf := filepath.Join(c.Dir, "hf")
	original := filepath.Join(c.Dir, "original", "torch.pt")
	for _, tt := range []struct{ from, to, original, bare string }{
		{`"gelu_pytorch_tanh"`, `"gelu"`, "not proven: the recording was made with hidden_activation gelu, and both checkpoints have gelu_pytorch_tanh", "not proven: the recording was made with hidden_activation gelu, "},
		{`1e-06`, `1e-05`, "not proven: the recording was made with rms_norm_eps 1e-05, and both checkpoints have 1e-06", "not proven: the recording was made with rms_norm_eps 1e-05, "},
		{`"logits_soft_cap": 30.0`, `"logits_soft_cap": 20.0`, "not the same model", "not proven: the logits soft cap that was given is not the recording's"},
		{`"attention_window_size": 8`, `"attention_window_size": 6`, "not the same model", "not proven: the attention window that was given is not the recording's"},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(hf)); err != nil {
			t.Fatal(err)
		}
		rewrite(t, filepath.Join(dir, "config.json"), replaced(tt.from, tt.to))
		recording := recordedOf(t, c.Model(t, dir), c.Recording("hf5"))
		for _, pair := range []struct {
			source, converted, want string
			given                   model.Settings
		}{
			{original, hf, tt.original, settingsOf(8, 30, true)},
			{original, original, tt.bare, settingsOf(8, 30, true)},
			{hf, hf, "not proven: the recording was made with ", model.Settings{}},
			{dir, hf, "not the same model", model.Settings{}}, // its config.json differs
			{dir, dir, "the same model", model.Settings{}},
		} {
			v, err := verifyFiles(t, pair.source, pair.converted, Options{Golden: recording, Settings: pair.given})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(v.Answer(), pair.want) || strings.HasPrefix(v.Unproven, "the recording") != strings.Contains(strings.Join(v.Notes, "\n"), "give a recording of this model") {
				t.Errorf("%s, %s and %s: %s", tt.to, pair.source, pair.converted, textOf(t, v))
			}
		}
		if v, err := verifyAlone(t, hf, Options{Golden: recording}); err != nil || v.Answer() != "not the model that was recorded" {
			t.Errorf("%s: %v; %v", tt.to, v, err)
		}
	}
}

// A recording with another attention window disproves no pair whose source states its own, whichever way the window is written in it; nor does one of
// the same weights with a number that is not found.
func TestRecordedUnderAnotherWindow(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	c.Settings = model.Settings{}
	hf := filepath.Join(c.Dir, "hf")
	with := func(from, to string) string {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(hf)); err != nil {
			t.Fatal(err)
		}
		rewrite(t, filepath.Join(dir, "config.json"), replaced(from, to))
		return dir
	}
	const window = `"attention_window_size": `
	six, seven := with(window+"8", window+"6"), with(window+"8", window+"7")
	theta := recordFixture(t, with(`"rope_theta": 10000.0`, `"rope_theta": 777777.0`), model.Settings{}, reference.Transformers5)
	_, matching := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true), MatchRuntime: convert.Transformers5})
	for _, tt := range []struct{ source, converted, recording, want string }{
		{hf, hf, recordedOf(t, c.Model(t, six), c.Recording("hf5")), "not proven: the recording was made with attention_window_size 6, and both checkpoints have 8"},
		{hf, matching, recordedOf(t, c.Model(t, six), c.Recording("hf5")), "not proven: the recording was made with attention_window_size 6, and neither checkpoint has that"},
		{seven, seven, c.Recording("jax"), "not proven: the recording was made with an attention window of 8, and both checkpoints have 7"},
		{hf, hf, theta, "not proven: the recording is of the weights that both checkpoints have, and was made with another configuration or is wrong"},
		{filepath.Join(c.Dir, "original", "torch.pt"), hf, theta, "not the same model"}, // what was given may be wrong
	} {
		var given model.Settings
		if tt.source != hf && tt.source != seven {
			given = settingsOf(8, 30, true)
		}
		v, err := verifyFiles(t, tt.source, tt.converted, Options{Golden: tt.recording, Settings: given})
		if err != nil || v.Answer() != tt.want {
			t.Errorf("%v: %s", err, textOf(t, v))
		}
	}
}

// A wrong attention window that is given makes no other model, if a recording and the conversion stand for one window: a directory that matches a
// runtime has one more.
func TestRecordedUnderAWindowThatIsNotGiven(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	hf, original := filepath.Join(c.Dir, "hf"), filepath.Join(c.Dir, "original", "torch.pt")
	_, recorded := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true)}) // its record has the window 8
	_, copied := convertTiny(t, "copy.pt", convert.Options{To: convert.ToTorch, Settings: settingsOf(8, 30, true)})
	windows := map[int64]string{}
	for _, size := range []int64{6, 7, 9} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(hf)); err != nil {
			t.Fatal(err)
		}
		rewrite(t, filepath.Join(dir, "config.json"), replaced(`"attention_window_size": 8`, fmt.Sprintf(`"attention_window_size": %d`, size)))
		windows[size] = recordFixture(t, dir, model.Settings{}, reference.Transformers5)
	}
	seven := recordFixture(t, original, settingsOf(7, 30, true), reference.Original)
	nine := recordFixture(t, original, settingsOf(9, 30, true), reference.Original)
	const another, notGiven, same = "not the same model", "the attention window that was given is not the conversion's; ", ", which may stand for the same window"
	for _, tt := range []struct {
		converted, recording string
		given                int64
		want                 string // after "not proven: ", or another
	}{
		{hf, windows[7], 8, "the recording was made with attention_window_size 7, and the conversion has 8" + same},
		{hf, windows[9], 7, "the recording was made with attention_window_size 9, and the conversion has 8" + same},
		{hf, windows[9], 9, notGiven + "the recording was made with attention_window_size 9, and the conversion has 8"},
		{recorded, windows[9], 9, notGiven + "the recording was made with attention_window_size 9, and the conversion has 8"},
		{copied, windows[9], 8, "the recording was made with attention_window_size 9, and the conversion has 8" + same},
		{hf, seven, 9, notGiven + "the recording was made with an attention window of 7, and the conversion has 8" + same},
		{hf, windows[6], 8, another},
		{hf, windows[6], 6, another},
		{hf, nine, 9, another},
		{recorded, windows[7], 8, another},
		{copied, nine, 8, another},
	} {
		v, err := verifyFiles(t, original, tt.converted, Options{Golden: tt.recording, Settings: settingsOf(tt.given, 30, true)})
		if err != nil {
			t.Fatal(err)
		}
		want := tt.want
		if want != another {
			want = "not proven: " + want
		}
		again := strings.Contains(strings.Join(v.Notes, "\n"), "it has to be made again")
		if v.Answer() != want || again && want != another {
			t.Errorf("%s, given %d: want %q: %s", filepath.Base(tt.converted), tt.given, tt.want, textOf(t, v))
		}
	}
}

// A recording of the weights that both checkpoints have, made with the config.json of the conversion, is said to be that, and not of its weights alone.
func TestRecordedWithTheConversionsConfig(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	hf, dir := filepath.Join(c.Dir, "hf"), t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(hf)); err != nil {
		t.Fatal(err)
	}
	rewrite(t, filepath.Join(dir, "config.json"), replaced(`"gelu_pytorch_tanh"`, `"gelu"`))
	recording := recordFixture(t, dir, model.Settings{}, reference.Transformers5)
	v, err := verifyFiles(t, hf, dir, Options{Golden: recording})
	if err != nil {
		t.Fatal(err)
	}
	const want = "the recording is of these weights with the conversion's config.json"
	if len(v.Logits) != 2 || v.Logits[0].OK || v.Logits[0].Beside != want || !v.Logits[1].OK || v.Answer() != "not the same model" {
		t.Errorf("%s", textOf(t, v))
	}
}

// recordedOf returns a recording of a model for the tokens of another.
func recordedOf(t *testing.T, m *runtime.Model, like string) string {
	t.Helper()
	tokens, err := golden.ReadTokens(like)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "golden.safetensors")
	if _, err := golden.Record(t.Context(), path, m.Reference(m.Semantics(), reference.Arithmetic{Precision: reference.Float32}), tokens, golden.RecordOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// A number of the rotary embedding that only one version of transformers takes is judged with what the other takes. One that only 4.57 takes may be the
// source's. (Measured with 5.23.0 and 4.57.3.)
func TestRotationOfOneVersion(t *testing.T) {
	hf := filepath.Join(cases.Open(t, "tiny-griffin").Dir, "hf")
	const cache, inner = `"use_cache": true`, `"rope_theta": 10000.0`
	dirWith := func(from, to string) string {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(hf)); err != nil {
			t.Fatal(err)
		}
		rewrite(t, filepath.Join(dir, "config.json"), replaced(from, to))
		return dir
	}
	older := dirWith(cache, `"rope_theta": 1e6`)
	for _, tt := range []struct{ source, converted, finding, note string }{
		{hf, older, "rope_theta: 1000000, not 10000; transformers 4.57 takes it, and 5.23 takes 10000 instead; queries and keys would be rotated by other angles", "rope_theta is 10000 for transformers 5.23, which reads it in rope_parameters, and 1000000 for 4.57"},
		{older, older, "", "rope_theta is 10000 for transformers 5.23"},
		{older, hf, "", ""},
		{older, dirWith(cache, `"rope_theta": 500.0`), "rope_theta: 500, not 10000; transformers 4.57 takes it, and 5.23 takes 10000 instead; queries", "and 500 for 4.57"},
		{hf, dirWith(inner, `"rope_theta": 1e6`), "rope_parameters.rope_theta: 1000000, not 10000; transformers 5.23 takes it, and 4.57, which reads the top level only, takes 10000; queries", "rope_theta is 1000000 for"},
		{hf, dirWith(cache, `"partial_rotary_factor": 1.0`), "partial_rotary_factor: 1, not 0.5; transformers 4.57 takes it and fails, and 5.23 takes 0.5 instead", "and 1 for 4.57"},
		{hf, dirWith(inner+",", inner+`, "x": 1,`), "", ""},
	} {
		v, err := verifyFiles(t, tt.source, tt.converted, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range v.Config.Findings.All() {
			got += f.String()
		}
		if v.Same != (tt.finding == "") || !strings.HasPrefix(got, tt.finding) || v.Same && got != "" || !strings.Contains(strings.Join(v.Config.Notes, "\n"), tt.note) {
			t.Errorf("want %q, note %q: %s", tt.finding, tt.note, textOf(t, v))
		}
	}
}

// A directory alone whose config.json transformers refuses fails, whatever it computes; what is unusual in it is noted.
func TestConfigAlone(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	for _, tt := range []struct{ from, to, fails, note string }{
		{"", "", "", ""},
		{`"logits_soft_cap": 30.0`, `"logits_soft_cap": 30`, "logits_soft_cap: 30, not 30.0; transformers 5.23 does not load the model", "config.json: logits_soft_cap is written as the integer 30"},
		{`"model_type": "recurrent_gemma",`, "", `model_type: no such field, not "recurrent_gemma"; transformers does not load the model, unless the name of the directory says its type`, ""},
		{`"dtype": "bfloat16"`, `"dtype": "bf16"`, `dtype: "bf16", not a floating-point type of torch; neither transformers 5.23 nor 4.57 loads the model`, ""},
		{`"use_cache": true`, `"is_encoder_decoder": true`, "is_encoder_decoder: true, which should not be there; generate() fails in transformers 4.57 and 5.23", ""},
		{`"use_cache": true`, `"rope_theta": 1e6`, "", "config.json: rope_theta is 10000 for transformers 5.23"},
	} {
		v := verifyEdited(t, c, tt.from, tt.to)
		got := ""
		if v.Config != nil {
			all := v.Config.Findings.All()
			got = all[0].String()
		}
		if v.Same != (tt.fails == "") || got != tt.fails || !v.Logits[0].OK || v.Unproven != "" {
			t.Errorf("%s: %s", tt.to, textOf(t, v))
		}
		if notes := strings.Join(v.Notes, "\n"); strings.Contains(notes, "config.json: ") != (tt.note != "") || !strings.Contains(notes, tt.note) {
			t.Errorf("%s: %q", tt.to, notes)
		}
	}
}

// verifyEdited verifies the Hugging Face directory of a case against a recording of it, after an edit of its config.json.
func verifyEdited(t *testing.T, c *cases.Case, from, to string) *Verdict {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(c.Dir, "hf"))); err != nil {
		t.Fatal(err)
	}
	rewrite(t, filepath.Join(dir, "config.json"), replaced(from, to))
	v, err := verifyAlone(t, dir, Options{Golden: c.Recording("hf5")})
	if err != nil {
		t.Fatal(err)
	}
	return v
}
