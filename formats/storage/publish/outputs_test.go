package publish

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

func TestCheckOutput(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	write(t, file, "x")
	if err := os.Symlink(file, link); err != nil {
		t.Skip(err)
	}
	for _, test := range []struct {
		path    string
		sources []string
		want    OutputReason
	}{
		{filepath.Join(dir, "new"), []string{file}, 0},
		{file, nil, 0},
		{file, []string{filepath.Join(dir, "absent"), ""}, 0},
		{file, []string{file}, OutputIsSource},
		{link, []string{file}, OutputIsSource},
		{file, []string{link}, OutputIsSource},
		{dir, nil, OutputIsDirectory},
	} {
		if got := reason(CheckOutput(test.path, test.sources...)); got != test.want {
			t.Errorf("%s from %s: reason %d, want %d", test.path, test.sources, got, test.want)
		}
	}
}

func reason(err error) OutputReason {
	var e *OutputError
	if errors.As(err, &e) {
		return e.Reason
	}
	return 0
}

// TestMountPoint uses a mount point that every Linux system has.
func TestMountPoint(t *testing.T) {
	if info, err := os.Stat("/proc"); err != nil || !info.IsDir() {
		t.Skip("no /proc")
	}
	if is, err := isMountPoint("/proc"); err != nil || !is {
		t.Errorf("/proc: %v, %v", is, err)
	}
	if is, err := isMountPoint(t.TempDir()); err != nil || is {
		t.Errorf("a directory: %v, %v", is, err)
	}
	if os.Getuid() != 0 {
		return // the stage cannot be created
	}
	if _, err := NewStage("/proc", true); reason(err) != OutputIsMountPoint {
		t.Errorf("stage: %v", err)
	}
}

func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	write(t, path, "old")
	broken := errors.New("broken")
	err := Replace(path, 3, func(w io.WriterAt) error { return broken })
	if content, _ := os.ReadFile(path); !errors.Is(err, broken) || string(content) != "old" {
		t.Errorf("%v, %q", err, content)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"file"}) {
		t.Errorf("left %q", got)
	}
	if err := ReplaceWith(filepath.Join(dir, "no", "file"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a directory that does not exist: %v", err)
	}
}

// The stage of a killed run is removed by the next run that writes the same file.
func TestReplaceRemovesLeftovers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	killed := stageName(path, strings.Repeat("a", stageRand))
	if err := os.Mkdir(killed, 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(killed, "file"), "half")
	if got := abandoned(path); got != 4 {
		t.Errorf("%d bytes are abandoned, want 4", got)
	}
	if err := ReplaceWith(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"file"}) {
		t.Errorf("left %q", got)
	}
}

// Names up to the limit of the file system can be written, and their leftovers are recognised.
func TestLongNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{strings.Repeat("n", 255), strings.Repeat("é", 127)} {
		dst := filepath.Join(dir, name)
		s, err := NewStage(dst, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, ok := isStage(filepath.Base(s.Dir), name); !ok {
			t.Errorf("%s is not recognised", s.Dir)
		}
		if _, _, ok := isStage(filepath.Base(s.Dir), name[:len(name)-2]); ok {
			t.Errorf("%s is taken for another destination's", s.Dir)
		}
		if err := s.Publish(); err != nil {
			t.Fatal(err)
		}
		if err := ReplaceWith(dst+"", nil); reason(err) != OutputIsDirectory {
			t.Errorf("a directory is replaced by a file: %v", err)
		}
	}
	if err := ReplaceWith(filepath.Join(dir, strings.Repeat("f", 255)), []byte("x")); err != nil {
		t.Error(err)
	}
}

// What fails after the new destination is in place says so.
func TestPublishedError(t *testing.T) {
	err := published("out", &fs.PathError{Op: "sync", Path: "out", Err: syscall.EIO})
	var p *PublishedError
	if !errors.As(err, &p) || !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "in place") {
		t.Errorf("%v", err)
	}
	if published("out", nil) != nil {
		t.Error("no error became one")
	}
}

func TestCheckOutputOfOtherFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"file", "other"} {
		write(t, filepath.Join(dir, name), "x")
	}
	for source, want := range map[string]OutputReason{"other": 0, "none": 0, "file": OutputIsSource} {
		if err := CheckOutput(filepath.Join(dir, "file"), filepath.Join(dir, source)); reason(err) != want || want == 0 && err != nil {
			t.Errorf("%s as a source: %v", source, err)
		}
	}
}

func TestReplaceOfADeviceThatIsNotFilled(t *testing.T) {
	if err := Replace("/dev/null", 3, func(io.WriterAt) error { return io.ErrClosedPipe }); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a device that is not filled: %v", err)
	}
}

// What may not be written to is refused with the path that was given, before anything is written: a new file by its directory, one that is
// replaced by the directory of the file that a link leads to, and a device or an open file by itself.
func TestCheckOutputAsksForPermission(t *testing.T) {
	dir := t.TempDir()
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	write(t, filepath.Join(dir, "a", "old"), "old")
	for link, to := range map[string]string{"new": filepath.Join(dir, "a", "new"), "link": filepath.Join(dir, "a", "old")} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Skip(err)
		}
	}
	if !slices.Contains([]string{"linux", "darwin", "freebsd"}, runtime.GOOS) {
		t.Skip("this system is not asked")
	}
	defer system.SetFault(nil)
	open, err := os.Open(filepath.Join(dir, "a", "old"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	descriptor := fmt.Sprintf("/dev/fd/%d", open.Fd())
	for path, asked := range map[string]string{"a/new": "a", "a/old": "a", "new": "a", "link": "a", "beside": ".", os.DevNull: os.DevNull, descriptor: descriptor} {
		if !strings.HasPrefix(path, "/dev/") {
			path, asked = filepath.Join(dir, path), filepath.Join(dir, asked)
		}
		var places []string
		system.SetFault(func(op system.Op, path string, n int) (int, error) {
			switch op {
			case system.OpAccess:
				places = append(places, path)
				return n, syscall.EACCES
			case system.OpStat, system.OpReadlink, system.OpOpen, system.OpClose, system.OpRead: // of the mounts
				return n, nil
			}
			return n, errors.New("it was to be asked only")
		})
		err := CheckOutput(path)
		system.SetFault(nil)
		var denied *fs.PathError
		if !errors.As(err, &denied) || denied.Path != path || !errors.Is(denied.Err, fs.ErrPermission) || !slices.Equal(places, []string{asked}) {
			t.Errorf("%s: %v, asked of %q", path, err, places)
		}
		if err := CheckOutput(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A file of another user in a directory such as /tmp is not replaced.
func TestCheckOutputInASharedDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may replace every file")
	}
	const shared = "/tmp"
	entries, err := os.ReadDir(shared)
	if info, e := os.Stat(shared); err != nil || e != nil || info.Mode()&fs.ModeSticky == 0 {
		t.Skip("no such directory")
	}
	at, err := os.Stat(shared)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.Type().IsRegular() && !ownsIn(at, info) {
			path := filepath.Join(shared, e.Name())
			if err := CheckOutput(path); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%s: %v", path, err)
			}
			return
		}
	}
	t.Skip("no file of another user there")
}

// A destination in a directory in which nothing may be created is named as it was given, and then that directory.
func TestCheckStageNamesDestination(t *testing.T) {
	if !slices.Contains([]string{"linux", "darwin", "freebsd"}, runtime.GOOS) {
		t.Skip("this system is not asked")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	defer system.SetFault(nil)
	system.SetFault(func(op system.Op, _ string, n int) (int, error) {
		if op == system.OpAccess {
			return n, syscall.EROFS
		}
		return n, nil
	})
	for _, dst := range []string{"new", filepath.Join("a", "b", "new")} {
		for _, suffix := range []string{"", ".json"} {
			err := CheckStage(dst, suffix, false)
			if want := "create " + dst + ": nothing can be created in " + dir + ": " + syscall.EROFS.Error(); err == nil || err.Error() != want || !errors.Is(err, syscall.EROFS) {
				t.Errorf("%v, want %s", err, want)
			}
		}
	}
}
