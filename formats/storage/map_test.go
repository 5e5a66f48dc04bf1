package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
		if want == "unsupported" && !errors.Is(err, errors.ErrUnsupported) || want != "unsupported" && (err != nil || string(m.Bytes) != want) {
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
