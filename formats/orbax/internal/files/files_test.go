package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func TestFilesBeyondThoseKept(t *testing.T) {
	dir := t.TempDir()
	for i := range maxKept + 10 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), fmt.Appendf(nil, "file %d", i), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	set := New(os.DirFS(dir))
	var last interface {
		ReadAt([]byte, int64) (int, error)
	}
	for round := range 2 {
		for i := range maxKept + 10 {
			f, size, err := set.Open(fmt.Sprint(i))
			want := fmt.Sprintf("file %d", i)
			if err != nil || size != int64(len(want)) {
				t.Fatalf("file %d: %d bytes, %v", i, size, err)
			}
			if _, ok := f.(*os.File); ok != (i < maxKept) {
				t.Errorf("round %d: file %d is a %T", round, i, f)
			}
			b := make([]byte, size)
			if _, err := f.ReadAt(b, 0); err != nil || string(b) != want {
				t.Errorf("file %d: %q, %v", i, b, err)
			}
			last = f
		}
	}
	if len(set.kept) != maxKept {
		t.Errorf("%d files are kept open", len(set.kept))
	}
	if err := set.Close(); err != nil {
		t.Error(err)
	}
	if _, err := last.ReadAt(make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, _, err := set.Open("1"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	inside := filepath.Join(dir, "in")
	if err := os.Mkdir(inside, 0o777); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "out"), nil, 0o666)
	os.WriteFile(filepath.Join(inside, "file"), nil, 0o666)
	os.Mkdir(filepath.Join(inside, "dir"), 0o777)
	os.Symlink("file", filepath.Join(inside, "link"))
	os.Symlink("../out", filepath.Join(inside, "escape"))
	root, closer, err := storage.Confine(storage.Local(inside), ".")
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	set := New(root)
	defer set.Close()
	for name, want := range map[string]string{
		"file": "", "link": "", "escape": "bad", "dir": "bad", "absent": "absent", "dir/absent": "absent",
		"../out": "bad", "/etc/hostname": "bad", "": "bad", ".": "bad", "./file": "bad", "dir/../file": "bad", "dir//x": "bad", "file\x00": "bad",
	} {
		_, _, err := set.Open(name)
		var bad *tensor.FormatError
		got := ""
		switch {
		case errors.As(err, &bad):
			got = "bad"
		case errors.Is(err, fs.ErrNotExist):
			got = "absent"
		case err != nil:
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
}
