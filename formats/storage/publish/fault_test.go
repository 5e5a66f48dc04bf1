package publish

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// failAt makes the n-th operation on files fail, until stop is called. stop returns what that was, "" if there were fewer.
func failAt(n int) (stop func() string) {
	var mu sync.Mutex
	count, failed := 0, ""
	system.SetFault(func(op system.Op, path string, size int) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		if count++; count == n {
			failed = string(op)
			return 0, syscall.EIO
		}
		return size, nil
	})
	return func() string {
		system.SetFault(nil)
		return failed
	}
}

// Each operation on files fails once. It is an error, unless nothing depends on it; the destination is as it was or as it
// should be; and the next run is right and leaves nothing.
func TestEveryOperationFails(t *testing.T) {
	old := func(t *testing.T, dst string) { write(t, dst, "old") }
	pairOf := func(dst string, replace bool) error {
		s, err := NewFileStage(dst, ".json", replace)
		if err != nil {
			return err
		}
		err = errors.Join(WriteFile(s.File, []byte("new")), WriteFile(s.Sidecar, []byte("new")))
		if err == nil {
			err = s.Publish()
		}
		return errors.Join(err, s.Discard())
	}
	directory := func(dst string, replace bool) error {
		s, err := NewStage(dst, replace)
		if err != nil {
			return err
		}
		if err = WriteFile(filepath.Join(s.Dir, "file"), []byte("new")); err == nil {
			err = s.Publish()
		}
		return errors.Join(err, s.Discard())
	}
	stat := []string{"stat"}     // where the user is, and the nearest directory whose free space is looked up
	closing := []string{"close"} // of what was read
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, dst string)
		run     func(dst string) error
		file    string   // whose content tells what is at the destination
		ignored []string // operations whose failure is none
	}{
		{"directory", nil, func(dst string) error { return directory(dst, false) }, "model/file", nil},
		{"directory below new ones", nil, func(dst string) error { return directory(filepath.Join(dst, "a", "b"), false) }, "model/a/b/file", nil},
		{"directory is replaced", func(t *testing.T, dst string) { old(t, filepath.Join(dst, "file")) }, func(dst string) error { return directory(dst, true) }, "model/file", stat},
		{"file", nil, func(dst string) error { return pairOf(dst, false) }, "model", nil},
		{"file is replaced", func(t *testing.T, dst string) { old(t, dst); old(t, dst+".json") }, func(dst string) error { return pairOf(dst, true) }, "model", nil},
		{"small file", nil, func(dst string) error { return ReplaceWith(dst, []byte("new")) }, "model", append(stat, "readlink")},
		{"small file is replaced", old, func(dst string) error { return ReplaceWith(dst, []byte("new")) }, "model", stat},
		{"file is filled", old, func(dst string) error {
			return Replace(dst, 3, func(w io.WriterAt) error { _, err := w.WriteAt([]byte("new"), 0); return err })
		}, "model", stat},
		{"check", func(t *testing.T, dst string) { write(t, dst, "new") }, func(dst string) error {
			return errors.Join(CheckOutput(dst), CheckStage(dst+".other", "", false), CheckStage(dst+".other", ".json", false))
		}, "model", nil},
		{"device", func(t *testing.T, dst string) { write(t, dst, "new") }, func(dst string) error { return ReplaceWith("/dev/null", []byte("new")) }, "model", []string{"close"}},
		{"output", nil, func(dst string) error {
			files := NewOutputFiles(digest.SHA256)
			f, err := files.Create(dst)
			if err != nil {
				return err
			}
			o, err := NewOutput(f, 3)
			if err == nil {
				_, err = o.WriteAt([]byte("new"), 0)
				err = errors.Join(err, o.Close())
			}
			err = errors.Join(err, f.Close())
			if err == nil {
				_, err = files.Sums(t.Context())
			}
			if err != nil {
				os.Remove(dst)
			}
			return err
		}, "model", closing},
		{"source", func(t *testing.T, dst string) { write(t, dst, "new") }, func(dst string) error {
			source, name, err := storage.Locate(dst)
			if err != nil {
				return err
			}
			content, err := storage.ReadFile(source, name, 100)
			if err == nil && string(content) != "new" {
				return fmt.Errorf("%q was read", content)
			}
			return errors.Join(err, storage.Unchanged(source))
		}, "model", closing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ignored := map[string]bool{}
			for n := 1; ; n++ {
				dir := t.TempDir()
				dst := filepath.Join(dir, "model")
				if tt.prepare != nil {
					tt.prepare(t, dst)
				}
				before, _ := os.ReadFile(filepath.Join(dir, tt.file))
				stop := failAt(n)
				err := tt.run(dst)
				failed := stop()
				if failed == "" {
					if err != nil || n == 1 {
						t.Fatalf("without a fault: %v", err)
					}
					break
				}
				after, _ := os.ReadFile(filepath.Join(dir, tt.file))
				if string(after) != string(before) && string(after) != "new" {
					t.Errorf("%s, operation %d: %q is at the destination", failed, n, after)
				}
				if err == nil {
					ignored[failed] = true
					if string(after) != "new" {
						t.Errorf("%s, operation %d: no error, and %q is at the destination", failed, n, after)
					}
					continue
				}
				if string(after) == "new" && tt.name != "source" { // it was published before
					continue
				}
				if err := tt.run(dst); err != nil {
					t.Errorf("%s, operation %d: the next run: %v", failed, n, err)
				}
				if left := names(t, dir); slices.ContainsFunc(left, func(name string) bool { return strings.Contains(name, stageMark) }) {
					t.Errorf("%s, operation %d: the next run leaves %q", failed, n, left)
				}
			}
			for op := range ignored {
				if !slices.Contains(tt.ignored, op) {
					t.Errorf("a failing %s is not noticed", op)
				}
			}
		})
	}
}
