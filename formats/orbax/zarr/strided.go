package zarr

import (
	"errors"
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Strided returns how the elements lie uncompressed in a file or in memory, and nil where they do
// not: where chunks are compressed, do not lie one behind another, or are not stored as they should
// be (which Stream reports).
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

// maxJoined is how many chunks Strided looks at, at most.
const maxJoined = 1 << 16

// chunksAreRuns reports whether the chunks, in their order, are the array's elements in theirs, with
// padding at most after the last.
func (a *Array) chunksAreRuns() bool {
	if !slices.IsSorted(a.leaf.axes) {
		return false
	}
	cut := false   // one of the axes before is cut into ranges
	outer := false // one of them has several chunks
	for k, n := range a.Shape {
		whole := a.chunk[k] == n
		if cut && !whole || outer && n%a.chunk[k] != 0 {
			return false
		}
		cut = cut || a.chunk[k] != 1
		outer = outer || a.grid[k] > 1
	}
	return true
}

// joined returns where the first chunk begins if all lie one behind another, else nil.
func (a *Array) joined() (first *io.SectionReader, err error) {
	l := newLocator(a)
	place := make([]int64, len(a.grid))
	var file io.ReaderAt
	var end int64
	for more := true; more; more = next(place, a.grid) {
		at, err := l.find(place)
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
