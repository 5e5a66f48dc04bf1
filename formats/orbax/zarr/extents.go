package zarr

import (
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// maxExtents is how many keys of an array Extents looks at, at most.
const maxExtents = 4096

// Extents implements tensor.Located: where the chunks, or the shards, lie in the order in which Stream
// reads them. It is nil if they are too many or cannot be opened.
func (a *Array) Extents() []tensor.Extent {
	grid, err := countChunks(a.Shape, a.stored)
	if err != nil {
		return nil
	}
	if n, err := tensor.Product(grid); err != nil || n == 0 || n > maxExtents {
		return nil
	}
	if _, ok := a.store.(*Dir); ok && slices.Max(append(grid, 1)) > 1 {
		return nil // each chunk is a file, which would have to be opened
	}
	var extents []tensor.Extent
	place := make([]int64, len(grid))
	for more := true; more; more = next(place, grid) {
		section, ok, err := a.store.Section(below(a.name) + a.keys.key(place))
		if err != nil {
			return nil
		}
		if ok {
			store, offset, length := section.Outer()
			extents = append(extents, tensor.Extent{Store: store, Offset: offset, Length: length})
		}
	}
	return extents
}
