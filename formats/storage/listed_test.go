package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// A listed source answers as the source does, and asks the system nothing about names that are not in their directory.
func TestListed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a/b", "empty", "1", "10", "2"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.WriteFile(filepath.Join(dir, "a/file"), nil, 0o666),
		os.Symlink("a", filepath.Join(dir, "link")),
		os.Symlink("nothing", filepath.Join(dir, "dangling")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	names := []string{".", "a", "a/b", "a/file", "a/none", "a/file/none", "none/none", "none", "link", "link/file", "link/none", "dangling", "1", "10", "2", "20", "empty/x", "../a", "/a", "a//b", ""}
	inside, closer, err := Confine(Local(dir), ".")
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	for kind, source := range map[string]fs.FS{"local": Local(dir), "confined": inside} {
		listed := Listed(source)
		operations := 0
		system.SetFault(func(op system.Op, path string, n int) (int, error) { operations++; return n, nil })
		defer system.SetFault(nil)
		for range 3 {
			for _, name := range names {
				for op, do := range map[string]func(fs.FS, string) (fs.FileInfo, error){"stat": fs.Stat, "lstat": fs.Lstat} {
					want, wantErr := do(source, name)
					got, err := do(listed, name)
					if (err == nil) != (wantErr == nil) || errors.Is(err, fs.ErrNotExist) != errors.Is(wantErr, fs.ErrNotExist) || err == nil && (got.Name() != want.Name() || got.Mode() != want.Mode()) {
						t.Errorf("%s: %s %q: %v, %v, not %v, %v", kind, op, name, got, err, want, wantErr)
					}
				}
				want, wantErr := fs.ReadDir(source, name)
				got, err := fs.ReadDir(listed, name)
				if (err == nil) != (wantErr == nil) || !slices.EqualFunc(got, want, func(a, b fs.DirEntry) bool { return a.Name() == b.Name() && a.Type() == b.Type() }) {
					t.Errorf("%s: directory %q: %v, %v, not %v, %v", kind, name, got, err, want, wantErr)
				}
			}
		}
		operations = 0
		for i := range 1000 {
			if IsFile(listed, "empty/"+strconv.Itoa(i)) {
				t.Error("there is a file in an empty directory")
			}
		}
		if operations > 0 {
			t.Errorf("%s: %d operations for files of a directory that was read", kind, operations)
		}
	}
	if elsewhere := (fstest.MapFS{}); Listed(elsewhere) == nil {
		t.Error("a source elsewhere is lost")
	}
}

// Directories that are asked for again are kept, whatever their size, and others are forgotten.
func TestListingsAreBounded(t *testing.T) {
	large := make([]fs.DirEntry, 2*maxListed)
	reads := map[string]int{}
	l := &listings{read: func(name string) ([]fs.DirEntry, error) {
		reads[name]++
		if name == "large" {
			return large, nil
		}
		return make([]fs.DirEntry, 1000), nil
	}}
	for i := range 1000 {
		for _, name := range []string{"large", strconv.Itoa(i), "large", strconv.Itoa(i)} {
			if entries, err := l.list(name); err != nil || len(entries) != map[bool]int{true: len(large), false: 1000}[name == "large"] {
				t.Fatal(name, err)
			}
		}
		if kept := len(l.recent) + len(l.older); kept > 2*maxListed/1000 {
			t.Fatalf("%d directories are kept", kept)
		}
	}
	for name, n := range reads {
		if n != 1 {
			t.Errorf("%s was read %d times", name, n)
		}
	}
}
