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
		{"empty directory is replaced", func(t *testing.T, dst string) {
			if err := os.Mkdir(dst, 0o777); err != nil {
				t.Fatal(err)
			}
		}, func(dst string) error { return directory(dst, false) }, "model/file", stat},
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

// A lock of a directory that another took the place of while it was being locked is none.
func TestLockOfAReplacedDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "stage")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	system.SetFault(func(op system.Op, _ string, n int) (int, error) {
		if op == system.OpLock {
			if err := errors.Join(os.Rename(dir, dir+".gone"), os.Mkdir(dir, 0o777)); err != nil {
				t.Error(err)
			}
		}
		return n, nil
	})
	defer system.SetFault(nil)
	if l, held, err := tryLock(dir); held || err != nil {
		t.Errorf("held %t, %v", held, err)
		l.release()
	}
}

// A run that cannot lock the names at a destination leaves the lock of another run alone.
func TestUpdateOfAnotherRun(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "model.pt")
	other, err := beginUpdate(dst)
	if err != nil {
		t.Fatal(err)
	}
	stop := failAt(3) // mkdir, open, lock
	_, err = beginUpdate(dst)
	if failed := stop(); failed != string(system.OpLock) || !errors.Is(err, syscall.EIO) {
		t.Errorf("%s failed: %v", failed, err)
	}
	if _, err := os.Stat(other.dir); err != nil {
		t.Error(err)
	}
	if err := other.end(); err != nil {
		t.Error(err)
	}
}

// The sidecar of a file that was published and then removed is not published.
func TestRepairOfARemovedFile(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "model.pt")
	s := fileStage(t, dst, "new", false)
	if err := os.Remove(s.File); err != nil {
		t.Fatal(err)
	}
	if err := s.repair(); err != nil {
		t.Error(err)
	}
	if got := pair(t, dst); got != [2]string{} {
		t.Errorf("published %q", got)
	}
}

// What a killed replacement moved is put back although the stage of that run is still there, unless the run is alive.
func TestCleanOldBesideItsStage(t *testing.T) {
	for _, alive := range []bool{false, true} {
		dst := filepath.Join(t.TempDir(), "dir")
		stage := stageName(dst, strings.Repeat("7", stageRand))
		if err := errors.Join(os.Mkdir(stage, 0o777), os.Mkdir(stage+oldMark, 0o777)); err != nil {
			t.Fatal(err)
		}
		if alive {
			l, held, err := tryLock(stage)
			if err != nil || !held {
				t.Fatal(held, err)
			}
			defer l.release()
		}
		if err := cleanOld(stage+oldMark, dst); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dst); (err == nil) == alive {
			t.Errorf("alive %t: %v", alive, err)
		}
	}
}
