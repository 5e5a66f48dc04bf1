package verify

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Beside a source whose config.json has another window, and with no record, only a recording says which one is the original's.
func TestWindowBesideAnother(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	_, source := convertTiny(t, "hf", convert.Options{To: convert.ToHF, MatchRuntime: convert.Transformers5, Settings: settingsOf(8, 30, true)})
	remove(t, source, manifest.Name)
	_, wide := convertTiny(t, "wide", convert.Options{To: convert.ToHF, Settings: settingsOf(12, 30, true)})
	remove(t, wide, manifest.Name)
	for _, tt := range []struct {
		from, golden string
		source       runtime.Evidence
		summary      string
	}{
		{source, "", runtime.Assumed, "attention_window_size is 8, and that of the source 9: nothing says which of them is the original's window, or one more"},
		{source, c.Recording("jax"), runtime.FromFixture, "attention_window_size is 8, the original's window"},
		{wide, c.Recording("jax"), runtime.FromFixture, "attention_window_size is 8, the original's window"},
	} {
		v, err := verifyFiles(t, tt.from, filepath.Join(c.Dir, "hf"), Options{Golden: tt.golden})
		if err != nil {
			t.Fatal(err)
		}
		if w := v.Window; w.Source != tt.source || w.Summary != tt.summary {
			t.Errorf("%s, golden %q: %+v", tt.from, tt.golden, w)
		}
	}
}

// A recording of transformers of a directory in which the same window is written otherwise proves nothing of this one, and does not disprove it.
func TestRecordedOtherwise(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	right, plain := settingsOf(8, 30, true), filepath.Join(c.Dir, "hf")
	original, matched := convertTiny(t, "matched", convert.Options{To: convert.ToHF, MatchRuntime: convert.Transformers5, Settings: right})
	_, narrow := convertTiny(t, "narrow", convert.Options{To: convert.ToHF, Settings: settingsOf(7, 30, true)})
	const is8, record, unmatched = "not proven: the recording was made with attention_window_size 8, and ", "attends to other tokens with each: record ", " itself, or convert it without matching a runtime"
	for _, tt := range []struct {
		source, converted string
		given             model.Settings
		golden            string
		answer, todo      string
	}{
		{original, matched, right, "hf5", is8 + "the conversion has 9", record + "the conversion" + unmatched},
		{plain, matched, model.Settings{}, "hf5", is8 + "the conversion has 9", record + "the conversion" + unmatched},
		{matched, "", model.Settings{}, "hf5", is8 + "the checkpoint has 9", record + "the checkpoint" + unmatched},
		{matched, original, model.Settings{}, "hf5", is8 + "the source has 9", record + "the source" + unmatched},
		{original, narrow, settingsOf(7, 30, true), "hf5", is8 + "the conversion has 7", record + "the conversion itself, or convert it to match transformers 5"},
		{matched, plain, model.Settings{}, "hf5", "the same model", ""},
		{plain, matched, model.Settings{}, "jax", "the same model", ""},
		{original, "", settingsOf(7, 30, true), "hf5", "not proven: the attention window that was given is not the recording's", "and that conversion has to be verified"},
		{original, "", settingsOf(7, 30, true), "jax", "not proven: the attention window that was given is not the recording's", ""},
	} {
		o := Options{Golden: c.Recording(tt.golden), Settings: tt.given}
		v, err := verifyAlone(t, tt.source, o)
		if tt.converted != "" {
			v, err = verifyFiles(t, tt.source, tt.converted, o)
		}
		if err != nil {
			t.Fatal(err)
		}
		notes := strings.Join(v.Notes, "\n")
		if v.Answer() != tt.answer || v.Same != (tt.todo == "" && v.Unproven == "") || !strings.Contains(notes, tt.todo) || tt.todo == "" && strings.Contains(notes, "transformers5") || len(v.Logits) != 1 {
			t.Errorf("%s, %s, %s: %s\n%s", tt.source, tt.converted, tt.golden, v.Answer(), notes)
		}
	}
	// Nothing says whether the window of a directory alone is the original's.
	remove(t, narrow, manifest.Name)
	v, err := verifyAlone(t, narrow, Options{Golden: c.Recording("hf5")})
	if err != nil || v.Answer() != "not the model that was recorded" {
		t.Errorf("%v; %v", v, err)
	}
}

