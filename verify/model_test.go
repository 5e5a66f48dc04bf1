package verify

import (
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// openModel opens a checkpoint, which is closed when the test ends.
func openModel(t testing.TB, path string, s model.Settings) *runtime.Model {
	t.Helper()
	checkpoint, err := formats.Open(path, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkpoint.Close() })
	m, err := runtime.Open(t.Context(), checkpoint, runtime.Options{Settings: s})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// verifyFiles is Verify with paths.
func verifyFiles(t testing.TB, source, converted string, o Options) (*Verdict, error) {
	t.Helper()
	a, err := formats.Open(source, formats.Options{})
	if err != nil {
		return nil, err
	}
	defer a.Close()
	b, err := formats.Open(converted, formats.Options{})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return Verify(t.Context(), a, b, o)
}
