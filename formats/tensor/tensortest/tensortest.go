// Package tensortest has tensors and views for the tests of code that reads tensors.
package tensortest

import (
	"bytes"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing/iotest"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Stream is data that can only be read from front to back, as compressed chunks can. Its readers
// give the content in pieces of odd sizes.
type Stream struct {
	Content []byte
	Bad     error // what Check returns

	Opened  atomic.Int32 // calls of Stream
	Checked atomic.Int32 // calls of Check
}

// Stream implements tensor.Data.
func (s *Stream) Stream(off int64) (io.ReadCloser, error) {
	s.Opened.Add(1)
	rest := s.Content[min(off, int64(len(s.Content))):]
	return io.NopCloser(iotest.HalfReader(bytes.NewReader(rest))), nil
}

// Check implements tensor.Checker.
func (s *Stream) Check() error { s.Checked.Add(1); return s.Bad }

// Broken is a stream that ends in an error after its content.
type Broken struct {
	Content []byte
	Err     error
}

// Stream implements tensor.Data.
func (s Broken) Stream(off int64) (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(s.Content[off:]), iotest.ErrReader(s.Err))), nil
}

// layout is embedded under another name than that of its method.
type layout = tensor.Strided

// Summed is a tensor that lies uncompressed in a file which keeps a checksum of a range of its bytes.
type Summed struct {
	*layout
	file          []byte
	first, length int64
	crc           uint32

	Checked atomic.Int32 // calls of Check
	Passes  atomic.Int32 // calls of Passed
}

// NewSummed returns data that is a view of the bytes of a file from first on, length bytes of which
// have a checksum: the right one, or a wrong one.
func NewSummed(d tensor.DType, v tensor.View, file []byte, first, length int64, wrong bool) *Summed {
	s := &Summed{file: file, first: first, length: length, crc: crc32.ChecksumIEEE(file[first:][:length])}
	s.layout = &tensor.Strided{Store: bytes.NewReader(file), Base: first, Length: length / d.Size(), DType: d, View: v}
	if wrong {
		s.crc ^= 1
	}
	return s
}

// Check implements tensor.Checker.
func (s *Summed) Check() error {
	s.Checked.Add(1)
	if got := crc32.ChecksumIEEE(s.file[s.first:][:s.length]); got != s.crc {
		return tensor.Bad("checksum is %08x", got)
	}
	return nil
}

// Checksum implements tensor.Summed.
func (s *Summed) Checksum() (offset, length int64, crc uint32) { return s.first, s.length, s.crc }

// Passed implements tensor.Summed.
func (s *Summed) Passed() { s.Passes.Add(1) }

// Stored returns a tensor whose elements lie uncompressed in memory.
func Stored(name string, d tensor.DType, shape []int64, content []byte) *tensor.Tensor {
	view := tensor.RowMajor(shape...)
	return &tensor.Tensor{Name: name, DType: d, Shape: shape,
		Data: &tensor.Strided{Store: bytes.NewReader(content), Length: view.Elements(), DType: d, View: view}}
}

// EachIndex calls do with every index of a shape in row-major order. do does not keep the slice.
func EachIndex(shape []int64, do func(index []int64)) {
	index := make([]int64, len(shape))
	for n := tensor.RowMajor(shape...).Elements(); n > 0; n-- {
		do(index)
		for k := len(index) - 1; k >= 0; k-- {
			if index[k]++; index[k] < shape[k] {
				break
			}
			index[k] = 0
		}
	}
}

// RandomView returns a view of the row-major elements of a shape, made by up to three random steps:
// axes exchanged, added, cut or dropped, every other index left out.
func RandomView(rng *rand.Rand, shape []int64) tensor.View {
	v := tensor.RowMajor(shape...)
	for range rng.IntN(4) {
		if len(v.Shape) == 0 {
			break
		}
		axis := rng.IntN(len(v.Shape))
		switch rng.IntN(6) {
		case 0, 1:
			v = v.Permute(rng.Perm(len(v.Shape))...)
		case 2:
			if v.Shape[axis] > 0 {
				v = v.Index(axis, rng.Int64N(v.Shape[axis]))
			}
		case 3:
			v = v.Unsqueeze(axis)
		case 4:
			if n := v.Shape[axis]; n > 0 {
				from := rng.Int64N(n)
				v = v.Narrow(axis, from, rng.Int64N(n-from+1))
			}
		case 5:
			v.Shape[axis] = (v.Shape[axis] + 1) / 2
			v.Strides[axis] *= 2
		}
	}
	return v
}