// The verdict on a checkpoint alone names an attention window that the recording does not show. That of a pair, whose windows are compared, does not rest
// on the recording.
func TestWindowNotReached(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	original, wide := convertTiny(t, "wide", convert.Options{To: convert.ToHF, Settings: settingsOf(64, 30, true)})
	short := recordFixture(t, original, settingsOf(16, 30, true), reference.Original) // 12 tokens
	const recorded, doubt = "the model that was recorded", " (no document reaches beyond the attention window of 64: the recording does not tell it from another)"
	for _, tt := range []struct {
		path, recording, answer string
		given                   model.Settings
	}{
		{wide, short, recorded + doubt, model.Settings{}},
		{original, short, recorded + ", with attention window 64, logits soft cap 30 and embedding scale true as given" + doubt, settingsOf(64, 30, true)},
		{wide, c.Recording("jax"), "not " + recorded, model.Settings{}},
	} {
		v, err := verifyAlone(t, tt.path, Options{Settings: tt.given, Golden: tt.recording})
		if err != nil || v.Answer() != tt.answer || v.Same != strings.HasPrefix(tt.answer, recorded) || (len(v.Logits[0].Untold) == 1) != strings.HasSuffix(tt.answer, doubt) {
			t.Errorf("%s, want %s; %v", v.Answer(), tt.answer, err)
		}
	}
	seen := recordFixture(t, original, settingsOf(8, 30, true), reference.Original)
	if v, err := verifyAlone(t, original, Options{Settings: settingsOf(8, 30, true), Golden: seen}); err != nil || !strings.HasSuffix(v.Answer(), " as given") {
		t.Errorf("%s, %v", v.Answer(), err)
	}
	if v, err := verifyFiles(t, original, wide, Options{Settings: settingsOf(64, 30, true), Golden: short}); err != nil || v.Answer() != "the same model" || len(v.Logits[0].Untold) != 1 {
		t.Errorf("%s, %v", v.Answer(), err)
	}
}

// A recording may disprove a setting that only the record of the conversion states. The others of the record stay unproven, and the window of the
// directory is not called the original's.
func TestRecordedSettingDisproved(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	original, wide := convertTiny(t, "wide", convert.Options{To: convert.ToHF, Settings: settingsOf(64, 30, true)})
	_, capped := convertTiny(t, "capped", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 5, true)})
	_, matched := convertTiny(t, "matched", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true), MatchRuntime: convert.Transformers5})
	const again, unproven = ": if it is of this model, the conversion has to be made again\n", ": as conversion.json records, not proven, because the source does not state them\n"
	const wrong, others = "attention window 64: as conversion.json records, but the recording was made with 8" + again, "logits soft cap 30, embedding scale true" + unproven
	for _, tt := range []struct{ converted, recording, window, notes string }{
		{wide, "jax", "64; the recording was made with an attention window of 8", wrong + others},
		{wide, "hf5", "64; the recording was made with attention_window_size 8", wrong + others},
		{wide, "hf4", "64, the original's window", "attention window 64, " + others},
		{capped, "jax", "8, the original's window", "logits soft cap 5: as conversion.json records, but the recording was made with 30" + again + "attention window 8, embedding scale true" + unproven},
		{matched, "hf5", "9, one more than the original's window of 8: transformers 5 attends to the same tokens as the original", "attention window 8, " + others},
	} {
		v, err := verifyFiles(t, original, tt.converted, Options{Golden: c.Recording(tt.recording)})
		if err != nil {
			t.Fatal(err)
		}
		if notes := strings.Join(v.Notes, "\n") + "\n"; !strings.HasSuffix(notes, tt.notes) || strings.Count(notes, "as conversion.json records") != strings.Count(tt.notes, "\n") {
			t.Errorf("%s, %s: %s", tt.converted, tt.recording, notes)
		}
		if w := v.Window.Summary; w != "attention_window_size is "+tt.window {
			t.Errorf("%s, %s: %s", tt.converted, tt.recording, w)
		}
	}
}

