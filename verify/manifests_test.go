package verify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
)

// conversionOf converts odd-griffin and returns its source and the directory.
func conversionOf(t *testing.T, o convert.Options) (source, dir string) {
	t.Helper()
	c := cases.Open(t, "odd-griffin")
	source, dir = filepath.Join(c.Dir, "original", "torch.pt"), filepath.Join(t.TempDir(), "converted")
	src, err := formats.Open(source, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	o.Settings = c.Settings
	if _, err := convert.Convert(t.Context(), src, dir, o); err != nil {
		t.Fatal(err)
	}
	return source, dir
}

// rewrite changes the text of a file.
func rewrite(t *testing.T, path string, edit func(text []byte) []byte) {
	t.Helper()
	text := edit(bytes.Clone(readFile(path)))
	if err := os.WriteFile(path, text, 0o666); err != nil {
		t.Fatal(err)
	}
}

// replaced replaces the first occurrence of a text by another.
func replaced(from, to string) func([]byte) []byte {
	return func(text []byte) []byte { return bytes.Replace(text, []byte(from), []byte(to), 1) }
}

// A single checkpoint whose tensors have other digests than its conversion.json records gets a note, even if its logits match the recording. One that
// was not changed gets none.
func TestChangedAlone(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	_, hf := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true)})
	_, torch := convertTiny(t, "made.pt", convert.Options{To: convert.ToTorch, Settings: settingsOf(8, 30, true), Digest: digest.SHA256})
	const changed = " records another digest of %s: the checkpoint was changed or damaged after it was written"
	check := func(path, note string) {
		t.Helper()
		v, err := verifyAlone(t, path, Options{Golden: c.Recording("jax")})
		if err != nil || !v.Same || slices.Contains(v.Notes, note) != (note != "") || strings.Contains(strings.Join(v.Notes, "\n"), "digest of") != (note != "") {
			t.Errorf("%v, %v", v, err)
		}
	}
	check(hf, "")
	check(torch, "")
	rewrite(t, filepath.Join(hf, "model.safetensors"), func(file []byte) []byte {
		file[len(file)-5000] ^= 1
		return file
	})
	check(hf, "conversion.json"+fmt.Sprintf(changed, "model.layers.4.temporal_block.linear_y.weight"))
	rewrite(t, torch+".conversion.json", func(text []byte) []byte {
		return regexp.MustCompile(`"sha256": "[0-9a-f]{4}`).ReplaceAllFunc(text, func(at []byte) []byte { return append(at[:len(at)-4], "0000"...) })
	})
	v, err := verifyAlone(t, torch, Options{Golden: c.Recording("jax")})
	if notes := strings.Join(v.Notes, "\n"); err != nil || !strings.Contains(notes, "made.pt.conversion.json records another digest of 89 tensors, such as ") {
		t.Errorf("%s, %v", notes, err)
	}
	remove(t, hf, manifest.Name)
	check(hf, "")
}

