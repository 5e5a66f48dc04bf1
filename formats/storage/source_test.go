package storage_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// makeTree makes files and links ("name -> target") in a new directory.
func makeTree(t *testing.T, entries ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, entry := range entries {
		name, target, isLink := strings.Cut(entry, " -> ")
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		var err error
		if isLink {
			err = os.Symlink(target, name)
		} else {
			err = os.WriteFile(name, []byte(entry), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// write writes a file.
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(content), 0o666)); err != nil {
		t.Fatal(err)
	}
}

func TestLocate(t *testing.T) {
	dir := makeTree(t, "ckpt/model.bin", "link -> ckpt")
	t.Chdir(dir)
	for path, name := range map[string]string{
		".": ".", "ckpt": ".", "ckpt/": ".", "link": ".", "ckpt/..": ".",
		"ckpt/model.bin": "model.bin", "./ckpt/model.bin": "model.bin", "link/model.bin": "model.bin", "ckpt/../ckpt/model.bin": "model.bin",
		dir: ".", filepath.Join(dir, "ckpt", "model.bin"): "model.bin",
	} {
		source, got, err := storage.Locate(path)
		if err != nil || got != name || storage.Path(source, got) != path {
			t.Errorf("storage.Locate(%q): %q called %q, %v", path, got, storage.Path(source, got), err)
			continue
		}
		if _, err := fs.Stat(source, got); err != nil {
			t.Errorf("storage.Locate(%q): %v", path, err)
		}
	}
	t.Chdir("ckpt")
	source, name, err := storage.Locate("model.bin")
	if err != nil || name != "model.bin" || storage.Path(source, name) != name {
		t.Errorf("a name without a directory: %q, %v", name, err)
	}
	if entries, err := fs.ReadDir(source, "."); err != nil || len(entries) != 1 {
		t.Errorf("the current directory holds %v, %v", entries, err)
	}
	if _, _, err := storage.Locate("absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
}

func TestPath(t *testing.T) {
	for _, tt := range []struct{ dir, name, want string }{
		{"ckpt", ".", "ckpt"}, {"ckpt/", ".", "ckpt/"}, {"", ".", "."}, {".", ".", "."},
		{"ckpt", "a/b", "ckpt/a/b"}, {"ckpt/", "a", "ckpt/a"}, {"", "a", "a"}, {".", "a", "a"}, {"./", "a", "./a"},
	} {
		if got := filepath.ToSlash(storage.Path(storage.Local(tt.dir), tt.name)); got != tt.want {
			t.Errorf("%q in %q is called %q, want %q", tt.name, tt.dir, got, tt.want)
		}
	}
	if got := storage.Path(fstest.MapFS{}, "a/b"); got != "a/b" {
		t.Errorf("in memory: %q", got)
	}
	if path, ok := storage.LocalPath(storage.Local("ckpt"), "a"); !ok || filepath.ToSlash(path) != "ckpt/a" {
		t.Errorf("LocalPath: %q, %t", path, ok)
	}
	if path, ok := storage.LocalPath(fstest.MapFS{}, "a"); ok {
		t.Errorf("a path of memory: %q", path)
	}
}

// TestSources opens the same files from the local file system, from a confined directory of it, and from memory.
func TestSources(t *testing.T) {
	dir := makeTree(t, "outside", "in/file", "in/sub/other", "in/link -> file", "in/escape -> ../outside", "in/lost -> nowhere")
	confined, closer, err := storage.Confine(storage.Local(dir), "in")
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	memory := fstest.MapFS{"in/file": {Data: []byte("in/file")}, "in/sub/other": {Data: []byte("in/sub/other")},
		"in/link": {Data: []byte("file"), Mode: fs.ModeSymlink}}
	inMemory, _, err := storage.Confine(memory, "in")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		source  fs.FS
		escapes string // content of the file behind the link that leads out, or how it is refused
	}{
		{"local", storage.Local(filepath.Join(dir, "in")), "outside"},
		{"confined", confined, "escape: cannot be opened within the directory"},
		{"memory", inMemory, "not exist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for name, want := range map[string]string{
				"file": "in/file", "sub/other": "in/sub/other", "link": "in/file", "escape": tt.escapes, "lost": "", "absent": "",
				"sub": "is a directory, not a regular file", "../outside": "",
			} {
				content, err := storage.ReadFile(tt.source, name, 100)
				got := string(content)
				switch {
				case want == "" && err == nil:
					t.Errorf("%s: read %q", name, got)
				case err != nil && !strings.Contains(err.Error(), want):
					t.Errorf("%s: %v, want %q", name, err, want)
				case err == nil && got != want:
					t.Errorf("%s: %q, want %q", name, got, want)
				}
				if absent := name == "absent" || name == "lost"; absent != errors.Is(err, fs.ErrNotExist) && name != "escape" {
					t.Errorf("%s: %v", name, err)
				}
			}
			f, size, err := storage.Open(tt.source, "file")
			if err != nil || size != 7 {
				t.Fatalf("%d bytes, %v", size, err)
			}
			defer f.Close()
			var tail [4]byte
			if n, err := f.ReadAt(tail[:], 5); n != 2 || err != io.EOF || string(tail[:n]) != "le" {
				t.Errorf("the end of the file: %q, %v", tail[:n], err)
			}
			var bad *tensor.FormatError
			if _, err := storage.ReadFile(tt.source, "file", 6); !errors.As(err, &bad) || !strings.HasSuffix(bad.File, "file") {
				t.Errorf("a limit of 6 bytes: %v", err)
			}
			if !storage.IsFile(tt.source, "link") || storage.IsFile(tt.source, "sub") || storage.IsFile(tt.source, "lost") {
				t.Error("IsFile is wrong")
			}
			if entries, err := fs.ReadDir(tt.source, "sub"); err != nil || len(entries) != 1 || entries[0].Name() != "other" {
				t.Errorf("sub holds %v, %v", entries, err)
			}
		})
	}
}

