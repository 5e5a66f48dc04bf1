package storage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// A file that is not as it was when it was opened first is noticed.
func TestUnchanged(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"":        func(string) error { return nil },
		"touched": func(path string) error { return os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)) },
		"longer":  func(path string) error { return rewrite(path, path, "abcdef!") },
		"replaced": func(path string) error {
			return errors.Join(rewrite(path, path+".new", "ABCDEF"), os.Rename(path+".new", path))
		},
		"removed": os.Remove,
	} {
		for _, opened := range []bool{true, false} {
			dir := t.TempDir()
			path := filepath.Join(dir, "a")
			write(t, path, "abcdef")
			source := Local(dir)
			for _, name := range []string{"a", "a", "."} {
				if !opened && name == "a" {
					continue
				}
				f, err := source.Open(name)
				if err != nil {
					t.Fatal(err)
				}
				f.Close()
			}
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			if opened && name != "removed" { // opening it again does not hide it
				f, err := source.Open("a")
				if err != nil {
					t.Fatal(err)
				}
				f.Close()
			}
			var bad *tensor.FormatError
			if err := Unchanged(fstest.MapFS{}, source); errors.As(err, &bad) != (name != "" && opened) || (err == nil) != (bad == nil) {
				t.Errorf("%q, opened %t: %v", name, opened, err)
			}
		}
	}
	if err := errors.Join((*ledger)(nil).record("x", nil), (*ledger)(nil).unchanged()); err != nil {
		t.Error(err)
	}
}

// rewrite writes a file with the time of another.
func rewrite(as, path, content string) error {
	info, err := os.Stat(as)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(path, []byte(content), 0o666), os.Chtimes(path, info.ModTime(), info.ModTime()))
}

// write writes a file.
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}
