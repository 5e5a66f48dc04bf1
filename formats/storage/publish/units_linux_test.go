package publish

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
	"golang.org/x/sys/unix"
)

func TestIsMountPoint(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]bool{"/proc": true, "/proc/self": false, dir: false} {
		if got, err := isMountPoint(path); got != want || err != nil {
			t.Errorf("%s: %t, %v", path, got, err)
		}
	}
	if _, err := isMountPoint(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	for _, tt := range []struct {
		a, b string
		want bool
	}{{"/proc", dir, true}, {dir, filepath.Dir(dir), false}} {
		if got, err := onOtherDevice(tt.a, tt.b); got != tt.want || err != nil {
			t.Errorf("%s and %s: %t, %v", tt.a, tt.b, got, err)
		}
	}
	for _, paths := range [][2]string{{"/none", dir}, {dir, "/none"}} {
		if _, err := onOtherDevice(paths[0], paths[1]); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", paths, err)
		}
	}
}

// A stage of a file replaces regular files, and links in place of sidecars, and nothing else.
func TestCheckFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("file"), "")
	if err := errors.Join(unix.Mkfifo(at("pipe"), 0o666), os.Symlink(at("file"), at("link")), os.Symlink("nowhere", at("dangling"))); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		replace bool
		reason  OutputReason
		exists  bool
	}{
		{"new", false, 0, false}, {"file", false, 0, true}, {"file", true, 0, false}, {"link", true, 0, false}, {"link", false, 0, true}, {"dangling", true, 0, false},
		{"pipe", true, OutputIsSpecial, false}, {"pipe", false, OutputIsSpecial, false}, {".", true, OutputIsDirectory, false},
	} {
		err := checkFile(at(tt.name), tt.replace)
		if errors.Is(err, fs.ErrExist) != tt.exists || reason(err) != tt.reason || err != nil && !tt.exists && tt.reason == 0 {
			t.Errorf("%s, replace %t: %v", tt.name, tt.replace, err)
		}
	}
	if err := checkFile(filepath.Join(at("file"), "x"), true); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("below a file: %v", err)
	}
	for dst, want := range map[string]OutputReason{at("new"): 0, at("new") + "/": OutputIsDirectory} {
		if err := CheckStage(dst, ".json", false); reason(err) != want || want == 0 && err != nil {
			t.Errorf("%s: %v", dst, err)
		}
		if err := CheckStage(dst, "", false); err != nil {
			t.Errorf("%s: %v", dst, err)
		}
	}
}

// Where the system cannot rename without replacing, what exists is looked for first.
func TestRenameWithoutReplacing(t *testing.T) {
	for err, want := range map[error]bool{unix.EINVAL: true, unix.ENOSYS: true, unix.ENOTSUP: true, unix.EEXIST: false, unix.EIO: false, nil: false} {
		if got := unsupported(err); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, rename := range map[string]func(from, to string) error{"checked": renameChecked, "in one step": renameNew} {
		write(t, at("a"), "a")
		write(t, at("b"), "b")
		if err := rename(at("a"), at("b")); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: what exists is replaced: %v", name, err)
		}
		if err := rename(at("a"), at("c")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := rename(at("a"), at("d")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: what is not there: %v", name, err)
		}
		if content, err := os.ReadFile(at("c")); err != nil || string(content) != "a" {
			t.Errorf("%s: %q, %v", name, content, err)
		}
		if err := errors.Join(os.Remove(at("c")), renameMissing(at("none"), at("x")), renameMissing(at("b"), at("b"))); err != nil {
			t.Error(err)
		}
	}
	defer failAt(1)()
	if err := renameMissing(at("b"), at("y")); !errors.Is(err, unix.EIO) {
		t.Errorf("a rename that fails: %v", err)
	}
}

// A FIFO and an open file of this process get the content, and are not replaced.
func TestReplaceWritesThrough(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o666); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		content, _ := os.ReadFile(path)
		got <- string(content)
	}()
	if err := ReplaceWith(path, []byte("content")); err != nil {
		t.Error(err)
	}
	select {
	case content := <-got:
		if content != "content" {
			t.Errorf("the FIFO got %q", content)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the FIFO got nothing")
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := ReplaceWith(fmt.Sprintf("/dev/fd/%d", file.Fd()), []byte("content")); err != nil {
		t.Error(err)
	}
	if content, err := io.ReadAll(file); err != nil || string(content) != "content" {
		t.Errorf("the open file got %q, %v", content, err)
	}
}

// What was written before the tail fails counts.
func TestOutputTailFails(t *testing.T) {
	b, err := storage.NewBuffer(minDirect + 3*storage.Align)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Free()
	var files []*system.File
	for range 2 {
		f, err := os.Create(filepath.Join(t.TempDir(), "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, system.NewFile(f))
	}
	o := &Output{file: files[0], direct: files[1]}
	writes := 0
	system.SetFault(func(op system.Op, _ string, n int) (int, error) {
		if op == system.OpWrite {
			if writes++; writes == 3 {
				return 0, unix.EIO
			}
		}
		return n, nil
	})
	defer system.SetFault(nil)
	head, tail := 100, 50
	if n, err := o.WriteAt(b.Bytes[storage.Align-head:][:head+minDirect+tail], int64(storage.Align-head)); n != head+minDirect || !errors.Is(err, unix.EIO) {
		t.Errorf("%d of %d bytes, %v", n, head+minDirect, err)
	}
}
