package publish

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// names lists a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

func newStage(t *testing.T, dst string, replace bool) *Stage {
	t.Helper()
	s, err := NewStage(dst, replace)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStageAppearsAtOnce(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, "model")
	s := newStage(t, dst, false)
	write(t, filepath.Join(s.Dir, "a"), "1")
	if _, err := os.Lstat(dst); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the destination exists before Publish")
	}
	if err := s.Publish(); err != nil {
		t.Fatal(err)
	}
	if err := s.Discard(); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"model"}) {
		t.Errorf("left %q", got)
	}
	if got := names(t, dst); !slices.Equal(got, []string{"a"}) {
		t.Errorf("published %q", got)
	}
	if info, err := os.Stat(dst); err != nil || runtime.GOOS != "windows" && info.Mode().Perm()&0o500 != 0o500 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestStageDiscardedLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := newStage(t, filepath.Join(dir, "new", "deep", "model"), false)
	write(t, filepath.Join(s.Dir, "a", "b"), "1")
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) > 0 {
		t.Errorf("left %q", got)
	}
}

func TestStageKeepsWhatOthersPutBesideIt(t *testing.T) {
	dir := t.TempDir()
	s := newStage(t, filepath.Join(dir, "new", "model"), false)
	write(t, filepath.Join(dir, "new", "other"), "1")
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, filepath.Join(dir, "new")); !slices.Equal(got, []string{"other"}) {
		t.Errorf("left %q", got)
	}
}

func TestStageRefusesAnExistingDestination(t *testing.T) {
	for _, kind := range []string{"directory", "file", "dangling link"} {
		dir := t.TempDir()
		dst := filepath.Join(dir, "model")
		switch kind {
		case "directory":
			write(t, filepath.Join(dst, "old"), "1")
		case "file":
			write(t, dst, "1")
		default:
			if err := os.Symlink("nowhere", dst); err != nil {
				t.Skip(err)
			}
		}
		_, err := NewStage(dst, kind == "file")
		var output *OutputError
		if isFile := errors.As(err, &output) && output.Reason == OutputIsFile; isFile != (kind == "file") || !isFile && !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", kind, err)
		}
		if got := names(t, dir); !slices.Equal(got, []string{"model"}) {
			t.Errorf("%s: left %q", kind, got)
		}
	}
}

func TestStageRefusesADestinationThatCameToExist(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, "model")
	s := newStage(t, dst, false)
	write(t, filepath.Join(s.Dir, "a"), "new")
	if err := os.Mkdir(dst, 0o777); err != nil { // empty: rename would replace it
		t.Fatal(err)
	}
	if err := s.Publish(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("published over another: %v", err)
	}
	if err := s.Discard(); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"model"}) || len(names(t, dst)) > 0 {
		t.Errorf("left %q, %q", got, names(t, dst))
	}
}

// An empty directory is replaced, unless something was put into it meanwhile.
func TestStageReplacesAnEmptyDirectory(t *testing.T) {
	for _, more := range []string{"", "notes"} {
		dst := filepath.Join(t.TempDir(), "model")
		if err := os.Mkdir(dst, 0o777); err != nil {
			t.Fatal(err)
		}
		s := newStage(t, dst, false)
		write(t, filepath.Join(s.Dir, "a"), "new")
		if more != "" {
			write(t, filepath.Join(dst, more), "kept")
		}
		want := cmp.Or(more, "a")
		if err := s.Publish(); errors.Is(err, fs.ErrExist) != (more != "") || err != nil && more == "" {
			t.Errorf("%q: %v", more, err)
		}
		if err := s.Discard(); err != nil {
			t.Error(err)
		}
		if got := names(t, dst); !slices.Equal(got, []string{want}) || len(names(t, filepath.Dir(dst))) != 1 {
			t.Errorf("%q: left %q", more, got)
		}
	}
}

func TestStageReplaces(t *testing.T) {
	for _, kind := range []string{"directory", "link", "nothing"} {
		dir := t.TempDir()
		dst := filepath.Join(dir, "model")
		want := []string{"model"}
		switch kind {
		case "directory":
			write(t, filepath.Join(dst, "old"), "1")
		case "link":
			write(t, filepath.Join(dir, "real", "old"), "1")
			if err := os.Symlink("real", dst); err != nil {
				t.Skip(err)
			}
			want = []string{"model", "real"}
		}
		s := newStage(t, dst, true)
		write(t, filepath.Join(s.Dir, "a"), "new")
		if kind == "directory" && !slices.Equal(names(t, dst), []string{"old"}) {
			t.Error("the old destination is touched before the end")
		}
		if err := s.Publish(); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if got := names(t, dir); !slices.Equal(got, want) {
			t.Errorf("%s: left %q", kind, got)
		}
		if got := names(t, dst); !slices.Equal(got, []string{"a"}) {
			t.Errorf("%s: published %q", kind, got)
		}
	}
}

func TestStageDiscardedKeepsTheOldDestination(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, "model")
	write(t, filepath.Join(dst, "old"), "1")
	s := newStage(t, dst, true)
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dst); !slices.Equal(got, []string{"old"}) || len(names(t, dir)) != 1 {
		t.Errorf("left %q, %q", names(t, dir), got)
	}
}

