package assemble

import (
	"hash/crc32"
	"io"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Range is where the elements of a chunk lie one after another in a file, in a few bytes of memory.
type Range struct {
	Offset int64

	// The range of bytes with the checksum CRC that the elements are in, of the length 0 for none.
	SumOffset, SumLength int64
	CRC                  uint32
}

// RangeOf returns where the elements of t lie, and whether they lie one after another.
func RangeOf(t *tensor.Tensor) (Range, bool) {
	layout, ok, err := tensor.Layout(t)
	if err != nil || !ok {
		return Range{}, false
	}
	offset, _, ok := layout.Contiguous()
	if !ok {
		return Range{}, false
	}
	r := Range{Offset: offset}
	switch d := t.Data.(type) {
	case tensor.Checksummed:
		r.SumOffset, r.SumLength, r.CRC = d.Checksum()
	case tensor.Checker:
		return Range{}, false
	}
	return r, true
}

// Tensor returns the elements in a file as a tensor.
func (r Range) Tensor(file io.ReaderAt, dtype tensor.DType, shape []int64) *tensor.Tensor {
	view := tensor.RowMajor(shape...)
	layout := &tensor.Strided{Store: file, Base: r.Offset, Length: view.Elements(), DType: dtype, View: view}
	t := &tensor.Tensor{DType: dtype, Shape: shape, Data: layout}
	if r.SumLength > 0 {
		data := &summedRange{layout: layout, file: file, sum: r}
		layout.Store = tensor.NewCheckedStore(file, data.Check)
		t.Data = data
	}
	return t
}

// summedRange is the data of a Range with a checksum.
type summedRange struct {
	layout *tensor.Strided
	file   io.ReaderAt
	sum    Range

	mu   sync.Mutex
	done bool
}

// Stream implements tensor.Data.
func (r *summedRange) Stream(off int64) (io.ReadCloser, error) { return r.layout.Stream(off) }

// Strided returns the layout for tensor.Layout.
func (r *summedRange) Strided() (*tensor.Strided, error) { return r.layout.Strided() }

// Checksum implements tensor.Checksummed.
func (r *summedRange) Checksum() (offset, length int64, crc uint32) {
	return r.sum.SumOffset, r.sum.SumLength, r.sum.CRC
}

// Passed implements tensor.Checksummed.
func (r *summedRange) Passed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
}

// Check implements tensor.Checker.
func (r *summedRange) Check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return nil
	}
	offset, length, want := r.Checksum()
	sum := crc32.NewIEEE()
	n, err := io.Copy(sum, io.NewSectionReader(r.file, offset, length))
	switch {
	case err != nil:
		return err
	case n < length:
		return tensor.Bad("file ends %d bytes short", length-n).At(offset + n)
	case sum.Sum32() != want:
		return tensor.Bad("checksum of the bytes is %08x, the file says %08x", sum.Sum32(), want).At(offset).
			Advise("the file is damaged: download or copy it again")
	}
	r.done = true
	return nil
}