// Files that are not as conversion.json records are noted. Whether they hold the same model, other checks say.
func TestFilesOfRecord(t *testing.T) {
	const isNot = " is not as conversion.json records: "
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, dir string)
		same bool
		want []string
	}{
		{"nothing", func(*testing.T, string) {}, true, nil},
		{"a space", func(t *testing.T, dir string) {
			rewrite(t, filepath.Join(dir, "config.json"), func(text []byte) []byte { return append(text, ' ') })
		}, true, []string{"config.json" + isNot + "it has %d bytes, not %s"}},
		{"another space", func(t *testing.T, dir string) {
			rewrite(t, filepath.Join(dir, "config.json"), replaced("\n ", "  "))
		}, true, []string{"config.json" + isNot + "its content is another one"}},
		{"a file is gone", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "generation_config.json")); err != nil {
				t.Fatal(err)
			}
		}, true, []string{"generation_config.json" + isNot + "it is missing"}},
		{"metadata of the weights", func(t *testing.T, dir string) {
			rewrite(t, filepath.Join(dir, "model.safetensors"), replaced(`"pt"`, `"np"`))
		}, true, []string{"model.safetensors" + isNot + "its content is another one"}},
		{"the weights", func(t *testing.T, dir string) {
			rewrite(t, filepath.Join(dir, "model.safetensors"), func(text []byte) []byte { text[len(text)-1] ^= 1; return text })
			rewrite(t, filepath.Join(dir, "config.json"), replaced("\n ", "  "))
		}, false, []string{"config.json" + isNot + "its content is another one"}},
		{"config.json that is wrong, and a file that is gone", func(t *testing.T, dir string) {
			rewrite(t, filepath.Join(dir, "config.json"), replaced(`"rms_norm_eps": 1e-06`, `"rms_norm_eps": 1e-05`))
			if err := os.Remove(filepath.Join(dir, "generation_config.json")); err != nil {
				t.Fatal(err)
			}
		}, false, []string{"generation_config.json" + isNot + "it is missing"}},
		{"names without model.", func(t *testing.T, dir string) {
			rewrite(t, filepath.Join(dir, "model.safetensors"), func(text []byte) []byte {
				header := text[8 : 8+binary.LittleEndian.Uint64(text)]
				short := bytes.ReplaceAll(header, []byte(`"model.`), []byte(`"`))
				copy(header, append(short, bytes.Repeat([]byte(" "), len(header)-len(short))...))
				return text
			})
		}, true, []string{"model.safetensors" + isNot + "its content is another one"}},
		{"a name out of the directory", func(t *testing.T, dir string) {
			rewrite(t, filepath.Join(dir, manifest.Name), replaced(`"name": "config.json"`, `"name": "../config.json"`))
		}, true, []string{"not among the files that conversion.json records: config.json"}},
		{"files that were added", func(t *testing.T, dir string) {
			for _, name := range []string{"tokenizer.model", "tokenizer.json", "README.md"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o666); err != nil {
					t.Fatal(err)
				}
			}
		}, true, []string{"not among the files that conversion.json records: tokenizer.json, tokenizer.model"}},
		{"a device of the recorded size", func(t *testing.T, dir string) {
			if err := errors.Join(os.Remove(filepath.Join(dir, "generation_config.json")), os.Symlink(os.DevNull, filepath.Join(dir, "generation_config.json"))); err != nil {
				t.Fatal(err)
			}
			rewrite(t, filepath.Join(dir, manifest.Name), func(text []byte) []byte {
				return regexp.MustCompile(`("name": "generation_config.json",\s*"bytes": )\d+`).ReplaceAll(text, []byte("${1}0"))
			})
		}, true, nil},
		{"a link to a device", func(t *testing.T, dir string) {
			if err := errors.Join(os.Remove(filepath.Join(dir, "generation_config.json")), os.Symlink(os.DevNull, filepath.Join(dir, "generation_config.json"))); err != nil {
				t.Fatal(err)
			}
		}, true, []string{"generation_config.json" + isNot + "it has 0 bytes, not %s"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			source, dir := conversionOf(t, convert.Options{To: convert.ToHF})
			sizes := map[string]int64{}
			for _, name := range []string{"config.json", "generation_config.json"} {
				sizes[name] = int64(len(readFile(filepath.Join(dir, name))))
			}
			tt.do(t, dir)
			v, err := verifyFiles(t, source, dir, Options{Settings: cases.Open(t, "odd-griffin").Settings})
			if err != nil || v.Same != tt.same {
				t.Fatalf("%+v, %v", v, err)
			}
			var notes []string
			for _, n := range v.Notes {
				if strings.Contains(n, "conversion.json records") {
					notes = append(notes, n)
				}
			}
			for i, want := range tt.want {
				name, _, _ := strings.Cut(want, " ")
				was := fmt.Sprint(sizes[name])
				if len(was) > 3 {
					was = was[:len(was)-3] + "," + was[len(was)-3:]
				}
				want = strings.Replace(want, "%d", was[:len(was)-1]+fmt.Sprint(sizes[name]%10+1), 1) // one byte more
				tt.want[i] = strings.Replace(want, "%s", was, 1)
			}
			if !slices.Equal(notes, tt.want) {
				t.Errorf("%q, want %q", notes, tt.want)
			}
			// A file alone may have another name.
			if v, err = verifyFiles(t, source, filepath.Join(dir, "model.safetensors"), Options{Settings: cases.Open(t, "odd-griffin").Settings}); err != nil || slices.ContainsFunc(v.Notes, func(n string) bool { return strings.Contains(n, isNot) }) {
				t.Errorf("a file: %q, %v", v.Notes, err)
			}
		})
	}
}

