package publish

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const sideSuffix = ".conversion.json"

// fileStage is a stage of a file and a sidecar that both have this content.
func fileStage(t *testing.T, dst, content string, replace bool) *FileStage {
	t.Helper()
	s, err := NewFileStage(dst, sideSuffix, replace)
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.File, content)
	write(t, s.Sidecar, content)
	return s
}

// pair is the contents of a file and its sidecar, "" for what is not there.
func pair(t *testing.T, dst string) [2]string {
	t.Helper()
	var p [2]string
	for i, path := range []string{dst, dst + sideSuffix} {
		content, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		p[i] = string(content)
	}
	return p
}

func TestFileStage(t *testing.T) {
	for _, before := range [][2]string{{}, {"old", "old"}, {"old", ""}, {"", "old"}} {
		dir := t.TempDir()
		dst := filepath.Join(dir, "deep", "model.pt")
		put(t, dst, before)
		s := fileStage(t, dst, "new", true)
		if got := pair(t, dst); got != before {
			t.Errorf("%q: %q before Publish", before, got)
		}
		if err := s.Publish(); err != nil {
			t.Fatal(err)
		}
		if err := s.Discard(); err != nil {
			t.Error(err)
		}
		if got := pair(t, dst); got != [2]string{"new", "new"} {
			t.Errorf("%q: published %q", before, got)
		}
		if got := names(t, filepath.Dir(dst)); len(got) != 2 {
			t.Errorf("%q: left %q", before, got)
		}
	}
}

// put makes a file and its sidecar, but for those whose content is "".
func put(t *testing.T, dst string, p [2]string) {
	t.Helper()
	for i, path := range []string{dst, dst + sideSuffix} {
		if p[i] != "" {
			write(t, path, p[i])
		}
	}
}

func TestFileStageDiscardedLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := fileStage(t, filepath.Join(dir, "new", "model.pt"), "new", false).Discard(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) > 0 {
		t.Errorf("left %q", got)
	}
}

func TestFileStageRefuses(t *testing.T) {
	for _, tt := range []struct {
		what    string
		make    func(t *testing.T, dst string)
		replace bool
		want    error // nil for any
	}{
		{"a file", func(t *testing.T, dst string) { write(t, dst, "1") }, false, fs.ErrExist},
		{"a sidecar", func(t *testing.T, dst string) { write(t, dst+sideSuffix, "1") }, false, fs.ErrExist},
		{"a directory", func(t *testing.T, dst string) { write(t, filepath.Join(dst, "a"), "1") }, true, nil},
		{"a directory as sidecar", func(t *testing.T, dst string) { write(t, filepath.Join(dst+sideSuffix, "a"), "1") }, true, nil},
		{"a link to a directory", func(t *testing.T, dst string) {
			if err := os.Symlink(t.TempDir(), dst); err != nil {
				t.Skip(err)
			}
		}, true, nil},
	} {
		dir := t.TempDir()
		dst := filepath.Join(dir, "model.pt")
		tt.make(t, dst)
		before := names(t, dir)
		s, err := NewFileStage(dst, sideSuffix, tt.replace)
		if err == nil {
			s.Discard()
			t.Errorf("%s: no error", tt.what)
		} else if tt.want != nil && !errors.Is(err, tt.want) || tt.want == nil && errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", tt.what, err)
		}
		if got := names(t, dir); !slices.Equal(got, before) {
			t.Errorf("%s: left %q", tt.what, got)
		}
	}
	if s, err := NewFileStage(filepath.Join(t.TempDir(), "out")+"/", sideSuffix, false); err == nil {
		s.Discard()
		t.Error("a path that ends in a slash: no error")
	}
}

// TestFileStageKeepsWhatCameToExist has another program write the destination, or its sidecar,
// while the stage is filled.
func TestFileStageKeepsWhatCameToExist(t *testing.T) {
	for _, theirs := range [][2]string{{"theirs", "theirs"}, {"theirs", ""}, {"", "theirs"}} {
		dir := t.TempDir()
		dst := filepath.Join(dir, "model.pt")
		s := fileStage(t, dst, "new", false)
		put(t, dst, theirs)
		if err := s.Publish(); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%q: published over it: %v", theirs, err)
		}
		if err := s.Discard(); err != nil {
			t.Error(err)
		}
		if got := pair(t, dst); got != theirs {
			t.Errorf("%q became %q", theirs, got)
		}
	}
}