// Where config.json alone was changed, the recording agrees with the record of the conversion: neither is called wrong, and the window that config.json
// has stands for no other.
func TestEditedSetting(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	original, plain := convertTiny(t, "plain", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true)})
	_, capped := convertTiny(t, "capped", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true)})
	_, matched := convertTiny(t, "matched", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true), MatchRuntime: convert.Transformers5})
	own := recordFixture(t, matched, model.Settings{}, reference.Transformers5)
	rewrite(t, filepath.Join(plain, hfconfig.Name), replaced(`"attention_window_size": 8`, `"attention_window_size": 7`))
	rewrite(t, filepath.Join(matched, hfconfig.Name), replaced(`"attention_window_size": 9`, `"attention_window_size": 10`))
	rewrite(t, filepath.Join(capped, hfconfig.Name), replaced(`"logits_soft_cap": 30.0`, `"logits_soft_cap": 50.0`))
	for _, tt := range []struct {
		converted, recording string
		given                model.Settings
	}{
		{plain, c.Recording("jax"), model.Settings{}}, {plain, c.Recording("hf5"), model.Settings{}}, {plain, c.Recording("hf5"), settingsOf(8, 30, true)},
		{capped, c.Recording("jax"), model.Settings{}}, {matched, c.Recording("jax"), model.Settings{}}, {matched, own, model.Settings{}},
	} {
		v, err := verifyFiles(t, original, tt.converted, Options{Golden: tt.recording, Settings: tt.given})
		if err != nil {
			t.Fatal(err)
		}
		notes := strings.Join(v.Notes, "\n")
		if v.Answer() != "not the same model" || v.Logits[len(v.Logits)-1].OK || strings.Contains(notes, "made again") || strings.Contains(notes, "both stand for") ||
			tt.given.AttentionWindow == nil && !strings.Contains(notes, "attention window 8, logits soft cap 30, embedding scale true: as conversion.json records, "+map[bool]string{true: "because", false: "not proven"}[tt.recording == c.Recording("jax")]) {
			t.Errorf("%s, %s: %s\n%s", tt.converted, tt.recording, v.Answer(), notes)
		}
	}
}

