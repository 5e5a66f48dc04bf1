package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
	"github.com/griffin-ckpt/griffin/formats/tensor"
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

// A file that is not as it was when it was opened first is noticed.
func TestUnchanged(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"":        func(string) error { return nil },
		"touched": func(path string) error { return os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)) },
		"longer":  func(path string) error { return rewrite(path, path, "abcdef!") },
		"replaced": func(path string) error {
			return errors.Join(rewrite(path, path+".new", "ABCDEF"), os.Rename(path+".new", path))
		},
		"removed": os.Remove,
	} {
		for _, opened := range []bool{true, false} {
			dir := t.TempDir()
			path := filepath.Join(dir, "a")
			write(t, path, "abcdef")
			source := Local(dir)
			for _, name := range []string{"a", "a", "."} {
				if !opened && name == "a" {
					continue
				}
				f, err := source.Open(name)
				if err != nil {
					t.Fatal(err)
				}
				f.Close()
			}
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			if opened && name != "removed" { // opening it again does not hide it
				f, err := source.Open("a")
				if err != nil {
					t.Fatal(err)
				}
				f.Close()
			}
			var bad *tensor.FormatError
			if err := Unchanged(fstest.MapFS{}, source); errors.As(err, &bad) != (name != "" && opened) || (err == nil) != (bad == nil) {
				t.Errorf("%q, opened %t: %v", name, opened, err)
			}
		}
	}
	if err := errors.Join((*ledger)(nil).record("x", nil), (*ledger)(nil).unchanged()); err != nil {
		t.Error(err)
	}
}

// rewrite writes a file with the time of another.
func rewrite(as, path, content string) error {
	info, err := os.Stat(as)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(path, []byte(content), 0o666), os.Chtimes(path, info.ModTime(), info.ModTime()))
}

func TestMap(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "abc")
	write(t, filepath.Join(dir, "empty"), "")
	for name, want := range map[string]string{"a": "abc", "empty": "", ".": "unsupported"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		m, err := Map(f)
		if (want == "unsupported") != errors.Is(err, errors.ErrUnsupported) || err == nil && string(m.Bytes) != want {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			if err := errors.Join(m.Close(), m.Close()); err != nil || m.Bytes != nil {
				t.Errorf("%s: closed: %v", name, err)
			}
		}
		f.Close()
		if _, err := Map(f); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s, which is closed: %v", name, err)
		}
	}
	if _, err := Map(strings.NewReader("abc")); !errors.Is(err, errors.ErrUnsupported) || CanMap(strings.NewReader("abc")) || !CanMap((*os.File)(nil)) {
		t.Errorf("memory: %v", err)
	}
}

func TestBufferFree(t *testing.T) {
	b, err := NewBuffer(5 << 20)
	if err != nil {
		t.Fatal(err)
	}
	b.Bytes[5<<20-1] = 1
	if err := b.Free(); err != nil || b.Bytes != nil {
		t.Errorf("%d bytes left: %v", len(b.Bytes), err)
	}
	if err := errors.Join(b.Free(), (*Buffer)(nil).Free()); err != nil {
		t.Error(err)
	}
}

