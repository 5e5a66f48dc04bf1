package publish

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

// TestStream writes files of sizes around that of a panel, in pieces large and small.
func TestStream(t *testing.T) {
	for _, size := range []int{0, 1, storage.Align, streamPanel - 1, streamPanel, streamPanel + 1, 2*streamPanel + storage.Align, 5*streamPanel + 17} {
		want := make([]byte, size)
		for i := range want {
			want[i] = byte(i*7 + i>>9)
		}
		path := filepath.Join(t.TempDir(), "f")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewStream(NewOutputFile(f))
		if err != nil {
			t.Fatal(err)
		}
		for rest, i := want, 0; len(rest) > 0; i++ {
			n := min(len(rest), []int{1, 300 << 10, 5 << 20, 4096}[i%4])
			if k, err := s.Write(rest[:n]); k != n || err != nil {
				t.Fatalf("%d bytes: %d of %d, %v", size, k, n, err)
			}
			rest = rest[n:]
		}
		if err := errors.Join(s.Close(), f.Close()); err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d read back, %v", size, len(got), err)
		}
	}
}

// TestStreamFails writes to a file that is open for reading only.
func TestStreamFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := NewStream(NewOutputFile(f))
	if err != nil {
		t.Fatal(err)
	}
	if s.out.direct != nil { // /proc would open it again, for writing
		s.out.direct.Close()
		s.out.direct = nil
	}
	for range 3 {
		_, err = s.Write(make([]byte, streamPanel))
	}
	if err == nil {
		t.Error("a write that fails is not told of by the next but one")
	}
	if err := s.Close(); err == nil {
		t.Error("nor by Close")
	}
}