// A conversion.json that records a wrong setting makes no other model, whatever recording shows that; nor does a setting that was given.
func TestWrongRecord(t *testing.T) {
	c, hawk := cases.Open(t, "tiny-griffin"), cases.Open(t, "micro-hawk")
	hawkOriginal, right := filepath.Join(hawk.Dir, "original", "torch.pt"), settingsOf(8, 30, true)
	record := func(o convert.Options, from, to string) (converted string) {
		name := "hf"
		if o.To == convert.ToTorch {
			name = "converted.pt"
		}
		source := filepath.Join(c.Dir, "original", "torch.pt")
		if o.Settings.AttentionWindow == nil {
			source, o.Settings = hawkOriginal, hawk.Settings
		} else {
			o.Settings = right
		}
		converted = filepath.Join(t.TempDir(), name)
		convertFiles(t, source, converted, o)
		path := converted + "." + manifest.Name
		if o.To == convert.ToHF {
			path = filepath.Join(converted, manifest.Name)
		}
		rewrite(t, path, replaced(from, to))
		return converted
	}
	const window, softCap, records = `"attention_window": 8`, `"logits_soft_cap": 30.0`, "the same model, with settings as recorded, but conversion.json records "
	original, hf, toHF, toTorch := filepath.Join(c.Dir, "original", "torch.pt"), filepath.Join(c.Dir, "hf"), convert.Options{To: convert.ToHF, Settings: right}, convert.Options{To: convert.ToTorch, Settings: right}
	matching := convert.Options{To: convert.ToHF, Settings: right, MatchRuntime: convert.Transformers5}
	seven := int64(7)
	for _, tt := range []struct {
		source, converted string
		recording         string
		given             model.Settings
		want              string
	}{
		{hawkOriginal, record(convert.Options{To: convert.ToHF}, `"logits_soft_cap": 0.0`, softCap), hawk.Recording("jax"), model.Settings{}, records + "logits soft cap 30, not 0"},
		{original, record(toHF, softCap, `"logits_soft_cap": 300.0`), c.Recording("jax"), model.Settings{}, records + "logits soft cap 300, not 30"},
		{original, record(toHF, softCap, `"logits_soft_cap": 0.0`), c.Recording("hf5"), model.Settings{}, "the same model, with settings as recorded, not proven, but conversion.json records logits soft cap 0, not 30"},
		{original, record(toHF, window, `"attention_window": 7`), c.Recording("hf5"), model.Settings{}, "not proven: config.json and conversion.json of the conversion disagree"},
		{original, record(matching, window, `"attention_window": 9`), c.Recording("jax"), model.Settings{}, records + "attention window 9, not 8"},
		{original, record(matching, `"match_runtime": "transformers5"`, `"match_runtime": "none"`), c.Recording("hf5"), right, "not proven: the recording was made with attention_window_size 8, and the conversion has 9"},
		{original, record(toTorch, window, `"attention_window": 9`), c.Recording("jax"), model.Settings{}, "the same model, with settings as recorded, but converted.pt.conversion.json records attention window 9, not 8"},
		{original, record(toTorch, softCap, `"logits_soft_cap": 50.0`), c.Recording("jax"), model.Settings{}, "the same model, with settings as recorded, but converted.pt.conversion.json records logits soft cap 50, not 30"},
		{original, "", c.Recording("hf5"), settingsOf(8, 0, true), "not proven: the logits soft cap that was given is not the recording's"},
		{hf, original, c.Recording("jax"), model.Settings{AttentionWindow: &seven}, "not proven: the attention window that was given is not the recording's"},
	} {
		o := Options{Golden: tt.recording, Settings: tt.given}
		v, err := verifyAlone(t, tt.source, o)
		if tt.converted != "" {
			v, err = verifyFiles(t, tt.source, tt.converted, o)
		}
		if err != nil {
			t.Fatal(err)
		}
		if v.Answer() != tt.want {
			t.Errorf("%s, %s: want %q: %s", tt.converted, filepath.Base(tt.recording), tt.want, textOf(t, v))
		}
	}
}

// Where another window was given than the conversion has, neither is called the original's because of a recording under another config.json.
func TestGivenWindowAndRecording(t *testing.T) {
	original, narrow := convertTiny(t, "narrow", convert.Options{To: convert.ToHF, Settings: settingsOf(7, 30, true)})
	recording := cases.Open(t, "tiny-griffin").Recording("hf5") // attention_window_size 8
	const answer = "the recording was made with attention_window_size 8, and the conversion has 7"
	check := func(given model.Settings, answer string, stands bool) {
		t.Helper()
		v, err := verifyFiles(t, original, narrow, Options{Golden: recording, Settings: given})
		if err != nil || v.Answer() != answer || strings.Contains(strings.Join(v.Notes, "\n"), "both stand for") != stands {
			t.Errorf("%s: %q, %v", v.Answer(), v.Notes, err)
		}
	}
	check(settingsOf(7, 30, true), "not proven: "+answer, true)
	check(settingsOf(8, 30, true), "not proven: the attention window that was given is not the conversion's; "+answer, false)
	if err := os.Remove(filepath.Join(narrow, manifest.Name)); err != nil {
		t.Fatal(err)
	}
	check(settingsOf(8, 30, true), "not proven: the attention window that was given is not the conversion's; "+answer, false)
}

