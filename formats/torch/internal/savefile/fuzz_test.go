package savefile

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// addFiles seeds a fuzz target with the samples that are small.
func addFiles(f *testing.F) {
	for _, pattern := range []string{"sound/*.pt", "more/*.pt", "hostile/*.pt"} {
		paths, _ := filepath.Glob(filepath.Join("../../testdata", pattern))
		for _, path := range paths {
			if data, err := os.ReadFile(path); err == nil && len(data) < 8<<10 {
				f.Add(data)
			}
		}
	}
}

// FuzzOpen opens any bytes as a checkpoint and reads the beginning of what it has.
func FuzzOpen(f *testing.F) {
	addFiles(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := openBytes(data)
		if err != nil {
			mustBeFormatError(t, err)
			return
		}
		if len(c.Tensors()) == 0 {
			t.Fatal("opened without a tensor")
		}
		for i, x := range c.Tensors() {
			if i == 20 {
				break
			}
			readSome(t, x)
		}
	})
}

// mustBeFormatError fails on errors that a file alone cannot be the cause of.
func mustBeFormatError(t *testing.T, err error) {
	t.Helper()
	var bad *tensor.FormatError
	if !errors.As(err, &bad) {
		t.Fatalf("%v is no format error", err)
	}
	if strings.Contains(err.Error(), "runtime error") {
		t.Fatalf("a panic was caught: %v", err)
	}
}

func readSome(t *testing.T, x *tensor.Tensor) {
	r, err := x.Data.Stream(0)
	if err != nil {
		mustBeFormatError(t, err)
		return
	}
	defer r.Close()
	n, err := io.CopyN(io.Discard, r, 64<<10)
	if err == io.EOF && n != x.Bytes() {
		t.Fatalf("%s has %d bytes, want %d", x.Name, n, x.Bytes())
	}
	if err != nil && err != io.EOF {
		mustBeFormatError(t, err)
	}
	if c, ok := x.Data.(tensor.Checker); ok {
		if err := c.Check(); err != nil {
			mustBeFormatError(t, err)
		}
	}
}

// FuzzPickle reads any bytes as the pickle of a file. Every storage that it speaks of is there.
func FuzzPickle(f *testing.F) {
	for _, pattern := range []string{"sound/*.pt", "more/*.pt", "hostile/*.pt"} {
		paths, _ := filepath.Glob(filepath.Join("../../testdata", pattern))
		for _, path := range paths {
			data, _ := os.ReadFile(path)
			a, err := readArchive(bytes.NewReader(data), int64(len(data)))
			if err != nil {
				continue
			}
			if pickle, err := a.find("data.pkl").readAll(8<<10, false); err == nil {
				f.Add(pickle)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l := newLoader(&container{file: zeros{}, noChecksums: true}, nil)
		r, err := l.read(bytes.NewReader(data), 0, int64(len(data)), false)
		if err != nil {
			mustBeFormatError(t, err)
			return
		}
		file := &File{Root: r.Value, order: l.order, check: func() error { return nil }, describe: func(*tensor.Checkpoint) {}}
		c, err := file.Checkpoint("", Options{SkipUnreadable: true})
		if err != nil {
			mustBeFormatError(t, err)
			return
		}
		readSome(t, c.Tensors()[0])
	})
}

// zeros is a file without end.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}
