package statement_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/internal/statement"
)

// The config.json of a directory states the settings of the model in it, for which others were given.
func ExampleOf() {
	checkpoint, err := formats.Open("../../../testdata/micro-griffin/hf", formats.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoint.Close()
	m, err := model.Recognize(checkpoint, model.Options{})
	if err != nil {
		log.Fatal(err)
	}
	given := m.Config
	given.AttentionWindow, given.LogitsSoftCap, given.EmbeddingScale = 9, 20, false
	stated, err := statement.Of(context.Background(), m, &given, false)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(*stated.AttentionWindow, *stated.LogitsSoftCap, *stated.EmbeddingScale, stated.Files[model.WindowSetting])
	// Output: 6 30 true [config.json]
}

// The window is the first number under the names that transformers reads, in their order.
func TestWindow(t *testing.T) {
	for text, want := range map[string]int64{
		`{"attention_window_size": 7}`: 7, `{"sliding_window": 5, "attention_window_size": 7}`: 5, `{"sliding_window": "5", "attention_window_size": 7}`: 7,
		`{"attention_window_size": null}`: 0, `{}`: 0, `[]`: 0, ``: 0,
	} {
		files := fstest.MapFS{}
		if text != "" {
			files["config.json"] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := statement.Window(&tensor.Checkpoint{Source: files, Root: "."}); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}

// A setting in which config.json and conversion.json contradict each other is stated by neither. A window of config.json alone may be one more than the
// original's.
func TestContradictingFiles(t *testing.T) {
	const config, record = "config.json", manifest.Name
	for _, tt := range []struct {
		name           string
		file, from, to string // an edit of a file
		match          convert.Runtimes
		recorded       bool // has a conversion.json
		given          int64
		oneMore        bool
		want           string
	}{
		{"as converted", "", "", "", 0, true, 9, false, "6 30 true [conversion.json config.json]"},
		{"as converted, with one more", "", "", "", convert.Transformers5, true, 9, false, "6 30 true [conversion.json]"},
		{"another window", config, `"attention_window_size": 6`, `"attention_window_size": 8`, 0, true, 9, false, "- 30 true [conversion.json]"},
		{"another soft cap", config, `"logits_soft_cap": 30.0`, `"logits_soft_cap": 10.0`, 0, true, 9, false, "6 - true [conversion.json config.json]"},
		{"another head", config, `"tie_word_embeddings": true`, `"tie_word_embeddings": false`, 0, true, 9, false, "6 30 - [conversion.json config.json]"},
		{"a window that no model has", record, `"attention_window": 6`, `"attention_window": 0`, 0, true, 9, false, "- - - []"},
		{"a record of another layout", record, `"layout": "huggingface"`, `"layout": "torch"`, 0, true, 9, false, "6 30 true [config.json]"},
		{"config.json alone", "", "", "", 0, false, 9, false, "6 30 true [config.json]"},
		{"one more than given", "", "", "", 0, false, 5, false, "- 30 true [config.json]"},
		{"one more than given, taken", "", "", "", 0, false, 5, true, "6 30 true [config.json]"},
	} {
		m := converted(t, tt.match, tt.recorded, tt.file, tt.from, tt.to)
		given := m.Config
		given.AttentionWindow = tt.given
		s, err := statement.Of(t.Context(), m, &given, tt.oneMore)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(shown(s.AttentionWindow), " ", shown(s.LogitsSoftCap), " ", shown(s.EmbeddingScale), " ", s.Files[model.WindowSetting]); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// What a directory was written to match is what its conversion.json says.
func TestMatch(t *testing.T) {
	for _, match := range []convert.Runtimes{convert.Transformers5, convert.MLX, convert.Transformers5 | convert.MLX, convert.NoRuntime} {
		m := converted(t, match, true, "", "", "")
		record, _, err := m.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		isMatched, window, want := match != convert.NoRuntime, int64(6), match
		if isMatched {
			window++
		} else {
			want = convert.Transformers5
		}
		if got := statement.Match(m); got != want || statement.WasMatched(m, 6) != isMatched || statement.WasMatched(m, 7) || statement.RecordedWindow(record) != window {
			t.Errorf("%v: %v, %d", match, got, statement.RecordedWindow(record))
		}
	}
	for _, m := range []*model.Model{nil, converted(t, convert.MLX, false, "", "", "")} {
		if statement.Match(m) != convert.Transformers5 || statement.WasMatched(m, 6) {
			t.Error("something is recorded where there is no conversion.json")
		}
	}
}

// The window of the original is what a conversion.json records that its config.json does not contradict; otherwise that of config.json may be one more.
func TestWindows(t *testing.T) {
	const assumed = `"attention_window": 6, "attention_window_assumed": true`
	for _, tt := range []struct {
		name           string
		file, from, to string // an edit of a file
		match          convert.Runtimes
		recorded       bool
		refused        int64 // a window
		want           string
	}{
		{"as converted", "", "", "", 0, true, 0, "[6] true"},
		{"one more", "", "", "", convert.Transformers5, true, 0, "[6] true"},
		{"config.json alone", "", "", "", 0, false, 0, "[6 5] false"},
		{"one of them refused", "", "", "", 0, false, 6, "[5] false"},
		{"the recorded one refused", "", "", "", convert.Transformers5, true, 6, "[7] false"},
		{"another in config.json", "config.json", `"attention_window_size": 6`, `"attention_window_size": 7`, 0, true, 0, "[7 6] false"},
		{"another in conversion.json", manifest.Name, `"attention_window": 6`, `"attention_window": 12`, 0, true, 0, "[6 5] false"},
		{"of another layout", manifest.Name, `"layout": "huggingface"`, `"layout": "torch"`, 0, true, 0, "[6 5] false"},
		{"assumed", manifest.Name, `"attention_window": 6`, assumed, 0, true, 0, "[6 5] false"},
		{"assumed, and one more written", manifest.Name, `"attention_window": 6`, assumed, convert.Transformers5, true, 0, "[6] true"},
	} {
		m := converted(t, tt.match, tt.recorded, tt.file, tt.from, tt.to)
		windows, isRecorded := statement.Windows(m, func(w int64) bool { return w != tt.refused })
		if got := fmt.Sprint(windows, isRecorded); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func shown[T any](x *T) any {
	if x == nil {
		return "-"
	}
	return *x
}

// converted returns the model in a directory that was converted from an original, with one of its files changed.
func converted(t *testing.T, match convert.Runtimes, recorded bool, file, from, to string) *model.Model {
	t.Helper()
	c := cases.Open(t, "micro-griffin")
	source, err := formats.Open(filepath.Join(c.Dir, "original", "torch.pt"), formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	dir := filepath.Join(t.TempDir(), "converted")
	if _, err := convert.Convert(t.Context(), source, dir, convert.Options{To: convert.ToHF, Settings: c.Settings, MatchRuntime: match}); err != nil {
		t.Fatal(err)
	}
	if !recorded {
		if err := os.Remove(filepath.Join(dir, manifest.Name)); err != nil {
			t.Fatal(err)
		}
	}
	if file != "" {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || !bytes.Contains(text, []byte(from)) {
			t.Fatalf("%s has no %s: %v", file, from, err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), bytes.Replace(text, []byte(from), []byte(to), 1), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	found, err := formats.Open(dir, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { found.Close() })
	m, err := model.Recognize(found, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