// The settings that only the record of the source states are named, with that file; a recording may disprove one of them too.
func TestSourceRecorded(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	dir := filepath.Join(c.Dir, "hf")
	_, source := convertTiny(t, "source.pt", convert.Options{To: convert.ToTorch, Settings: settingsOf(8, 30, true)})
	const records, because = ": as source.pt.conversion.json of the source records", ", because its tensors do not show them"
	const unproven = records + ", not proven" + because
	all := []string{"attention window 8, logits soft cap 30, embedding scale true" + unproven}
	wrong := []string{"attention window 64: as source.pt.conversion.json of the source records, but the recording was made with 8: if it is of this model, that file does not state what the model was made with", "logits soft cap 30, embedding scale true" + unproven}
	check := func(recording string, want []string) {
		t.Helper()
		o := Options{}
		if recording != "" {
			o.Golden = c.Recording(recording)
		}
		v, err := verifyFiles(t, source, dir, o)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.DeleteFunc(slices.Clone(v.Notes), func(n string) bool { return !strings.Contains(n, "conversion.json") }); !slices.Equal(got, want) || len(v.Settings.Recorded) != 3 {
			t.Errorf("%q: %q, want %q", recording, got, want)
		}
	}
	check("", all)
	check("jax", []string{"attention window 8, logits soft cap 30, embedding scale true" + records + because + "; with them, the model matches what google-deepmind/recurrentgemma jax recorded, as it would with values that change every output by less than rounding"})
	rewrite(t, source+".conversion.json", func(text []byte) []byte {
		return bytes.Replace(text, []byte(`"attention_window": 8`), []byte(`"attention_window": 64`), 1)
	})
	check("jax", wrong)
}

// A checkpoint alone says of settings that only its own record states what a pair says of them, and whether a recording shows them.
func TestAloneRecorded(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	_, path := convertTiny(t, "made.pt", convert.Options{To: convert.ToTorch, Settings: settingsOf(8, 30, true)})
	const others = "logits soft cap 30, embedding scale true: as made.pt.conversion.json of the checkpoint records"
	const unproven, because = ", not proven", ", because its tensors do not show them"
	const matched = because + "; with them, the model matches what google-deepmind/recurrentgemma jax recorded, as it would with values that change every output by less than rounding"
	const answer = "the model that was recorded, with settings as recorded"
	window := settingsOf(8, 0, false).AttentionWindow
	check := func(given model.Settings, answer string, recorded int, notes ...string) {
		t.Helper()
		v, err := verifyAlone(t, path, Options{Golden: c.Recording("jax"), Settings: given})
		if err != nil || v.Answer() != answer || !slices.Equal(v.Notes, notes) || (v.Settings == nil) != (recorded == 0) || recorded > 0 && len(v.Settings.Recorded) != recorded {
			t.Errorf("%s: %q, %+v, %v", v.Answer(), v.Notes, v.Settings, err)
		}
	}
	check(model.Settings{}, answer, 3, "attention window 8, "+others+matched)
	check(model.Settings{AttentionWindow: window}, answer, 2, others+matched)
	check(settingsOf(8, 30, true), "the model that was recorded", 0)
	rewrite(t, path+".conversion.json", replaced(`"attention_window": 8`, `"attention_window": 64`))
	check(model.Settings{AttentionWindow: window}, answer+", with attention window 8 as given", 2, "made.pt.conversion.json records attention window 64, not 8 as given", others+matched)
	check(model.Settings{}, "not the model that was recorded", 3,
		"attention window 64: as made.pt.conversion.json of the checkpoint records, but the recording was made with 8: if it is of this model, that file does not state what the model was made with", others+unproven+because)
}

