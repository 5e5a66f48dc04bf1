package storage

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	memory, err := NewBuffer(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Free()
	at := int64(0)
	for i := 0; at < size; i++ {
		n := min([]int64{1, 300 << 10, 4096, 70_000, 65_536, 12, 512 << 10}[i%7], size-at)
		skew := at % Align // so that memory and file are aligned alike
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
