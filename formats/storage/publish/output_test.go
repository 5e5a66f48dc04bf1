package publish

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// TestOutput writes pieces of all alignments, large and small, and reads the file back.
func TestOutput(t *testing.T)              { testOutput(t, false) }
func TestOutputRefusedDirect(t *testing.T) { testOutput(t, true) }

func testOutput(t *testing.T, refuse bool) {
	const size = 3<<20 + 17
	want := make([]byte, size)
	for i := range want {
		want[i] = byte(i*7 + i>>9)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o, err := NewOutput(NewOutputFile(f), size)
	if err != nil {
		t.Fatal(err)
	}
	if refuse && o.direct != nil { // a file system that takes no such writes after all
		o.direct.Close()
		readOnly, err := os.Open(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		o.direct = system.NewFile(readOnly)
	}
	memory, err := storage.NewBuffer(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Free()
	at := int64(0)
	for i := 0; at < size; i++ {
		n := min([]int64{1, 300 << 10, 4096, 70_000, 65_536, 12, 512 << 10}[i%7], size-at)
		skew := at % storage.Align // so that memory and file are aligned alike
		if i%3 == 2 {
			skew = 5
		}
		p := memory.Bytes[skew:][:n]
		copy(p, want[at:])
		if k, err := o.WriteAt(p, at); err != nil || int64(k) != n {
			t.Fatalf("%d bytes at %d: %d, %v", n, at, k, err)
		}
		at += n
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.Name())
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes read back, %v", len(got), err)
	}
}

func TestOutputOnAFullDisk(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := NewOutput(NewOutputFile(f), 1<<50); err == nil {
		t.Skip("this file system does not reserve space")
	} else if !strings.Contains(err.Error(), f.Name()) {
		t.Errorf("%v does not name the file", err)
	}
}

// Large writes whose memory and place in the file are aligned alike bypass the page cache but for their ends.
func TestOutputDirect(t *testing.T) {
	b, err := storage.NewBuffer(256 << 10)
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