// What is absent is a name that is not there, or below a file, or a link that leads to itself.
func TestIsAbsent(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "x")
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Skip(err)
	}
	for name, want := range map[string]bool{"none": true, "file/x": true, "loop": true, "file": false} {
		if _, err := os.Stat(filepath.Join(dir, name)); storage.IsAbsent(err) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if storage.IsAbsent(fs.ErrPermission) {
		t.Error("what cannot be looked at is absent")
	}
}

func TestWithin(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a", "b", "c"), "1")
	write(t, filepath.Join(dir, "ab", "c"), "1")
	if err := os.Symlink(filepath.Join(dir, "a", "b"), filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	for _, tt := range []struct {
		path, dir string
		want      bool
	}{
		{"a/b/c", "a", true}, {"a/b/c", "a/b/c", true}, {"a", "a/b", false}, {"ab/c", "a", false},
		{"link/c", "a", true}, {"link", "a", true}, {"a/b/c", "link", true}, {"a/../a/b", "a/b", true}, {"ab", "link", false},
	} {
		got, err := storage.Within(filepath.Join(dir, tt.path), filepath.Join(dir, tt.dir))
		if err != nil || got != tt.want {
			t.Errorf("storage.Within(%s, %s) = %v, %v", tt.path, tt.dir, got, err)
		}
	}
}

func TestReadFileOfALimitedSize(t *testing.T) {
	dir := makeTree(t, "abc")
	for limit, ok := range map[int64]bool{2: false, 3: true, 4: true} {
		content, err := storage.ReadFile(storage.Local(dir), "abc", limit)
		if (err == nil) != ok || ok && string(content) != "abc" {
			t.Errorf("3 bytes, at most %d: %q, %v", limit, content, err)
		}
	}
	failing := errors.New("the disk fails")
	for _, tt := range []struct {
		content io.Reader
		want    string
		reason  tensor.Reason
		err     error
	}{
		{strings.NewReader("abc"), "abc", "", nil},
		{strings.NewReader("abcd"), "", tensor.TooLarge, nil}, // it grew after it was opened
		{io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(failing)), "ab", "", failing},
	} {
		content, err := storage.ReadFile(changing{fstest.MapFS{"x": {Data: []byte("abc")}}, tt.content}, "x", 3)
		if string(content) != tt.want || tensor.ReasonOf(err) != tt.reason || tt.reason == "" && err != tt.err {
			t.Errorf("%q, %v, want %q, %s, %v", content, err, tt.want, tt.reason, tt.err)
		}
	}
}

// changing is a source whose file has other content when it is read.
type changing struct {
	fstest.MapFS
	content io.Reader
}

func (c changing) Open(name string) (fs.File, error) {
	f, err := c.MapFS.Open(name)
	return changed{f, c.content}, err
}

type changed struct {
	fs.File
	content io.Reader
}

func (c changed) Read(p []byte) (int, error) { return c.content.Read(p) }

func (c changed) ReadAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }

func TestNamesOutsideALocalSource(t *testing.T) {
	source := storage.Local(t.TempDir()).(interface {
		fs.StatFS
		fs.ReadLinkFS
	})
	_, stat := source.Stat("../a")
	_, lstat := source.Lstat("../a")
	_, link := source.ReadLink("../a")
	for _, err := range []error{stat, lstat, link} {
		if !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("a name outside: %v", err)
		}
	}
}
