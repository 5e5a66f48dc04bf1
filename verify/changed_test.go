package verify_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/diff"
)

// A file that is written to while it is read is an error, not a verdict and not a difference.
func TestChangedWhileRead(t *testing.T) {
	const original = "../testdata/odd-griffin/hf"
	for _, changed := range []string{"a", "b"} {
		dir := t.TempDir()
		for _, name := range []string{"a", "b"} {
			if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(original)); err != nil {
				t.Fatal(err)
			}
		}
		open := func(name string) *tensor.Checkpoint {
			c, err := formats.Open(filepath.Join(dir, name), formats.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		}
		touch := func(string, int64, int64) {
			then := time.Now().Add(time.Hour)
			if err := os.Chtimes(filepath.Join(dir, changed, "model.safetensors"), then, then); err != nil {
				t.Error(err)
			}
		}
		var bad *tensor.FormatError
		if _, err := diff.Diff(t.Context(), open("a"), open("b"), diff.Options{}); err != nil {
			t.Errorf("diff of files that do not change: %v", err)
		}
		if _, err := verify.Verify(t.Context(), open("a"), open("b"), verify.Options{Progress: touch}); !errors.As(err, &bad) {
			t.Errorf("verify while %s changes: %v", changed, err)
		}
		then := time.Now()
		if err := os.Chtimes(filepath.Join(dir, changed, "model.safetensors"), then, then); err != nil {
			t.Fatal(err)
		}
		if _, err := diff.Diff(t.Context(), open("a"), open("b"), diff.Options{Progress: touch}); !errors.As(err, &bad) {
			t.Errorf("diff while %s changes: %v", changed, err)
		}
	}
}