// doubts reports whether a note says that what was given may be wrong.
func doubts(note string) bool { return strings.Contains(note, "if what was given is wrong") }

// What conversion.json records otherwise than config.json and what was given is one finding, and no tensors are missed in it.
func TestContradictedRecord(t *testing.T) {
	settings := cases.Open(t, "odd-griffin").Settings
	source, dir := conversionOf(t, convert.Options{To: convert.ToHF})
	rewrite(t, filepath.Join(dir, manifest.Name), replaced(fmt.Sprintf(`"attention_window": %d`, *settings.AttentionWindow), `"attention_window": 77`))
	v, err := verifyFiles(t, source, dir, Options{Settings: settings})
	if err != nil || v.Same {
		t.Fatalf("%+v, %v", v, err)
	}
	var fields []string
	for _, f := range v.Config.Findings.All() {
		fields = append(fields, f.Field)
	}
	if !slices.Equal(fields, []string{"conversion.json: settings.attention_window"}) || !slices.ContainsFunc(v.Notes, doubts) {
		t.Errorf("%q, notes %q", fields, v.Notes)
	}
}

// Settings that nobody gives are those that conversion.json of the converted checkpoint records, and that is said. What it records wrongly is
// not taken.
func TestRecordedSettings(t *testing.T) {
	c := cases.Open(t, "odd-griffin")
	other := int64(7)
	for _, tt := range []struct {
		name     string
		given    model.Settings
		edit     func([]byte) []byte
		recorded []string
		note     string
		err      bool
	}{
		{"nothing", model.Settings{}, nil, []string{"attention_window", "logits_soft_cap", "embedding_scale"},
			"attention window 5, logits soft cap 20, embedding scale true: as conversion.json records, not proven, because the source does not state them", false},
		{"all", c.Settings, nil, nil, "", false},
		{"two", model.Settings{AttentionWindow: c.Settings.AttentionWindow, LogitsSoftCap: c.Settings.LogitsSoftCap}, nil, []string{"embedding_scale"},
			"embedding scale true: as conversion.json records, not proven, because the source does not state it", false},
		{"another window", model.Settings{AttentionWindow: &other}, nil, []string{"logits_soft_cap", "embedding_scale"},
			"logits soft cap 20, embedding scale true: as conversion.json records, not proven, because the source does not state them", false},
		{"a window of nothing", model.Settings{}, replaced(`"attention_window": 5`, `"attention_window": 0`), nil, "", true},
		{"a window of one", model.Settings{}, replaced(`"attention_window": 5`, `"attention_window": 1`), []string{"attention_window", "logits_soft_cap", "embedding_scale"}, "attention window 1, ", false},
		{"the largest window", model.Settings{}, replaced(`"attention_window": 5`, `"attention_window": 2147483647`), []string{"attention_window", "logits_soft_cap", "embedding_scale"}, "attention window 2147483647, ", false},
		{"a window that is too large", model.Settings{}, replaced(`"attention_window": 5`, `"attention_window": 2147483648`), nil, "", true},
		{"no soft cap", model.Settings{}, replaced(`"logits_soft_cap": 20`, `"logits_soft_cap": 0`), []string{"attention_window", "logits_soft_cap", "embedding_scale"}, "attention window 5, logits soft cap 0, ", false},
		{"the largest soft cap", model.Settings{}, replaced(`"logits_soft_cap": 20.0`, `"logits_soft_cap": 3.4028234663852886e+38`), []string{"attention_window", "logits_soft_cap", "embedding_scale"},
			"attention window 5, logits soft cap 340282346638528860000000000000000000000, ", false},
		{"a negative soft cap", model.Settings{}, replaced(`"logits_soft_cap": 20`, `"logits_soft_cap": -20`), nil, "", true},
		{"a soft cap that is too large", model.Settings{}, replaced(`"logits_soft_cap": 20.0`, `"logits_soft_cap": 1e39`), nil, "", true},
		{"a corrupt record", model.Settings{}, func([]byte) []byte { return []byte("{") }, nil, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			source, dir := conversionOf(t, convert.Options{To: convert.ToHF})
			if tt.edit != nil {
				rewrite(t, filepath.Join(dir, manifest.Name), tt.edit)
			}
			v, err := verifyFiles(t, source, dir, Options{Settings: tt.given})
			var missing *model.OptionError
			if tt.err {
				if !errors.As(err, &missing) || len(missing.Missing) != 3 {
					t.Errorf("%+v, %v", v, err)
				}
				return
			}
			if err != nil || !slices.Equal(v.Settings.Recorded, tt.recorded) {
				t.Fatalf("%+v, %v", v, err)
			}
			var notes []string
			for _, n := range v.Notes {
				if strings.Contains(n, "not proven") {
					notes = append(notes, n)
				}
			}
			if len(notes) != min(1, len(tt.note)) || tt.note != "" && !strings.HasPrefix(notes[0], tt.note) {
				t.Errorf("%q, want %q", notes, tt.note)
			}
		})
	}
}

