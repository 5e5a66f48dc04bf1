package assemble

import (
	"cmp"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// checkCover reports chunks that overlap, and a part of the tensor that no chunk has.
func (w *whole) checkCover() error {
	if slices.Contains(w.shape, 0) {
		return nil
	}
	c := &cover{whole: w, region: Box{slices.Clone(w.shape), slices.Clone(w.shape)}}
	distinct := make([]int, 0, len(w.order))
	for at := range w.order {
		if !w.isReplica(at) {
			distinct = append(distinct, at)
		}
	}
	c.work = 64*len(distinct) + 1024
	return c.check(0, distinct)
}

// cover sweeps over one axis after the other. Between two indices at which a chunk begins or ends, the
// chunks along an axis are the same.
type cover struct {
	*whole
	region Box // of the sweep so far
	work   int // chunks that may still be looked at
}

// check sweeps over the axes from axis on. The chunks at those indices of the order have all of the
// region along the axes before it.
func (c *cover) check(axis int, chunks []int) error {
	if len(chunks) == 0 {
		return c.uncovered(axis)
	}
	if axis == len(c.shape) {
		if len(chunks) > 1 {
			a, b := c.order[chunks[0]], c.order[chunks[1]]
			return tensor.Bad("chunk %s overlaps the chunk %s in %s without being equal", c.box(chunks[1]), c.box(chunks[0]), c.chunks.Path(int(a))).
				In(c.chunks.Path(int(b)))
		}
		return nil
	}
	slices.SortStableFunc(chunks, func(a, b int) int { return cmp.Compare(c.box(a).Offsets[axis], c.box(b).Offsets[axis]) })
	var active []int
	for from, next := int64(0), 0; from < c.shape[axis]; {
		active = slices.DeleteFunc(active, func(at int) bool { return c.end(at, axis) <= from })
		for ; next < len(chunks) && c.box(chunks[next]).Offsets[axis] == from; next++ {
			active = append(active, chunks[next])
		}
		to := c.shape[axis]
		if next < len(chunks) {
			to = c.box(chunks[next]).Offsets[axis]
		}
		for _, at := range active {
			to = min(to, c.end(at, axis))
		}
		if c.work -= len(active) + 1; c.work < 0 {
			return tensor.Bad("chunks are cut in so many ways that they cannot be checked")
		}
		c.region.Offsets[axis], c.region.Sizes[axis] = from, to-from
		if err := c.check(axis+1, slices.Clone(active)); err != nil {
			return err
		}
		from = to
	}
	return nil
}

func (c *cover) end(at, axis int) int64 {
	b := c.box(at)
	return b.Offsets[axis] + b.Sizes[axis]
}

// uncovered returns the error about a region that no chunk has: all indices of the axes from axis on.
func (c *cover) uncovered(axis int) error {
	for k := axis; k < len(c.shape); k++ {
		c.region.Offsets[k], c.region.Sizes[k] = 0, c.shape[k]
	}
	return tensor.Bad("no chunk has the elements %s of the shape %s", c.region, tensor.ShapeString(c.shape)).Because(Uncovered)
}

// Uncovered is the reason of the error about a part of a tensor that no chunk has.
const Uncovered tensor.Reason = "part of a tensor is missing"