// TestFileStageKilled stops Publish before each of its renames, looks at what a reader finds, and
// then begins the next run. errKilled stands for the end of the process.
func TestFileStageKilled(t *testing.T) { testFileStageStopped(t, true) }

// TestFileStageFailed has a rename fail instead.
func TestFileStageFailed(t *testing.T) { testFileStageStopped(t, false) }

func testFileStageStopped(t *testing.T, kill bool) {
	defer func(a, b func(string, string) error) { rename, renameFresh = a, b }(rename, renameFresh)
	for _, before := range [][2]string{{}, {"old", "old"}, {"old", ""}, {"", "old"}, {"new", "new"}} {
		done := false
		for step := 0; !done; step++ {
			dir := t.TempDir()
			dst := filepath.Join(dir, "model.pt")
			put(t, dst, before)
			s := fileStage(t, dst, "new", true)
			done = !stoppedAt(t, s, step, kill)
			what := fmt.Sprintf("%q, stopped before rename %d (kill: %v)", before, step, kill)
			if got := pair(t, dst); got[0] != "" && got[1] != "" && got[0] != got[1] {
				t.Errorf("%s: a reader finds %q", what, got)
			} else if before[0] != "" && got[0] == "" {
				t.Errorf("%s: the file is gone", what)
			}
			if !kill {
				if err := s.Discard(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			} else if next, err := NewFileStage(dst, sideSuffix, true); err != nil {
				t.Errorf("%s: %v", what, err)
			} else {
				next.Discard()
			}
			if got := pair(t, dst); got != before && got != [2]string{"new", "new"} {
				t.Errorf("%s: then there is %q", what, got)
			}
			if got := names(t, dir); len(got) > 2 {
				t.Errorf("%s: left %q", what, got)
			}
		}
	}
}

var errKilled = errors.New("killed")

// stoppedAt publishes a stage up to a rename, and reports false if there were fewer.
func stoppedAt(t *testing.T, s *FileStage, step int, kill bool) (stopped bool) {
	t.Helper()
	stop := func(do func(from, to string) error) func(from, to string) error {
		return func(from, to string) error {
			if step--; step >= 0 {
				return do(from, to)
			}
			if kill {
				panic(errKilled)
			}
			return errKilled
		}
	}
	rename, renameFresh = stop(os.Rename), stop(renameNew)
	defer func() {
		rename, renameFresh = os.Rename, renameNew
		if p := recover(); p == errKilled {
			stopped = true
			s.stage.lock.release() // as the system does
			os.Remove(stageName(s.stage.dst, updateDigits))
		} else if p != nil {
			panic(p)
		}
	}()
	err := s.Publish()
	if err != nil && !errors.Is(err, errKilled) {
		t.Error(err)
	}
	return err != nil
}

// TestFileStageOfManyRuns has runs replace one destination at once: the last one's file has the
// last one's sidecar.
func TestFileStageOfManyRuns(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, "model.pt")
	for range 8 {
		var group sync.WaitGroup
		for i := range 4 {
			s := fileStage(t, dst, fmt.Sprint(i), true)
			group.Go(func() {
				if err := s.Publish(); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if got := pair(t, dst); got[0] == "" || got[0] != got[1] {
			t.Fatalf("left %q", got)
		}
	}
	if got := names(t, dir); len(got) != 2 {
		t.Errorf("left %q", got)
	}
}

// Names of which the sidecar just fits the file system's limit of 255 bytes work, and longer ones are refused before
// anything is written.
func TestFileStageLongNames(t *testing.T) {
	const suffix = ".conversion.json"
	for n := 255 - len(suffix) - 10; n <= 255; n++ {
		dir := t.TempDir()
		dst := filepath.Join(dir, strings.Repeat("n", n))
		s, err := NewFileStage(dst, suffix, false)
		if n+len(suffix) > 255 {
			if err == nil {
				t.Errorf("%d bytes: no error", n)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%d bytes: left %v, %v", n, left, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		for _, path := range []string{s.File, s.Sidecar} {
			if err := os.WriteFile(path, []byte("x"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Publish(); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		for _, path := range []string{dst, dst + suffix} {
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		}
	}
}
