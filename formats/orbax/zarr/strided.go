package zarr

import (
	"errors"
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Strided returns the uncompressed layout of the elements in a file or in memory. It returns nil if there is none:
// if chunks are compressed, not consecutive, or corrupt, which Stream reports.
func (a *Array) Strided() (*tensor.Strided, error) {
	n, err := tensor.Product(a.grid)
	if err != nil || n != 1 && !a.chunksAreRuns() || n == 0 || n > maxJoined || len(a.leaf.codecs) > 0 {
		return nil, err
	}
	at, err := a.joined()
	var bad *tensor.FormatError
	if errors.As(err, &bad) || err == nil && at == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	store, base, _ := at.Outer()
	s := &tensor.Strided{Store: store, Base: base, Length: n * (a.leafBytes / a.DType.Size()), DType: a.DType, BigEndian: a.leaf.bigEndian}
	if n > 1 {
		s.View = tensor.RowMajor(a.Shape...)
		return s, nil
	}
	inStore := tensor.RowMajor(a.leaf.stored(a.chunk)...)
	s.View = tensor.View{Shape: slices.Clone(a.Shape), Strides: make([]int64, len(a.Shape))}
	for j, axis := range a.leaf.axes {
		s.View.Strides[axis] = inStore.Strides[j]
	}
	return s, nil
}

// maxJoined bounds the number of chunks that Strided looks at.
const maxJoined = 1 << 16

// chunksAreRuns reports whether the consecutive chunks hold the elements of the array in row-major order, with
// padding only after the last element.
func (a *Array) chunksAreRuns() bool {
	if !slices.IsSorted(a.leaf.axes) {
		return false
	}
	divided := false // chunks have several indices of an axis before k
	outer := false   // there are several chunks along an axis before k
	for k, n := range a.Shape {
		whole := a.chunk[k] == n
		if divided && !whole || outer && n%a.chunk[k] != 0 {
			return false
		}
		divided = divided || a.chunk[k] != 1
		outer = outer || a.grid[k] > 1
	}
	return true
}

// joined returns the first chunk if all chunks are consecutive, else nil.
func (a *Array) joined() (first *io.SectionReader, err error) {
	l := newLocator(a)
	cell := make([]int64, len(a.grid))
	var file io.ReaderAt
	var end int64
	for more := true; more; more = next(cell, a.grid) {
		at, err := l.find(cell)
		if err != nil || at.section == nil || at.section.Size() != a.leafBytes {
			return nil, err
		}
		store, base, _ := at.section.Outer()
		if first == nil {
			first, file = at.section, store
		} else if store != file || base != end {
			return nil, nil
		}
		end = base + a.leafBytes
	}
	return first, nil
}