// What the check of conversion.json covers is said: digests always, settings where they are not its own.
func TestRecordAgrees(t *testing.T) {
	c := cases.Open(t, "odd-griffin")
	source, dir := conversionOf(t, convert.Options{To: convert.ToHF})
	for _, tt := range []struct {
		given model.Settings
		want  string
	}{
		{c.Settings, "config.json agrees in all 25 fields; conversion.json agrees with the settings and the digests of 49 tensors"},
		{model.Settings{}, "config.json agrees in all 25 fields; conversion.json agrees with the digests of 49 tensors"},
	} {
		v, err := verifyFiles(t, source, dir, Options{Settings: tt.given})
		if err != nil || !v.Same || v.Config.Summary != tt.want || slices.ContainsFunc(v.Notes, doubts) {
			t.Errorf("%q, want %q; notes %q, %v", v.Config.Summary, tt.want, v.Notes, err)
		}
	}
	// The record of an original stands for its configuration, and that of a source is checked too.
	_, back := conversionOf(t, convert.Options{To: convert.ToTorch})
	v, err := verifyFiles(t, dir, back, Options{})
	if err != nil || !v.Same || v.Config.Skipped || v.Config.Summary != "converted.conversion.json agrees with the settings and the digests of 43 tensors" {
		t.Errorf("%+v, %v", v.Config, err)
	}
	// A source whose record is that of other weights fails; so does the converted one.
	rewrite(t, filepath.Join(dir, manifest.Name), func(text []byte) []byte {
		at := bytes.Index(text, []byte(`"blake3": "`)) + len(`"blake3": "`)
		text[at] = map[bool]byte{true: 'b', false: 'a'}[text[at] == 'a']
		return text
	})
	for _, pair := range [][2]string{{dir, back}, {back, dir}} {
		v, err := verifyFiles(t, pair[0], pair[1], Options{})
		if err != nil || v.Same || !v.Weights.OK || v.Config.OK || !strings.Contains(v.Config.Summary, "disagrees: ") || v.Config.Findings.Len() != 1 || v.Config.Findings.At(0).Got != "other digests of 1 tensor" ||
			!strings.Contains(v.Config.Findings.At(0).Detail, "of model.embed_tokens.weight is recorded, and blake3:") {
			t.Errorf("%q: %+v, %v", pair, v.Config, err)
		}
	}
}

// An adapter that conversion.json names, and nobody gives, is named.
func TestMissingAdapter(t *testing.T) {
	source, dir := conversionOf(t, convert.Options{To: convert.ToHF})
	rewrite(t, filepath.Join(dir, manifest.Name), replaced(`"tensors": [`, `"adapter": {"name": "tuned", "type": "LoRA"}, "tensors": [`))
	v, err := verifyFiles(t, source, dir, Options{Settings: cases.Open(t, "odd-griffin").Settings})
	if err != nil || v.MissingAdapter != "tuned" || !slices.ContainsFunc(v.Notes, func(n string) bool { return strings.Contains(n, "an adapter (tuned) was merged into the source") }) {
		t.Errorf("%q, %q, %v", v.MissingAdapter, v.Notes, err)
	}
}

