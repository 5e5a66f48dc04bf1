package hfconfig

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// holding returns a source of one config.json.
func holding(text string) fs.FS { return fstest.MapFS{Name: {Data: []byte(text)}} }

func TestFields(t *testing.T) {
	got, err := Fields(holding(`{"a": 1, "b": {"c": 2.0, "d": {"e": null}}, "f": ["x"]}`), Name)
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
		for _, read := range []func(fs.FS) error{
			func(source fs.FS) error { _, err := Fields(source, Name); return err },
			func(source fs.FS) error { _, err := Read(source, Name); return err },
		} {
			var bad *tensor.FormatError
			if err := read(holding(text)); !errors.As(err, &bad) || !strings.HasSuffix(bad.File, Name) || !strings.Contains(err.Error(), say) {
				t.Errorf("%.20q: %v", text, err)
			}
		}
	}
}
