package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
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

// Each question about a file to which the file system has no answer is remembered, and the first one reported, whatever the reader
// made of it. That there is no such file is an answer.
func TestFailure(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "abcdef")
	questions := map[string]func(fs.FS) error{
		"open":     func(f fs.FS) error { _, err := f.Open("a"); return err },
		"stat":     func(f fs.FS) error { _, err := fs.Stat(f, "a"); return err },
		"lstat":    func(f fs.FS) error { _, err := fs.Lstat(f, "a"); return err },
		"readlink": func(f fs.FS) error { _, err := fs.ReadLink(f, "a"); return err },
		"list":     func(f fs.FS) error { _, err := fs.ReadDir(f, "."); return err },
	}
	sources := map[string]func() fs.FS{
		"local": func() fs.FS { return Local(dir) },
		"confined": func() fs.FS {
			f, root, err := Confine(Local(dir), ".")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { root.Close() })
			return f
		},
		"below another": func() fs.FS { return sub{Local(filepath.Dir(dir)), filepath.Base(dir)} },
		"not recorded":  func() fs.FS { return local{dir, nil, nil} },
	}
	t.Cleanup(func() { system.SetFault(nil) })
	for kind, open := range sources {
		for question, ask := range questions {
			if kind == "below another" && question == "readlink" {
				continue // it has no links
			}
			source := open()
			fail := func(err error) {
				system.SetFault(func(_ system.Op, _ string, n int) (int, error) { return n, err })
				if got := ask(source); !errors.Is(got, err) {
					t.Errorf("%s, %s: %v instead of %v", kind, question, got, err)
				}
				system.SetFault(nil)
			}
			fail(syscall.ENOENT)
			if err := errors.Join(Failure(fstest.MapFS{}, source), Unchanged(source)); err != nil {
				t.Errorf("%s, %s: an absent file: %v", kind, question, err)
			}
			fail(syscall.EIO)
			fail(syscall.ESTALE)
			for _, err := range []error{Failure(fstest.MapFS{}, source), Unchanged(source)} {
				if kind == "not recorded" && err != nil || kind != "not recorded" && !errors.Is(err, syscall.EIO) {
					t.Errorf("%s, %s: %v", kind, question, err)
				}
			}
		}
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
