package verify

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// What runtimes do with a conversion in which fields of config.json are wrong is what they do with the right one, whatever the source is.
func TestRuntimesBesideWrongFields(t *testing.T) {
	if testing.Short() {
		t.Skip("many directories")
	}
	c := cases.Open(t, "tiny-griffin")
	const apart = "but for what fails, "
	original, match := filepath.Join(c.Dir, "original"), convert.Transformers5
	for _, tt := range []struct {
		source string
		match  convert.Runtimes
	}{
		{filepath.Join(original, "torch.pt"), convert.NoRuntime}, {filepath.Join(original, "torch.pt"), match}, {filepath.Join(original, "orbax-ocdbt"), convert.NoRuntime},
		{filepath.Join(c.Dir, "hf"), convert.NoRuntime},
	} {
		settings := settingsOf(8, 30, true)
		if filepath.Base(tt.source) == "hf" {
			settings = model.Settings{}
		}
		for _, with := range []Options{{}, {Runtime: runtime.Transformers4}, {Runtime: runtime.Original}, {Golden: c.Recording("jax")}} {
			right := filepath.Join(t.TempDir(), "right")
			convertFiles(t, tt.source, right, convert.Options{To: convert.ToHF, Settings: settings, MatchRuntime: tt.match})
			with.Settings = settings
			want, err := verifyFiles(t, tt.source, right, with)
			if err != nil || !want.Same || want.Runtime == nil || len(want.Runtime.Facts) == 0 {
				t.Fatalf("%+v: %v", tt, err)
			}
			for _, edit := range []map[string]string{
				{"logits_soft_cap": "50.0"}, {"logits_soft_cap": "0.0"}, {"rms_norm_eps": "0.5"}, {"hidden_activation": `"gelu"`}, {"attention_window_size": "12"},
				{"rope_theta": "20000.0"}, {"rope_parameters.rope_theta": "20000.0"}, {"partial_rotary_factor": "0.25"}, {"dtype": `"float32"`}, {"sliding_window": "4"},
				{"logits_soft_cap": "0.0", "rms_norm_eps": "0.5", "attention_window_size": "12"},
			} {
				if with.Golden != "" && edit["logits_soft_cap"] == "" && edit["attention_window_size"] == "" {
					continue // runs take time
				}
				wrong := filepath.Join(t.TempDir(), "wrong")
				convertFiles(t, tt.source, wrong, convert.Options{To: convert.ToHF, Settings: settings, MatchRuntime: tt.match})
				setFields(t, filepath.Join(wrong, hfconfig.Name), edit)
				v, err := verifyFiles(t, tt.source, wrong, with)
				if err != nil || v.Same || v.Runtime == nil {
					t.Fatalf("%+v, %+v, %v: %v %s", tt, with.Runtime, edit, err, textOf(t, v))
				}
				if r := v.Runtime; r.Summary != apart+want.Runtime.Summary || r.From != want.Runtime.From || !reflect.DeepEqual(r.First, want.Runtime.First) {
					t.Errorf("%+v, %+v, %v: %+v, want %+v", tt, with.Runtime, edit, r, want.Runtime)
				}
				if !reflect.DeepEqual(v.Runtime.Facts, want.Runtime.Facts) {
					t.Errorf("%+v, %v: %+v, want %+v", tt, edit, v.Runtime.Facts, want.Runtime.Facts)
				}
			}
		}
	}
}

// convertFiles converts a checkpoint.
func convertFiles(t *testing.T, source, converted string, o convert.Options) {
	t.Helper()
	src, err := formats.Open(source, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if _, err := convert.Convert(t.Context(), src, converted, o); err != nil {
		t.Fatal(err)
	}
}

// setFields sets fields of a config.json to values in JSON.
func setFields(t *testing.T, path string, edit map[string]string) {
	t.Helper()
	rewrite(t, path, func(text []byte) []byte {
		fields, decoder := map[string]any{}, json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&fields); err != nil {
			t.Fatal(err)
		}
		for name, value := range edit {
			object := fields
			if outer, inner, ok := strings.Cut(name, "."); ok {
				object, name = fields[outer].(map[string]any), inner
			}
			object[name] = json.RawMessage(value)
		}
		edited, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return edited
	})
}
