package transfer

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// fileRange is the bytes of a tensor in a file; file is -1 for a sink.
type fileRange struct {
	file           int
	offset, length int64
}

// files is a Destination whose tensors lie in one of several files, or are sinks.
type files struct {
	files    []*os.File
	outputs  []*publish.OutputFile // of files
	ranges   []fileRange
	sinks    []*sink
	finished []tensor.Written
}

func (f *files) At(i int) (*publish.OutputFile, int64, int64) {
	p := f.ranges[i]
	if p.file < 0 {
		return nil, 0, 0
	}
	return f.outputs[p.file], p.offset, p.length
}

func (f *files) Sink(i int) (io.WriteCloser, error) {
	f.sinks[i].opened.Add(1)
	return f.sinks[i], nil
}

func (f *files) NeedsCRC32() bool { return true }

func (f *files) Finish(w []tensor.Written) error { f.finished = w; return nil }

// content returns the bytes of tensor i.
func (f *files) content(t *testing.T, i int) []byte {
	t.Helper()
	if f.ranges[i].file < 0 {
		if s := f.sinks[i]; s.opened.Load() != 1 || s.closed.Load() != 1 {
			t.Errorf("sink %d was opened %d times and closed %d times", i, s.opened.Load(), s.closed.Load())
		}
		return f.sinks[i].Bytes()
	}
	file, offset, length := f.At(i)
	got := make([]byte, length)
	if _, err := file.ReadAt(got, offset); err != nil && length > 0 {
		t.Fatal(err)
	}
	return got
}

// sink collects a tensor.
type sink struct {
	bytes.Buffer
	err, closeErr  error
	opened, closed atomic.Int32
}

func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.Buffer.Write(p)
}

func (s *sink) Close() error { s.closed.Add(1); return s.closeErr }

func (f *files) Close() error { return nil }

func newFiles(t *testing.T, rng *rand.Rand, l moves.List) *files {
	return newMixedFiles(t, rng, l, 0)
}

// newMixedFiles makes one of so many tensors a sink, none for 0.
func newMixedFiles(t *testing.T, rng *rand.Rand, l moves.List, sinks int) *files {
	f := &files{}
	dir := t.TempDir()
	sizes := make([]int64, 1+rng.IntN(2))
	for range sizes {
		file, err := os.CreateTemp(dir, "out")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		f.files = append(f.files, file)
		f.outputs = append(f.outputs, publish.NewOutputFile(file))
	}
	for i := range l.Dests {
		d := &tensor.Tensor{DType: l.Dests[i].DType, Shape: l.Dests[i].Shape}
		k := rng.IntN(len(sizes))
		f.sinks = append(f.sinks, &sink{})
		if sinks > 0 && rng.IntN(sinks) == 0 {
			f.ranges = append(f.ranges, fileRange{file: -1})
			continue
		}
		sizes[k] += int64(rng.IntN(20))
		f.ranges = append(f.ranges, fileRange{k, sizes[k], d.Bytes()})
		sizes[k] += d.Bytes()
	}
	for k, file := range f.files {
		if err := file.Truncate(sizes[k]); err != nil {
			t.Fatal(err)
		}
	}
	return f
}