func TestStageDoesNotReplaceWhereTheUserIs(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, dst := range []string{".", dir, filepath.Dir(dir)} {
		if s, err := NewStage(dst, true); err == nil {
			s.Discard()
			t.Errorf("%s would be replaced", dst)
		}
	}
}

// TestStageRemovesWhatAKilledRunLeft has stages of the same destination that nobody holds, one
// that somebody does, and things that only look like stages.
func TestStageRemovesWhatAKilledRunLeft(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, "model")
	write(t, filepath.Join(dir, ".model.griffin-0123456789abcdef", "model.safetensors"), "half")
	keep := []string{".model.griffin-0123456789abcd", ".model.griffin-0123456789abcdef01", ".model.griffin-0123456789ABCDEF", ".model.griffin-0123456789abcdeg", ".other.griffin-0123456789abcdef",
		"model.griffin-0123456789abcdef", ".model.griffin-"}
	for _, name := range keep {
		write(t, filepath.Join(dir, name, "x"), "1")
	}
	write(t, filepath.Join(dir, ".model.griffin-fedcba9876543210"), "a file") // no stage: stages are directories
	keep = append(keep, ".model.griffin-fedcba9876543210")
	live := newStage(t, dst, false)
	write(t, filepath.Join(live.Dir, "x"), "1")
	keep = append(keep, filepath.Base(live.Dir))
	if _, err := os.Lstat(filepath.Join(dir, ".model.griffin-0123456789abcdef")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a killed run's stage is still there")
	}
	second := newStage(t, dst, false)
	keep = append(keep, filepath.Base(second.Dir))
	slices.Sort(keep)
	if got := names(t, dir); !slices.Equal(got, keep) {
		t.Errorf("left\n%q, want\n%q", got, keep)
	}
	if err := errors.Join(second.Publish(), live.Discard()); err != nil {
		t.Error(err)
	}
}

// TestStagePutsBackWhatAKilledReplacementMoved is for systems that cannot exchange two names: a
// run killed between its two renames.
func TestStagePutsBackWhatAKilledReplacementMoved(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, "model")
	stage := filepath.Join(dir, ".model.griffin-0123456789abcdef")
	write(t, filepath.Join(stage, "a"), "new")
	write(t, filepath.Join(stage+oldMark, "old"), "old")
	s, err := NewStage(dst, false)
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("the old destination was not put back: %v, %v", s, err)
	}
	if got := names(t, dst); !slices.Equal(got, []string{"old"}) {
		t.Errorf("put back %q", got)
	}
	write(t, filepath.Join(stage+oldMark, "older"), "old") // killed after the second rename
	newStage(t, dst, true).Discard()
	if got := names(t, dir); !slices.Equal(got, []string{"model"}) {
		t.Errorf("left %q", got)
	}
}

// TestReplaceInTwoSteps covers what swapIn does where names cannot be exchanged.
func TestReplaceInTwoSteps(t *testing.T) {
	defer func(old func(a, b string) error) { exchangeNames = old }(exchangeNames)
	exchangeNames = func(string, string) error { return errors.ErrUnsupported }
	TestStageReplaces(t)
}

func TestCheckFree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "yet")
	if err := CheckFree(dir, 1); err != nil {
		t.Error(err)
	}
	err := CheckFree(dir, 1<<62)
	var space *SpaceError
	if !errors.As(err, &space) || space.Need != 1<<62 || space.Free <= 0 || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("%v", err)
	}
}

func TestDestinationOf(t *testing.T) {
	digits := strings.Repeat("0f", stageRand/2)
	for path, want := range map[string]string{
		"/x/.model.griffin-" + digits + "/config.json":                           "/x/model/config.json",
		"/x/.model.griffin-" + digits + "/a/b":                                   "/x/model/a/b",
		"/x/.model.griffin-" + digits:                                            "/x/model",
		"/x/.model.griffin-" + digits + ".old/config.json":                       "/x/model/config.json",
		"/x/.model.pt.griffin-" + digits + "/model.pt":                           "/x/model.pt",
		"/x/.model.pt.griffin-" + digits + "/" + stagedFile:                      "/x/model.pt",
		"/x/.model.pt.griffin-" + digits + "/" + stagedFile + ".conversion.json": "/x/model.pt.conversion.json",
		"/x/.model.griffin-" + digits + "/d/spool" + WorkMark:                    "/x/model/d",
		".model.griffin-" + digits + "/config.json":                              "model/config.json",
		"/x/.model.griffin-" + digits[1:] + "/config.json":                       "/x/.model.griffin-" + digits[1:] + "/config.json",
		"/x/model.griffin-" + digits + "/config.json":                            "/x/model.griffin-" + digits + "/config.json",
		"/x/model/config.json":                                                   "/x/model/config.json",
		"config.json":                                                            "config.json",
		"/":                                                                      "/",
		"":                                                                       "",
	} {
		if got := Destination(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	for _, n := range []int{1, 100, 101, 255} {
		name := strings.Repeat("n", n)
		if base := stageBase(name); (base == name) != (n <= 100) || len(base) > 100 {
			t.Errorf("%d bytes: %s", n, base)
		}
	}
}