func TestDestinationOf(t *testing.T) {
	digits := strings.Repeat("0f", stageRand/2)
	for path, want := range map[string]string{
		"/x/.model.griffin-" + digits + "/config.json":     "/x/model/config.json",
		"/x/.model.griffin-" + digits + "/a/b":             "/x/model/a/b",
		"/x/.model.griffin-" + digits:                      "/x/model",
		"/x/.model.griffin-" + digits + ".old/config.json": "/x/model/config.json",
		"/x/.model.pt.griffin-" + digits + "/model.pt":     "/x/model.pt",
		".model.griffin-" + digits + "/config.json":        "model/config.json",
		"/x/.model.griffin-" + digits[1:] + "/config.json": "/x/.model.griffin-" + digits[1:] + "/config.json",
		"/x/model.griffin-" + digits + "/config.json":      "/x/model.griffin-" + digits + "/config.json",
		"/x/model/config.json":                             "/x/model/config.json",
		"config.json":                                      "config.json",
		"/":                                                "/",
		"":                                                 "",
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

// abandon makes what a killed run with that destination leaves.
func abandon(t *testing.T, dst string, digit string, bytes ...int) string {
	dir := stageName(dst, strings.Repeat(digit, stageRand))
	for i, n := range bytes {
		write(t, filepath.Join(dir, fmt.Sprint(i), "file"), strings.Repeat("x", n))
	}
	return dir
}

func TestClean(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, "run")
	held := newStage(t, filepath.Join(dst, "7"), false)
	long := strings.Repeat("n", 150)
	want := []string{abandon(t, dst, "a", 5), abandon(t, dst, "b", 5, 6), abandon(t, filepath.Join(dst, "8"), "a", 7)}
	for _, stays := range []string{abandon(t, filepath.Join(dir, "other"), "a", 5), abandon(t, filepath.Join(dst, long), "a", 5), held.Dir} {
		defer func() {
			if _, err := os.Stat(stays); err != nil {
				t.Errorf("%s was removed", stays)
			}
		}()
	}
	for _, name := range []string{"file", "run.griffin-0000000000000000", ".griffin-aaaaaaaaaaaaaaaa", ".run.griffin-xxxxxxxxxxxxxxxx", ".run.griffin-aaaa"} {
		write(t, filepath.Join(dir, name), "")
	}
	removed, err := Clean(dst)
	slices.Sort(removed)
	slices.Sort(want)
	if err != nil || !slices.Equal(removed, want) {
		t.Errorf("%q, %v; want %q", removed, err, want)
	}
	for _, dst := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "file"), dst} {
		if removed, err := Clean(dst); len(removed) > 0 || err != nil {
			t.Errorf("%s: %q, %v", dst, removed, err)
		}
	}
}

// Space that the next run frees counts as free.
func TestAbandonedSpace(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, "model")
	held := newStage(t, dst, false)
	write(t, filepath.Join(held.Dir, "file"), "held")
	if n := abandoned(dst); n != 0 {
		t.Errorf("%d bytes of a stage that is held", n)
	}
	stage := abandon(t, dst, "a", 100, 23)
	abandon(t, dst, "b", 7)
	abandon(t, filepath.Join(dir, "other"), "a", 1000)
	write(t, stageName(dst, strings.Repeat("c", stageRand)), "a file")
	write(t, filepath.Join(stageName(dst, strings.Repeat("d", stageRand))+oldMark, "file"), "the old destination")
	if n := abandoned(dst); n != 130 {
		t.Errorf("%d bytes, want 130", n)
	}
	if err := os.Truncate(filepath.Join(stage, "0", "file"), 1<<42); err != nil {
		t.Skip(err)
	}
	var space *SpaceError
	if err := CheckFreeFor(dst, 1<<41); err != nil {
		t.Error(err)
	}
	if err := CheckFreeFor(filepath.Join(dir, "new"), 1<<41); !errors.As(err, &space) || space.Need != 1<<41 {
		t.Error(err)
	}
	free, err := freeBytes(dir)
	if err != nil || free < 1<<20 {
		t.Errorf("%d bytes are free, %v", free, err)
	}
}

