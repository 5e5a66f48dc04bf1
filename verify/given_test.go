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
)

// settingsOf are settings of tiny-griffin, or others.
func settingsOf(window int64, softCap float64, scale bool) model.Settings {
	return model.Settings{AttentionWindow: &window, LogitsSoftCap: &softCap, EmbeddingScale: &scale}
}

// convertTiny converts tiny-griffin with some settings.
func convertTiny(t *testing.T, name string, o convert.Options) (source, converted string) {
	t.Helper()
	source, converted = filepath.Join(cases.Open(t, "tiny-griffin").Dir, "original", "torch.pt"), filepath.Join(t.TempDir(), name)
	src, err := formats.Open(source, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if _, err := convert.Convert(t.Context(), src, converted, o); err != nil {
		t.Fatal(err)
	}
	return source, converted
}

// Settings that were given, and that are not those of a right conversion, are all that is wrong: neither its files nor its weights are blamed.
func TestGivenAgainstConversion(t *testing.T) {
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
			{settingsOf(8, 20, true), []string{"logits_soft_cap: 20, not 30"}},
			{settingsOf(8, 30, false), []string{"embedding_scale: false, not true"}},
			{settingsOf(6, 0, false), []string{"attention_window: 6, not 8", "logits_soft_cap: 0, not 30", "embedding_scale: false, not true"}},
		} {
			for _, golden := range []string{recording, ""} {
				if made.unrecorded && tt.want != nil && (golden == "" || tt.want[0] == "logits_soft_cap: 20, not 30") {
					continue // nothing but config.json contradicts what was given
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
					if f.Kind != GivenSetting || !strings.HasPrefix(f.Detail, made.has) || !strings.HasSuffix(f.Detail, end) {
						t.Errorf("%s: %s", made.name, f.String())
					}
				}
				if golden != "" && (len(v.Logits) != 1 || !v.Logits[0].OK) {
					t.Errorf("%s, %q: %+v", made.name, tt.want, v.Logits)
				}
			}
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
	}{
		{"hf", convert.ToHF, settingsOf(6, 30, true), []string{"attention_window_size", "conversion.json: settings.attention_window"}},
		{"hf", convert.ToHF, settingsOf(8, 3, true), []string{"logits_soft_cap", "conversion.json: settings.logits_soft_cap"}},
		{"hf", convert.ToHF, settingsOf(8, 30, false), []string{"conversion.json: settings.embedding_scale", "conversion.json: huggingface.embedding_divided_by"}},
		{"orbax", convert.ToOrbax, settingsOf(6, 30, true), []string{"conversion.json: settings.attention_window"}},
	} {
		source, converted := convertTiny(t, tt.name, convert.Options{To: tt.to, Settings: tt.settings, AllowInexact: tt.to == convert.ToHF})
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
		if v.Same || !slices.Equal(fields, tt.want) || slices.ContainsFunc(v.Notes, doubts) || !v.Logits[0].OK {
			t.Errorf("%s: %q, want %q; notes %q", tt.name, fields, tt.want, v.Notes)
		}
	}
}
