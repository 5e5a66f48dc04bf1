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
