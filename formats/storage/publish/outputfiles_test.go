package publish

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// The digests of files are those of their bytes, however they came there.
func TestOutputFilesSums(t *testing.T) {
	const a = digest.SHA256 | digest.BLAKE3
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	f := NewOutputFiles(a)
	large := bytes.Repeat([]byte("griffin "), 100_000)
	want := map[string][]byte{}
	for name, fill := range map[string]func(o *OutputFile) []byte{
		"in order": func(o *OutputFile) []byte { o.Write([]byte("abc")); o.Write([]byte("def")); return []byte("abcdef") },
		"out of order": func(o *OutputFile) []byte {
			o.WriteAt([]byte("def"), 3)
			o.WriteAt([]byte("abc"), 0)
			return []byte("abcdef")
		},
		"unseen": func(o *OutputFile) []byte { o.file.Write(large); return large },
		"a gap": func(o *OutputFile) []byte {
			o.file.Write(large)
			o.Feed(0, large[:5])
			o.Feed(100, large[100:])
			return large
		},
		"empty": func(o *OutputFile) []byte { return nil },
	} {
		o, err := f.Create(at(name))
		if err != nil {
			t.Fatal(err)
		}
		want[at(name)] = fill(o)
		if err := errors.Join(o.Sync(), o.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Create(at("empty")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file was created twice: %v", err)
	}
	for _, name := range []string{"removed", "old name"} {
		if err := f.WriteFile(at(name), []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.WriteFile(at("removed"), nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("WriteFile: %v", err)
	}
	if err := errors.Join(f.Remove(at("removed")), f.Rename(at("old name"), at("new name"))); err != nil {
		t.Fatal(err)
	}
	want[at("new name")] = []byte("old name")
	if err := f.Remove(at("removed")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
	if err := f.Rename(at("removed"), at("new name")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("renamed after it was removed: %v", err)
	}
	far := f.Track("s3://far", 6, discard{})
	far.WriteAt([]byte("def"), 3)
	far.WriteAt([]byte("abc"), 0)
	f.Track("s3://nothing", 0, discard{})
	f.Track("s3://incomplete", 6, discard{}).WriteAt([]byte("abc"), 0)

	sums, err := f.Sums(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range sums {
		names = append(names, s.Path)
		content, ok := want[s.Path]
		sum := digest.Of(a, content)
		switch {
		case ok && (s.Bytes != int64(len(content)) || s.Sum != sum):
			t.Errorf("%s: %d bytes, wrong digest", s.Path, s.Bytes)
		case s.Path == "s3://far" && s.Bytes != 6, s.Path == "s3://incomplete" && (s.Bytes != 6 || s.Sum != digest.Sum{}):
			t.Errorf("%+v", s)
		}
	}
	if len(sums) != len(want)+3 || !slices.IsSorted(names) {
		t.Errorf("%q", names)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	g := NewOutputFiles(a)
	o, err := g.Create(at("unread"))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	o.file.Write([]byte("x"))
	if _, err := g.Sums(done); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is done: %v", err)
	}
	os.Remove(at("unread"))
	o.Close()
	if _, err := o.Size(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("size of a closed file: %v", err)
	}
	if _, err := g.Sums(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	var none *OutputFiles
	if err := none.WriteFile(at("x"), []byte("x")); err != nil {
		t.Error(err)
	}
	if err := errors.Join(none.Rename(at("x"), at("y")), none.Remove(at("y"))); err != nil {
		t.Error(err)
	}
}

// discard is a file elsewhere.
type discard struct{}

func (discard) WriteAt(p []byte, off int64) (int, error) { return len(p), nil }

func TestSameContent(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("x", 64<<10)
	for name, content := range map[string]string{"a": "abc", "b": "abc", "c": "abd", "empty": "", "block": long, "longer": long + "x", "long": long + "x", "another": long + "y"} {
		write(t, filepath.Join(dir, name), content)
	}
	for _, tt := range []struct {
		a, b string
		want bool
	}{{"a", "b", true}, {"a", "c", false}, {"a", "none", false}, {"none", "a", false}, {"empty", "none", false}, {"none", "empty", false}, {"empty", "empty", true},
		{"block", "block", true}, {"longer", "long", true}, {"longer", "another", false}, {"block", "long", false}, {"long", "block", false}} {
		if got := sameContent(filepath.Join(dir, tt.a), filepath.Join(dir, tt.b)); got != tt.want {
			t.Errorf("%s and %s: %t", tt.a, tt.b, got)
		}
	}
}

func TestSyncOfWhatIsNotThere(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for _, err := range []error{syncDir(none), syncTree(none)} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what is not there is synced: %v", err)
		}
	}
}

func TestIsDescriptor(t *testing.T) {
	for path, want := range map[string]bool{"/dev/fd/3": true, "/proc/self/fd/1": true, "/dev/stdout": true, "/tmp/dev/x": false, "dev/x": false, "": false} {
		if got := isDescriptor(path); got != want {
			t.Errorf("%q is a descriptor: %t", path, got)
		}
	}
}

// closing is a stream that drops what it gets.
type closing struct{ io.Writer }

func (closing) Close() error { return nil }

// A stream that is tracked counts what is written to it, under the name that it has at the end.
func TestTrackStream(t *testing.T) {
	f := NewOutputFiles(digest.SHA256)
	for _, name := range []string{"kept", "renamed", "dropped"} {
		w := f.TrackStream(name, closing{io.Discard})
		for _, part := range []string{name, "", " and more"} {
			if _, err := io.WriteString(w, part); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.TrackRename("renamed", "another")
	f.TrackRename("dropped", "")
	sums, err := f.Sums(t.Context())
	want := []FileSum{{"another", 16, digest.Of(digest.SHA256, []byte("renamed and more"))}, {"kept", 13, digest.Of(digest.SHA256, []byte("kept and more"))}}
	if err != nil || !slices.Equal(sums, want) {
		t.Errorf("%v, %v; want %v", sums, err, want)
	}
}