// Large writes whose memory and place in the file are aligned alike bypass the page cache but for their ends.
func TestOutputDirect(t *testing.T) {
	b, err := NewBuffer(256 << 10)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Free()
	for i := range b.Bytes {
		b.Bytes[i] = byte(i%251) + 1
	}
	for _, tt := range []struct {
		name       string
		from, n    int // of the buffer
		off        int64
		head, body int // bytes before what bypasses the cache, and those that do
	}{
		{"all", 0, minDirect, 0, 0, minDirect},
		{"all, further on", 8192, minDirect, 4096, 0, minDirect},
		{"one byte less", 0, minDirect - 1, 0, 0, 0},
		{"with ends", 100, minDirect + 8192, 100, 3996, minDirect + 4096},
		{"with a tail", 0, minDirect + 5, 0, 0, minDirect},
		{"too little between the ends", 100, minDirect, 100, 0, 0},
		{"just enough between the ends", 100, minDirect + 3996, 100, 3996, minDirect},
		{"aligned otherwise", 101, minDirect + 8192, 100, 0, 0},
	} {
		dir := t.TempDir()
		main, err := os.Create(filepath.Join(dir, "main"))
		if err != nil {
			t.Fatal(err)
		}
		direct, err := os.Create(filepath.Join(dir, "direct"))
		if err != nil {
			t.Fatal(err)
		}
		o := &Output{file: system.NewFile(main), direct: system.NewFile(direct)}
		p := b.Bytes[tt.from:][:tt.n]
		if n, err := o.WriteAt(p, tt.off); n != tt.n || err != nil {
			t.Fatalf("%s: %d, %v", tt.name, n, err)
		}
		gotMain, gotDirect := make([]byte, tt.off+int64(tt.n)), make([]byte, tt.off+int64(tt.n))
		main.ReadAt(gotMain, 0)
		direct.ReadAt(gotDirect, 0)
		wantMain, wantDirect := make([]byte, len(gotMain)), make([]byte, len(gotMain))
		copy(wantMain[tt.off:], p)
		if tt.body > 0 {
			copy(wantDirect[tt.off+int64(tt.head):], p[tt.head:][:tt.body])
			clear(wantMain[tt.off+int64(tt.head):][:tt.body])
		}
		if !bytes.Equal(gotMain, wantMain) || !bytes.Equal(gotDirect, wantDirect) {
			t.Errorf("%s: not where it should be", tt.name)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		if err := direct.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: left open: %v", tt.name, err)
		}
		// What cannot bypass the cache does not, from then on.
		if n, err := o.WriteAt(p, tt.off); n != tt.n || err != nil || o.broken.Load() != (tt.body > 0) {
			t.Errorf("%s: after an error: %d, %v, broken %t", tt.name, n, err, o.broken.Load())
		}
		if n, err := o.WriteAt(p, tt.off); n != tt.n || err != nil {
			t.Errorf("%s: again: %d, %v", tt.name, n, err)
		}
		main.Close()
	}
	for size, want := range map[int64]bool{minDirect - 1: false, minDirect: true} {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		o, err := NewOutput(NewOutputFile(f), size)
		if err != nil {
			t.Fatal(err)
		}
		probe := openDirect(NewOutputFile(f).file)
		if got := o.direct != nil; got != (want && probe != nil) {
			t.Errorf("a file of %d bytes: %t", size, got)
		}
		if probe != nil {
			probe.Close()
		}
		if info, err := f.Stat(); err != nil || info.Size() != size {
			t.Errorf("%d bytes, %v", info.Size(), err)
		}
		o.Close()
	}
}

// opened is a source that counts how often each file is opened.
type opened struct {
	fstest.MapFS
	times map[string]int
}

func (o opened) Open(name string) (fs.File, error) { o.times[name]++; return o.MapFS.Open(name) }

// A pool that is full closes the file that was not read for longest.
func TestPoolEvicts(t *testing.T) {
	source := opened{fstest.MapFS{"a": {Data: []byte("a")}, "b": {Data: []byte("b")}, "c": {Data: []byte("c")}}, map[string]int{}}
	pool := NewPool(source, 2)
	defer pool.Close()
	for i, name := range strings.Fields("a b a c a b c") {
		if _, err := pool.File(name).ReadAt(make([]byte, 1), 0); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	// c replaces b, which replaces c, which replaces a.
	if got := fmt.Sprint(source.times); got != "map[a:1 b:2 c:2]" {
		t.Error(got)
	}
}

func TestNamesOfAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"s3://user:secret@host/a/b?token=1": "s3://host/a/b", "gs://bucket/a": "gs://bucket/a", "https://host?x": "https://host", "https://a@b@host/x@y": "https://host/x@y", "a?b": "a?b",
	} {
		if got := WithoutQuery(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"s3://b/run/7?x=/y": "7", "a/b/": "b", ".": filepath.Base(here), "/": "/"} {
		if got := BaseName(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for _, tt := range []struct{ address, want string }{{"a/b", "a/b"}, {"s3://a/b", "s3://a/b"}, {"file:///a%20b", "/a b"}} {
		if got, err := LocalDestination(tt.address); got != tt.want || err != nil {
			t.Errorf("%s: %s, %v", tt.address, got, err)
		}
	}
	for _, tt := range []struct {
		dir, name, want string
		ok              bool
	}{{".", "a/b", "a/b", true}, {"run/7", "run/7/d/0", "d/0", true}, {"run/7", "run/7", "7", true}, {"run/7", "run/70", "", false}} {
		if got, ok := Below(tt.dir, tt.name); ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s below %s: %s, %t", tt.name, tt.dir, got, ok)
		}
	}
	RegisterSink("mutant", func(context.Context, string, bool) (Sink, error) { return nil, io.ErrClosedPipe })
	var scheme *SchemeError
	if _, ok, err := OpenSink(t.Context(), "mutant://x", false); !ok || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a sink: %t, %v", ok, err)
	}
	if _, ok, err := OpenSink(t.Context(), "unknown://x", false); !ok || !errors.As(err, &scheme) || !scheme.Write {
		t.Errorf("an unknown scheme: %t, %v", ok, err)
	}
	if _, ok, err := OpenSink(t.Context(), "a/b", false); ok || err != nil {
		t.Errorf("a path: %t, %v", ok, err)
	}
}