// The configuration's line does not approve digests that the weights' findings are about, and says once what config.json lacks.
func TestManifestSummary(t *testing.T) {
	for _, tt := range []struct {
		name     string
		do       func(t *testing.T, dir string)
		summary  string
		findings int // of the configuration
	}{
		{"a changed tensor", func(t *testing.T, dir string) {
			rewrite(t, filepath.Join(dir, "model.safetensors"), func(text []byte) []byte { text[len(text)-1] ^= 1; return text })
		}, "the digests of 48 of 49 tensors (see weights)", 0},
		{"no window", func(t *testing.T, dir string) {
			rewrite(t, filepath.Join(dir, "config.json"), replaced(`"attention_window_size": 5,`, ""))
		}, "the digests of 49 tensors", 1},
		{"another window", func(t *testing.T, dir string) {
			rewrite(t, filepath.Join(dir, "config.json"), replaced(`"attention_window_size": 5,`, `"attention_window_size": 3,`))
		}, "the digests of 49 tensors", 1},
		{"no config.json", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "config.json")); err != nil {
				t.Fatal(err)
			}
		}, "the digests of 49 tensors", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			source, dir := conversionOf(t, convert.Options{To: convert.ToHF})
			tt.do(t, dir)
			v, err := verifyFiles(t, source, dir, Options{Settings: cases.Open(t, "odd-griffin").Settings})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(v.Config.Summary, tt.summary) || v.Config.Findings.Len() != tt.findings {
				t.Errorf("%s: %+v", v.Config.Summary, v.Config.Findings)
			}
		})
	}
}

// A record that is corrupt, or of another conversion, is all that is wrong then: the models are the same. So are they if it states other
// settings of the model than config.json and what was given.
func TestStaleRecords(t *testing.T) {
	source, other := conversionOf(t, convert.Options{To: convert.ToHF})
	record := func(dir string) string { return filepath.Join(dir, manifest.Name) }
	c := cases.Open(t, "odd-griffin")
	for _, tt := range []struct {
		name, answer string
		change       func(t *testing.T, dir string)
	}{
		{"as it was made", "the same model, rounded to float16", func(t *testing.T, dir string) {}},
		{"empty", "the same model, rounded to float16, but conversion.json is corrupt",
			func(t *testing.T, dir string) { rewrite(t, record(dir), func([]byte) []byte { return nil }) }},
		{"of another conversion", "the same model, rounded to float16, but conversion.json is not of this conversion",
			func(t *testing.T, dir string) {
				rewrite(t, record(dir), func([]byte) []byte { return readFile(record(other)) })
			}},
		{"of another layout", "the same model, rounded to float16, but conversion.json is not of this conversion",
			func(t *testing.T, dir string) {
				rewrite(t, record(dir), replaced(`"layout": "huggingface"`, `"layout": "torch"`))
			}},
		{"of another window", fmt.Sprintf("the same model, rounded to float16, but conversion.json records attention window 77, not %d", *c.Settings.AttentionWindow), func(t *testing.T, dir string) {
			rewrite(t, record(dir), replaced(fmt.Sprintf(`"attention_window": %d`, *c.Settings.AttentionWindow), `"attention_window": 77`))
		}},
		{"empty, beside a wrong config.json", "not the same model", func(t *testing.T, dir string) {
			rewrite(t, record(dir), func([]byte) []byte { return nil })
			rewrite(t, filepath.Join(dir, "config.json"), replaced(`"gelu_pytorch_tanh"`, `"gelu"`))
		}},
	} {
		_, dir := conversionOf(t, convert.Options{To: convert.ToHF, DType: tensor.F16})
		tt.change(t, dir)
		v, err := verifyFiles(t, source, dir, Options{Settings: c.Settings})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if v.Answer() != tt.answer || v.Same != (tt.name == "as it was made") || (StaleRecords(v) != nil) != strings.Contains(tt.answer, " but ") {
			t.Errorf("%s: %s, %q", tt.name, v.Answer(), v.Config.Summary)
		}
	}
}
