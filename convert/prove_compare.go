package convert

import (
	"bytes"
	"cmp"
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// comparison compares the elements of one move.
type comparison struct {
	v       *prover
	move    *Move
	stream  *cursor
	dest    *tensor.Tensor
	axes    []tensor.Axis // in the order of the source: the largest step first
	block   []byte        // of the source
	scratch []byte
	window  window // of the destination

	size, dsize int64     // bytes of an element
	rounding    *rounding // nil where elements are what they were, and compared bit for bit

	from, to *runningSum // of source and destination

	differs bool // an element was found that is not the same
}

func newComparison(v *prover, m *Move, stream *cursor, b *proofBuffers) (*comparison, error) {
	dest := v.output.Tensor(v.plan.Dests[m.Dest].Name)
	c := &comparison{v: v, move: m, stream: stream, dest: dest, axes: m.View.Axes(), block: b.block, scratch: b.scratch,
		size: m.Source.DType.Size(), dsize: dest.DType.Size()}
	if c.size == 0 || c.dsize == 0 {
		return nil, tensor.Bad("elements of %s have no address of their own", m.Source.DType)
	}
	if m.Source.DType != dest.DType || m.Divide != 0 {
		var err error
		if c.rounding, err = roundingOf(m.Source.DType, dest.DType, m.Divide); err != nil {
			return nil, err
		}
	}
	c.from, c.to = v.sums.source(m.Source), v.sums.output(m.Dest)
	var err error
	c.window, err = newWindow(dest, c.to, b.window)
	return c, err
}

// do compares all elements of the move.
func (c *comparison) do() error {
	defer c.window.stream.close()
	if c.move.View.IsRowMajor() {
		return c.compareStraight()
	}
	return c.compare(c.axes, c.move.View.Offset, c.move.Offset)
}

// compareStraight compares elements that lie in the same order on both sides, in pieces that stay
// in a core's own cache. As long as whole tensors are the same, the digest of one is that of both.
func (c *comparison) compareStraight() error {
	elements, from, to := c.move.View.Elements(), c.move.View.Offset, c.move.Offset
	whole := c.rounding == nil && elements == c.move.Source.Elements() && elements == c.dest.Elements()
	step := min(windowBytes, int64(len(c.block))) / max(c.size, c.dsize)
	for i := int64(0); i < elements && !c.decided(); i += step {
		n := min(step, elements-i)
		if err := c.v.ctx.Err(); err != nil {
			return err
		}
		r, err := c.stream.at((from+i)*c.size, c.scratch)
		if err != nil {
			return err
		}
		source := c.block[:n*c.size]
		if err := tensor.ReadFull(r, source); err != nil {
			return err
		}
		written, err := c.window.read((to+i)*c.dsize, n*c.dsize)
		if err != nil {
			return err
		}
		equal := c.compareRun(source, 1, written, 1, n, to+i)
		if whole && !equal {
			c.from.like(c.to)
			whole = false
		}
		c.to.feed((to+i)*c.dsize, written)
		if !whole {
			c.from.feed((from+i)*c.size, source)
		}
		c.v.count(n, n*c.dsize, c.rounding != nil)
	}
	if whole && c.from != nil {
		c.from.same = c.to
	}
	return nil
}

// decided reports whether the rest of the move is of no interest.
func (c *comparison) decided() bool { return c.v.firstOnly && c.differs }

// compare compares the box that the axes span, from those elements of source and destination on.
// It cuts it along its first axis into boxes that fit into memory.
func (c *comparison) compare(axes []tensor.Axis, from, to int64) error {
	room := int64(len(c.block)) / c.size
	for k := range axes {
		if axes[k].Stride >= tensor.Reach(axes[k+1:]) {
			continue
		}
		// Steps along this axis lead back: the stream is read once for each.
		rest := slices.Delete(slices.Clone(axes), k, k+1)
		for i := range axes[k].Size {
			if err := c.compare(rest, from+i*axes[k].Stride, to+i*axes[k].Step); err != nil {
				return err
			}
		}
		return nil
	}
	if tensor.Reach(axes) <= room {
		return c.compareBlock(axes, from, to)
	}
	first, inner := axes[0], tensor.Reach(axes[1:])
	step := int64(1)
	if inner <= room {
		step = (room-inner)/first.Stride + 1
	}
	for i := int64(0); i < first.Size; i += step {
		box := slices.Clone(axes)
		if box[0].Size = min(step, first.Size-i); box[0].Size == 1 {
			box = box[1:]
		}
		if err := c.compare(box, from+i*first.Stride, to+i*first.Step); err != nil {
			return err
		}
	}
	return nil
}

// compareBlock reads a box of the source and compares it in the order of the destination.
func (c *comparison) compareBlock(axes []tensor.Axis, from, to int64) error {
	if c.decided() {
		return nil
	}
	if err := c.v.ctx.Err(); err != nil {
		return err
	}
	r, err := c.stream.at(from*c.size, c.scratch)
	if err != nil {
		return err
	}
	block := c.block[:tensor.Reach(axes)*c.size]
	for at := 0; at < len(block); at += windowBytes {
		piece := block[at:min(at+windowBytes, len(block))]
		if err := tensor.ReadFull(r, piece); err != nil {
			return err
		}
		c.from.feed(from*c.size+int64(at), piece)
	}
	axes = slices.SortedStableFunc(slices.Values(axes), func(a, b tensor.Axis) int { return cmp.Compare(b.Step, a.Step) })
	axes = joinAxes(axes)
	elements := int64(1)
	for _, a := range axes {
		elements *= a.Size
	}
	if err := c.compareRuns(axes, block, from, to); err != nil {
		return err
	}
	c.v.count(elements, elements*c.dsize, c.rounding != nil)
	return nil
}

// joinAxes joins axes that are one in both source and destination.
func joinAxes(axes []tensor.Axis) []tensor.Axis {
	var out []tensor.Axis
	for _, a := range axes {
		if last := len(out) - 1; last >= 0 && out[last].Stride == a.Size*a.Stride && out[last].Step == a.Size*a.Step {
			out[last] = tensor.Axis{Size: out[last].Size * a.Size, Stride: a.Stride, Step: a.Step}
			continue
		}
		out = append(out, a)
	}
	return out
}

// compareRuns goes over all axes but the last, in the order of the destination.
func (c *comparison) compareRuns(axes []tensor.Axis, block []byte, from, to int64) error {
	if len(axes) == 2 && axes[1].Step == 1 && axes[0].Stride == 1 {
		return c.compareMatrix(axes[0], axes[1], block, from, to)
	}
	if len(axes) > 1 {
		for i := range axes[0].Size {
			if err := c.compareRuns(axes[1:], block[i*axes[0].Stride*c.size:], from+i*axes[0].Stride, to+i*axes[0].Step); err != nil {
				return err
			}
		}
		return nil
	}
	last := tensor.Axis{Size: 1, Stride: 1, Step: 1}
	if len(axes) == 1 {
		last = axes[0]
	}
	most := max(int64(windowBytes)/(last.Step*c.dsize), 1)
	for i := int64(0); i < last.Size && !c.decided(); i += most {
		n := min(most, last.Size-i)
		written, err := c.window.at((to+i*last.Step)*c.dsize, ((n-1)*last.Step+1)*c.dsize)
		if err != nil {
			return err
		}
		c.compareRun(block[i*last.Stride*c.size:], last.Stride, written, last.Step, n, to+i*last.Step)
	}
	return nil
}

// compareMatrix compares a matrix with its transpose: row.Size elements a column apart in the source are
// one row of the destination. It goes by as many rows as a cache line of the source has elements.
func (c *comparison) compareMatrix(col, row tensor.Axis, block []byte, from, to int64) error {
	const line = 64
	pitch := col.Step * c.dsize
	most := line / c.size
	if most *= windowBytes / (most * pitch); most == 0 {
		most = max(windowBytes/pitch, 1)
	}
	transposed := isTransposed
	if n := matchRows(pitch); n > 0 && c.v.firstOnly {
		most, transposed = n, matchesTransposed
	}
	for i := int64(0); i < col.Size && !c.decided(); i += most {
		n := min(most, col.Size-i)
		at := (to + i*col.Step) * c.dsize
		written, err := c.window.read(at, min(n*pitch, c.window.bytes-at)) // whole rows, so that no gap is left
		if err != nil {
			return err
		}
		c.to.feed(at, written)
		source := block[i*c.size:]
		if c.rounding == nil && transposed(written, int(pitch), source, int(row.Stride*c.size), int(row.Size), int(n), int(c.size)) {
			continue
		}
		for k := range n {
			c.compareRun(source[k*c.size:], row.Stride, written[k*pitch:], 1, row.Size, to+(i+k)*col.Step)
		}
	}
	return nil
}

// compareRun compares n elements at even distances; the first is element to of the destination.
func (c *comparison) compareRun(source []byte, from int64, written []byte, step, n, to int64) bool {
	if c.rounding == nil && from == 1 && step == 1 {
		if bytes.Equal(source[:n*c.size], written[:n*c.size]) {
			return true
		}
	} else if c.rounding != nil && step == 1 && c.rounding.all(source, from*c.size, written[:n*c.dsize]) {
		return true
	}
	if c.v.firstOnly && from == 1 && step == 1 {
		c.differs = true
		return false
	}
	first, wrong, overflowed := int64(-1), int64(0), int64(0)
	for i := range n {
		s, w := source[i*from*c.size:][:c.size], written[i*step*c.dsize:][:c.dsize]
		right, infinite := false, false
		if c.rounding == nil {
			right = bytes.Equal(s, w)
		} else {
			right, infinite = c.rounding.one(s, w)
		}
		if infinite {
			overflowed++
		}
		if !right {
			if wrong++; first < 0 {
				first = i
			}
		}
	}
	if overflowed > 0 {
		c.v.overflowed(overflowed)
	}
	if wrong > 0 {
		c.differs = true
		want, got := source[first*from*c.size:][:c.size], written[first*step*c.dsize:][:c.dsize]
		c.v.wrong(c.move, to+first*step, wrong, valueString(c.move.Source.DType, want), valueString(c.dest.DType, got))
	}
	return wrong == 0
}

// window is a part of a written tensor in memory. It is asked for places that mostly ascend.
type window struct {
	tensor *tensor.Tensor
	store  io.ReaderAt // nil where the tensor does not lie in one piece
	base   int64
	bytes  int64 // of the tensor
	first  int64
	buffer []byte
	sum    *runningSum

	stream cursor // where the tensor does not lie in one piece
}

const windowBytes = 256 << 10

func newWindow(t *tensor.Tensor, sum *runningSum, buffer []byte) (window, error) {
	w := window{tensor: t, bytes: t.Bytes(), sum: sum, buffer: buffer[:0], stream: cursor{source: t}}
	lay, ok, err := tensor.Layout(t)
	if err != nil {
		return w, err
	}
	if ok {
		if at, _, contiguous := lay.Contiguous(); contiguous {
			w.store, w.base = lay.Store, at
		}
	}
	return w, nil
}

// at returns n bytes of the tensor from off on, and reads ahead.
func (w *window) at(off, n int64) ([]byte, error) {
	if off < w.first || off+n > w.first+int64(len(w.buffer)) {
		p, err := w.read(off, min(max(n, windowBytes), w.bytes-off))
		if err != nil {
			return nil, err
		}
		w.sum.feed(off, p)
	}
	return w.buffer[off-w.first:][:n], nil
}

// read returns n bytes of the tensor from off on.
func (w *window) read(off, n int64) ([]byte, error) {
	w.first, w.buffer = off, slices.Grow(w.buffer[:0], int(n))[:n]
	if err := w.fill(off); err != nil {
		w.buffer = w.buffer[:0]
		return nil, tensor.Annotate(err, tensor.Location{Tensor: w.tensor.Name})
	}
	return w.buffer, nil
}

func (w *window) fill(off int64) error {
	if w.store != nil {
		got, err := w.store.ReadAt(w.buffer, w.base+off)
		if got < len(w.buffer) {
			return tensor.ShortRead(err)
		}
		return nil
	}
	if w.stream.r == nil || off != w.stream.position { // nothing of the buffer is needed yet: it may hold what is skipped
		if _, err := w.stream.at(off, w.buffer); err != nil {
			return err
		}
	}
	return tensor.ReadFull(&w.stream, w.buffer)
}