func TestSmallFiles(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"a": "abc", "b": "abc", "c": "abd", "empty": ""} {
		write(t, filepath.Join(dir, name), content)
	}
	for _, tt := range []struct {
		a, b string
		want bool
	}{{"a", "b", true}, {"a", "c", false}, {"a", "none", false}, {"none", "a", false}, {"empty", "none", false}, {"none", "empty", false}, {"empty", "empty", true}} {
		if got := sameContent(filepath.Join(dir, tt.a), filepath.Join(dir, tt.b)); got != tt.want {
			t.Errorf("%s and %s: %t", tt.a, tt.b, got)
		}
	}
	for limit, ok := range map[int64]bool{2: false, 3: true, 4: true} {
		if _, err := ReadFile(Local(dir), "a", limit); (err == nil) != ok {
			t.Errorf("3 bytes, at most %d: %v", limit, err)
		}
	}
	for _, err := range []error{syncDir(filepath.Join(dir, "none")), syncTree(filepath.Join(dir, "none"))} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what is not there is synced: %v", err)
		}
	}
	source := Local(dir).(interface {
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
	for path, want := range map[string]bool{"/dev/fd/3": true, "/proc/self/fd/1": true, "/dev/stdout": true, "/tmp/dev/x": false, "dev/x": false, "": false} {
		if got := isDescriptor(path); got != want {
			t.Errorf("%q is a descriptor: %t", path, got)
		}
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
		if _, err := os.Stat(filepath.Join(dir, name)); IsAbsent(err) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if IsAbsent(fs.ErrPermission) {
		t.Error("what cannot be looked at is absent")
	}
	// Another file is no source, nor is one that is not there.
	write(t, filepath.Join(dir, "other"), "x")
	for source, want := range map[string]OutputReason{"other": 0, "none": 0, "file": OutputIsSource} {
		if err := CheckOutput(filepath.Join(dir, "file"), filepath.Join(dir, source)); reason(err) != want || want == 0 && err != nil {
			t.Errorf("%s as a source: %v", source, err)
		}
	}
	if err := Replace("/dev/null", 3, func(io.WriterAt) error { return io.ErrClosedPipe }); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a device that is not filled: %v", err)
	}
}

// The old destination of a replacement in two steps is restored, unless the replacement still runs or is complete.
func TestCleanOld(t *testing.T) {
	for _, tt := range []struct {
		name            string
		held, published bool
		fault           system.Op
		restored, stays bool // the old content is at the destination; it is beside it
	}{
		{"killed", false, false, "", true, false},
		{"running", true, false, "", false, true},
		{"complete", false, true, "", false, false},
		{"cannot be renamed", false, false, system.OpRename, false, true},
	} {
		dir := t.TempDir()
		dst := filepath.Join(dir, "model")
		s := newStage(t, dst, true)
		old := s.Dir + oldMark
		write(t, filepath.Join(old, "file"), "old")
		if tt.published {
			write(t, filepath.Join(dst, "file"), "new")
		}
		if !tt.held {
			if err := errors.Join(os.RemoveAll(s.Dir), s.lock.release()); err != nil {
				t.Fatal(err)
			}
		}
		if tt.fault != "" {
			system.SetFault(func(op system.Op, _ string, n int) (int, error) {
				if op == tt.fault {
					return 0, io.ErrClosedPipe
				}
				return n, nil
			})
		}
		err := clean(dst)
		system.SetFault(nil)
		if (err != nil) != (tt.fault != "") {
			t.Errorf("%s: %v", tt.name, err)
		}
		content, _ := os.ReadFile(filepath.Join(dst, "file"))
		if _, err := os.Stat(old); (err == nil) != tt.stays || (string(content) == "old") != tt.restored || tt.published && string(content) != "new" {
			t.Errorf("%s: %q at the destination, the old one: %v", tt.name, content, err)
		}
		if tt.held {
			s.Discard()
		} else {
			s.leave()
		}
	}
}