// Beside settings that only a record states, it is said what a recording of an original that the model matches shows of them, and what it does not.
func TestRecordedSettingsMatch(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	original, right := convertTiny(t, "right", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true)})
	_, wide := convertTiny(t, "wide", convert.Options{To: convert.ToHF, Settings: settingsOf(64, 30, true)})
	own := recordFixture(t, original, settingsOf(16, 30, true), reference.Original) // 12 tokens
	short := asRecordedBy(t, own, golden.Torch)
	const because = ", because the source does not state them"
	const matched, by, longer = because + "; with them, the model matches what ", " recorded, as it would with values that change every output by less than rounding", ", or with another attention window, because no recorded document is longer than it"
	const others, unproven = "logits soft cap 30, embedding scale true: as conversion.json records", ", not proven"
	window := settingsOf(64, 0, false).AttentionWindow
	for _, tt := range []struct {
		converted, recording string
		given                model.Settings
		note                 string
	}{
		{right, c.Recording("jax"), model.Settings{}, "attention window 8, " + others + matched + "google-deepmind/recurrentgemma jax" + by},
		{wide, short, model.Settings{}, "attention window 64, " + others + unproven + matched + string(golden.Torch) + by + longer},
		{wide, short, model.Settings{AttentionWindow: window}, others + matched + string(golden.Torch) + by},
		{wide, own, model.Settings{}, "attention window 64, " + others + unproven + because},
		{right, c.Recording("hf4"), model.Settings{}, "attention window 8, " + others + unproven + because},
		{wide, c.Recording("jax"), model.Settings{}, others + unproven + because},
	} {
		v, err := verifyFiles(t, original, tt.converted, Options{Golden: tt.recording, Settings: tt.given})
		if err != nil || !slices.Contains(v.Notes, tt.note) || v.Same && strings.Contains(v.Answer(), unproven) != strings.Contains(tt.note, unproven) {
			t.Errorf("%s: %s, %q, want %q; %v", tt.recording, v.Answer(), v.Notes, tt.note, err)
		}
	}
}

// The note about the window is left out beside a failure that says what is wrong with it, and stays beside another, or one that proves nothing.
func TestWindowNote(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	plain := filepath.Join(c.Dir, "hf")
	right := settingsOf(8, 30, true)
	original, matched := convertTiny(t, "matched", convert.Options{To: convert.ToHF, MatchRuntime: convert.Transformers5, Settings: right})
	_, wide := convertTiny(t, "wide", convert.Options{To: convert.ToHF, Settings: settingsOf(64, 30, true)})
	_, capped := convertTiny(t, "capped", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 5, true)})
	for _, tt := range []struct {
		source, converted, golden string
		given                     model.Settings
		shown                     bool
	}{
		{plain, wide, "", model.Settings{}, false},
		{wide, "", "jax", model.Settings{}, false},
		{original, wide, "jax", model.Settings{}, false},
		{original, matched, "", settingsOf(7, 30, true), false},
		{plain, matched, "", model.Settings{}, true},
		{plain, capped, "", model.Settings{}, true},
		{original, matched, "hf5", right, true},
		{plain, "", "jax", settingsOf(7, 30, true), true},
	} {
		o := Options{Settings: tt.given}
		if tt.golden != "" {
			o.Golden = c.Recording(tt.golden)
		}
		v, err := verifyAlone(t, tt.source, o)
		if tt.converted != "" {
			v, err = verifyFiles(t, tt.source, tt.converted, o)
		}
		if err != nil || v.Window == nil || (WindowNote(v) != nil) != tt.shown || strings.Contains(textOf(t, v), "\nwindow  ") != tt.shown {
			t.Errorf("%s, %s, %q: %v, %s", tt.source, tt.converted, tt.golden, err, textOf(t, v))
		}
	}
}

