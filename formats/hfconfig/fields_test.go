package hfconfig

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func write(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), Name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFields(t *testing.T) {
	got, err := Fields(write(t, `{"a": 1, "b": {"c": 2.0, "d": {"e": null}}, "f": ["x"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, []string{"a", "b.c", "b.d.e", "f"}) {
		t.Errorf("fields %q", keys)
	}
	if got["a"] != json.Number("1") || got["b.c"] != json.Number("2.0") || got["b.d.e"] != nil {
		t.Errorf("%#v", got)
	}
}

func TestNoJSON(t *testing.T) {
	for text, say := range map[string]string{
		"":                 "",
		"[]":               "not a JSON object",
		`{"a": NaN}`:       "",
		`{"a": 1, "a": 2}`: "",
		`{"a": "` + strings.Repeat("x", 1<<20) + `"}`: "longer than",
	} {
		for _, read := range []func(string) error{
			func(path string) error { _, err := Fields(path); return err },
			func(path string) error { _, err := Read(path); return err },
		} {
			var bad *tensor.FormatError
			if err := read(write(t, text)); !errors.As(err, &bad) || !strings.HasSuffix(bad.File, Name) || !strings.Contains(err.Error(), say) {
				t.Errorf("%.20q: %v", text, err)
			}
		}
	}
}
