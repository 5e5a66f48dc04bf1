package assemble

import (
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// chunk is a chunk that is being read, from its first element to its last.
type chunk struct {
	whole  *whole
	index  int32
	box    Box
	bytes  int64
	left   int64                 // elements that were not read yet
	layout *tensor.Strided       // nil if the chunk has to be decoded
	cursor *tensor.Cursor        // for that
	sum    *tensor.ChecksumStore // nil if the checksum, if any, is known already
}

// openChunk returns the chunk at that index, whose elements t has. If it is not read from its beginning
// on, its checksum is checked now, and otherwise on the way.
func openChunk(w *whole, index int32, t *tensor.Tensor, box Box, fromStart bool) (*chunk, error) {
	layout, ok, err := tensor.Layout(t)
	if err != nil {
		return nil, err
	}
	c := &chunk{whole: w, index: index, box: box, bytes: t.Bytes(), left: t.Elements()}
	checker, checks := t.Data.(tensor.Checker)
	summed, sums := t.Data.(tensor.Checksummed)
	switch {
	case !checks || w.isGood(index):
	case ok && sums && fromStart:
		c.sum = tensor.NewChecksumStore(layout.Store, summed)
		watched := *layout
		watched.Store = c.sum
		layout = &watched
	default:
		if err := checker.Check(); err != nil {
			return nil, err
		}
		w.markGood(index, t.Bytes())
	}
	if ok {
		c.layout = layout
	} else {
		c.cursor = tensor.NewCursor(t)
	}
	return c, nil
}

// read reads a part of the chunk, given by its place in the whole tensor.
func (c *chunk) read(dst []byte, part Box) error {
	size := c.whole.dtype.Size()
	c.left -= int64(len(dst)) / size
	if c.layout == nil {
		first, step := int64(0), int64(1)
		for k := len(part.Sizes) - 1; k >= 0; k-- {
			first += (part.Offsets[k] - c.box.Offsets[k]) * step
			step *= c.box.Sizes[k]
		}
		_, err := c.cursor.ReadAt(dst, first*size)
		return err
	}
	view := c.layout.View
	for k := range part.Sizes {
		view = view.Narrow(k, part.Offsets[k]-c.box.Offsets[k], part.Sizes[k])
	}
	return c.layout.Gather(dst, view)
}

// finish checks what shows only after the last element.
func (c *chunk) finish() error {
	if c.cursor != nil {
		if err := c.cursor.Finish(); err != nil {
			return err
		}
		return c.cursor.Close()
	}
	if c.sum == nil {
		return nil
	}
	err := c.sum.Finish()
	if err == nil {
		c.whole.markGood(c.index, c.bytes)
	}
	return err
}

func (c *chunk) close() {
	if c.cursor != nil {
		c.cursor.Close()
	}
}
