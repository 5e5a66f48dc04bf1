package torch

import (
	"bytes"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// writeAll writes tensors, the bytes of each given, and returns the file's path.
func writeAll(t *testing.T, specs []tensor.Spec, data [][]byte, fileName string) string {
	t.Helper()
	l, err := NewLayout(specs, fileName)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out.pt")
	w, err := l.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var written []tensor.Written
	for i, b := range data {
		f, offset, length := w.At(i)
		if length != int64(len(b)) {
			t.Fatalf("tensor %d has %d bytes, its place %d", i, len(b), length)
		}
		if _, err := f.WriteAt(b, offset); err != nil {
			t.Fatal(err)
		}
		written = append(written, tensor.Written{CRC32: crc32.ChecksumIEEE(b)})
	}
	if err := w.Finish(written); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != l.Size {
		t.Errorf("the file has %d bytes, the layout says %d, %v", info.Size(), l.Size, err)
	}
	return path
}

// TestWritesWhatTorchWrites takes files of torch 2.15 apart and writes them again.
func TestWritesWhatTorchWrites(t *testing.T) {
	for _, name := range []string{"written.pt"} {
		path := filepath.Join("testdata", "more", name)
		c, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var specs []tensor.Spec
		var data [][]byte
		for _, x := range c.Tensors() {
			b := make([]byte, x.Bytes())
			if _, err := x.ReadAt(b, 0); err != nil {
				t.Fatal(err)
			}
			specs, data = append(specs, tensor.Spec{Name: x.Name, DType: x.DType, Shape: x.Shape}), append(data, b)
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(writeAll(t, specs, data, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: not the same bytes", name)
		}
	}
}