// The window is what is proven of it: by the recording, by what was given or by files that agree. One that nothing proves makes nothing proven, and a record
// that is wrong makes no other model.
func TestProvenWindow(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	right := settingsOf(8, 30, true)
	original, plain := convertTiny(t, "plain", convert.Options{To: convert.ToHF, Settings: right})
	_, unrecorded := convertTiny(t, "unrecorded", convert.Options{To: convert.ToHF, Settings: right, MatchRuntime: convert.Transformers5})
	remove(t, unrecorded, manifest.Name)
	_, source := convertTiny(t, "source", convert.Options{To: convert.ToHF, Settings: right})
	remove(t, source, manifest.Name)
	_, edited := convertTiny(t, "edited", convert.Options{To: convert.ToHF, Settings: right})
	rewrite(t, filepath.Join(edited, hfconfig.Name), replaced(`"attention_window_size": 8`, `"attention_window_size": 9`))
	_, record := convertTiny(t, "record", convert.Options{To: convert.ToHF, Settings: right})
	rewrite(t, filepath.Join(record, manifest.Name), replaced(`"attention_window": 8`, `"attention_window": 12`))
	_, wide := convertTiny(t, "wide", convert.Options{To: convert.ToHF, Settings: settingsOf(9, 30, true)})
	_, back := convertTiny(t, "back.pt", convert.Options{To: convert.ToTorch, Settings: right})
	_, scaled := convertTiny(t, "scaled", convert.Options{To: convert.ToHF, Settings: right})
	rewrite(t, filepath.Join(scaled, manifest.Name), replaced(`"embedding_scale": true`, `"embedding_scale": false`))
	window := func(n int64) model.Settings { return model.Settings{AttentionWindow: &n} }
	const otherGiven, disagree = "not proven: the attention window that was given is not the conversion's", "not proven: config.json and conversion.json of the conversion disagree"
	const asRecorded, otherConfig, twelve, nine = ", with settings as recorded", ", but conversion.json is not of the config.json beside it", ", but conversion.json records attention window 12, not 8", ", but conversion.json records attention window 9, not 8"
	const otherScale = ", but conversion.json records embedding scale false, not true"
	for _, tt := range []struct {
		source, converted string
		given             model.Settings
		recorded          bool // by the original
		want              string
	}{
		{source, unrecorded, model.Settings{}, true, "the same model"},
		{source, unrecorded, window(8), false, "the same model, with attention window 8 as given"},
		{source, unrecorded, window(7), false, otherGiven},
		{source, unrecorded, model.Settings{}, false, "not proven: nothing says that the original's attention window is 8"},
		{unrecorded, source, model.Settings{}, false, "not proven: nothing says that the original's attention window is 8"},
		{source, plain, window(7), false, otherGiven},
		{source, plain, window(7), true, otherGiven},
		{original, edited, right, true, "the same model" + otherConfig},
		{original, edited, right, false, "the same model" + otherConfig},
		{original, edited, model.Settings{}, false, disagree},
		{original, edited, model.Settings{}, true, "the same model" + asRecorded + otherConfig},
		{original, edited, window(9), true, "not proven: the attention window that was given is not the recording's"},
		{original, record, right, true, "the same model" + twelve},
		{original, record, model.Settings{}, true, "the same model" + asRecorded + twelve},
		{original, record, model.Settings{}, false, disagree},
		{original, wide, right, true, "the same model" + nine},
		{original, wide, right, false, otherGiven},
		{original, wide, model.Settings{}, true, "not the same model"},
		{back, wide, model.Settings{}, false, "the same model" + asRecorded + ", not proven" + nine},
		{back, wide, window(8), false, "the same model" + asRecorded + ", not proven" + nine},
		{original, scaled, model.Settings{}, false, "not proven: the tensors and conversion.json of the conversion disagree"},
		{original, scaled, model.Settings{}, true, "the same model" + asRecorded + otherScale},
		{original, scaled, right, false, "the same model" + otherScale},
	} {
		o := Options{Settings: tt.given}
		if tt.recorded {
			o.Golden = c.Recording("jax")
		}
		v, err := verifyFiles(t, tt.source, tt.converted, o)
		if err != nil {
			t.Fatal(err)
		}
		isOpen := slices.ContainsFunc(v.Config.Findings.All(), func(f Finding) bool { return f.Kind == OpenSetting && f.Got != f.Want })
		if v.Answer() != tt.want || isOpen != (strings.HasSuffix(tt.want, "disagree") || strings.Contains(tt.want, "nothing says")) {
			t.Errorf("%s, %s, given %v, recorded %t: %s", filepath.Base(tt.source), filepath.Base(tt.converted), tt.given.AttentionWindow, tt.recorded, textOf(t, v))
		}
	}
}
