package proof

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/convert/source"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// comparer compares moves of a list with the tensors that they should have filled. It serves several
// goroutines.
type comparer struct {
	ctx   context.Context
	list  moves.List
	dests []*tensor.Tensor // by index into list.Dests; nil for tensors that are not compared
	tally *tally
	piece int64 // bytes that are read of a tensor at a time: windowBytes, less in tests

	// stopEarly ends the comparison of a move at the first difference. It allows the kernel that compares
	// matrices in the way in which package transfer transposes them, too.
	stopEarly bool

	refuseOverflow bool // a finite element that became infinite differs

	digests *digests // nil if none are wanted
}

// blockBytes is how much of a source a worker holds: a whole matrix of the 2B model.
const blockBytes = 38 << 20

// buffers are what a worker holds.
type buffers struct {
	block  []byte // of the source
	window []byte // of the destination
}

// compareSource compares what moves from one source give, and checks the source's checksum. report,
// if not nil, is called for each move with whether all its elements are equal.
func (c *comparer) compareSource(group []*moves.Move, b *buffers, report func(m *moves.Move, equal bool)) error {
	in, err := source.Open(group[0].Source, nil)
	if err != nil {
		return err
	}
	defer in.Close()
	for _, m := range group {
		x, err := newComparison(c, m, in, b)
		if err == nil {
			err = x.run()
		}
		if err != nil {
			return tensor.Annotate(err, tensor.Location{Tensor: m.Source.Name})
		}
		if report != nil {
			report(m, !x.differs)
		}
	}
	if err := in.Finish(); err != nil {
		return err
	}
	return c.digests.finish(c.ctx, group, c.dests)
}

// comparison compares the elements of one move. Its methods give elements of the source and of the
// destination by their row-major indices, from and to.
type comparison struct {
	*comparer
	move   *moves.Move
	source *source.Reader
	dest   *tensor.Tensor
	axes   []tensor.Axis // of the move's view: strides are in the source, steps in the destination
	block  []byte        // memory for elements of the source
	window window        // elements of the destination

	size, destSize int64     // bytes of an element
	bytewise       bool      // elements are packed: bytes are compared instead
	rounding       *rounding // nil if elements are compared bit for bit

	sourceDigest, destDigest *source.Digest

	differs bool // an element was found that is not as it should be
}

func newComparison(c *comparer, m *moves.Move, in *source.Reader, b *buffers) (*comparison, error) {
	dest := c.dests[m.Dest]
	x := &comparison{comparer: c, move: m, source: in, dest: dest, axes: m.View.Axes(), block: b.block,
		size: m.Source.DType.Size(), destSize: dest.DType.Size(),
		sourceDigest: c.digests.source(m.Source), destDigest: c.digests.dest(m.Dest, dest)}
	if x.bytewise = m.IsBytewise(dest.DType); x.bytewise {
		x.size, x.destSize = 1, 1
	}
	if x.size == 0 || x.destSize == 0 {
		return nil, tensor.Bad("elements of %s have no address of their own", m.Source.DType)
	}
	var err error
	if m.Source.DType != dest.DType || m.Divide != 0 {
		if x.rounding, err = newRounding(m.Source.DType, dest.DType, m.Divide); err != nil {
			return nil, err
		}
	}
	x.window, err = newWindow(dest, x.destDigest, b.window, c.piece)
	return x, err
}

// run compares all elements of the move.
func (c *comparison) run() error {
	defer c.window.close()
	var err error
	if c.move.View.IsRowMajor() {
		err = c.compareStraight()
	} else {
		err = c.compareBox(c.axes, c.move.View.Offset, c.move.Offset)
	}
	if err != nil {
		return err
	}
	return c.window.finish()
}

// done reports whether the rest of the move need not be compared.
func (c *comparison) done() bool { return c.stopEarly && c.differs }

// compareStraight compares elements that lie in the same order on both sides, in pieces that stay in a
// core's own cache. As long as whole tensors are equal, the digest of the destination is that of the
// source too.
func (c *comparison) compareStraight() error {
	elements, from, to := c.move.View.Elements(), c.move.View.Offset, c.move.Offset
	sameBytes := c.rounding == nil && elements == c.move.Source.Elements() && elements == c.dest.Elements() && c.destDigest.Covers(c.sourceDigest)
	if c.bytewise {
		elements = c.move.Source.Bytes()
	}
	step := min(c.piece, int64(len(c.block))) / max(c.size, c.destSize)
	for i := int64(0); i < elements && !c.done(); i += step {
		n := min(step, elements-i)
		if err := c.ctx.Err(); err != nil {
			return err
		}
		stored := c.block[:n*c.size]
		if _, err := c.source.ReadAt(stored, (from+i)*c.size); err != nil {
			return err
		}
		c.tally.lookAt(c.move.Source, stored)
		written, err := c.window.read((to+i)*c.destSize, n*c.destSize)
		if err != nil {
			return err
		}
		equal := c.compareRun(stored, 1, written, 1, n, to+i)
		if sameBytes && !equal {
			c.sourceDigest.Adopt(c.destDigest)
			sameBytes = false
		}
		c.destDigest.Feed((to+i)*c.destSize, written)
		if !sameBytes {
			c.sourceDigest.Feed((from+i)*c.size, stored)
		}
		c.tally.compared(c.elementsIn(n), n*c.destSize, c.rounding != nil)
	}
	if sameBytes {
		c.sourceDigest.SameAs(c.destDigest)
	}
	return nil
}

// elementsIn returns the number of elements in what size counts: elements, or bytes of packed ones.
func (c *comparison) elementsIn(n int64) int64 {
	if c.bytewise {
		return n * 8 / int64(c.dest.DType.Bits())
	}
	return n
}

// compareBox compares the box that the axes span, from those elements on. It cuts it along its first
// axis into boxes that fit into memory.
func (c *comparison) compareBox(axes []tensor.Axis, from, to int64) error {
	room := int64(len(c.block)) / c.size
	if tensor.Reach(axes) <= room {
		return c.compareBlock(axes, from, to)
	}
	first := axes[0] // its stride is the largest, and not 0
	step := max((room-tensor.Reach(axes[1:]))/first.Stride+1, 1)
	for i := int64(0); i < first.Size; i += step {
		box := slices.Clone(axes)
		if box[0].Size = min(step, first.Size-i); box[0].Size == 1 {
			box = box[1:]
		}
		if err := c.compareBox(box, from+i*first.Stride, to+i*first.Step); err != nil {
			return err
		}
	}
	return nil
}

// compareBlock reads a box of the source and compares it in the order of the destination.
func (c *comparison) compareBlock(axes []tensor.Axis, from, to int64) error {
	if c.done() {
		return nil
	}
	if err := c.ctx.Err(); err != nil {
		return err
	}
	block := c.block[:tensor.Reach(axes)*c.size]
	for at := int64(0); at < int64(len(block)); at += c.piece {
		piece := block[at:min(at+c.piece, int64(len(block)))]
		first := from*c.size + at
		if _, err := c.source.ReadAt(piece, first); err != nil {
			return err
		}
		c.tally.lookAt(c.move.Source, piece)
		c.sourceDigest.Feed(first, piece)
	}
	axes = slices.SortedStableFunc(slices.Values(axes), func(a, b tensor.Axis) int { return cmp.Compare(b.Step, a.Step) })
	axes = joinAxes(axes)
	elements := int64(1)
	for _, a := range axes {
		elements *= a.Size
	}
	if err := c.compareRuns(axes, block, to); err != nil {
		return err
	}
	c.tally.compared(elements, elements*c.destSize, c.rounding != nil)
	return nil
}

// joinAxes joins adjacent axes that are one axis in both source and destination.
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

// compareRuns compares a box in the order of the destination. block has the elements of the source
// from the first of the box on.
func (c *comparison) compareRuns(axes []tensor.Axis, block []byte, to int64) error {
	if len(axes) == 2 && axes[1].Step == 1 && axes[0].Stride == 1 {
		return c.compareMatrix(axes[0], axes[1], block, to)
	}
	if len(axes) > 1 {
		for i := range axes[0].Size {
			if err := c.compareRuns(axes[1:], block[i*axes[0].Stride*c.size:], to+i*axes[0].Step); err != nil {
				return err
			}
		}
		return nil
	}
	last := tensor.Axis{Size: 1, Stride: 1, Step: 1}
	if len(axes) == 1 {
		last = axes[0]
	}
	most := max(c.piece/(last.Step*c.destSize), 1)
	for i := int64(0); i < last.Size && !c.done(); i += most {
		n := min(most, last.Size-i)
		written, err := c.window.at((to+i*last.Step)*c.destSize, ((n-1)*last.Step+1)*c.destSize)
		if err != nil {
			return err
		}
		c.compareRun(block[i*last.Stride*c.size:], last.Stride, written, last.Step, n, to+i*last.Step)
	}
	return nil
}

// compareMatrix compares a matrix with its transpose: row.Size elements of the source, one of each
// row, are one row of the destination. It compares as many rows of the destination at a time as a
// cache line of the source has elements.
func (c *comparison) compareMatrix(col, row tensor.Axis, block []byte, to int64) error {
	const line = 64
	pitch := col.Step * c.destSize
	most := line / c.size
	if most *= c.piece / (most * pitch); most == 0 {
		most = max(c.piece/pitch, 1)
	}
	transposed := isTransposed
	if n := matchRows(pitch); n > 0 && c.stopEarly {
		most, transposed = n, matchesTransposed
	}
	for i := int64(0); i < col.Size && !c.done(); i += most {
		n := min(most, col.Size-i)
		at := (to + i*col.Step) * c.destSize
		written, err := c.window.read(at, min(n*pitch, c.window.bytes-at)) // whole rows, so that no gap is left
		if err != nil {
			return err
		}
		c.destDigest.Feed(at, written)
		stored := block[i*c.size:]
		if c.rounding == nil && transposed(written, int(pitch), stored, int(row.Stride*c.size), int(row.Size), int(n), int(c.size)) {
			continue
		}
		for k := range n {
			c.compareRun(stored[k*c.size:], row.Stride, written[k*pitch:], 1, row.Size, to+(i+k)*col.Step)
		}
	}
	return nil
}

// compareRun compares n elements that lie stride elements apart in stored and step elements apart in
// written; the first is element to of the destination. It reports whether all are as they should be.
func (c *comparison) compareRun(stored []byte, stride int64, written []byte, step, n, to int64) bool {
	if c.rounding != nil && (c.destSize <= c.size || c.rounding.divisor != 1) && !c.tally.changed.Load() && !c.rounding.keeps(stored, stride*c.size, written, step*c.destSize, n) {
		c.tally.changed.Store(true)
	}
	if c.rounding == nil && stride == 1 && step == 1 {
		if bytes.Equal(stored[:n*c.size], written[:n*c.size]) {
			return true
		}
	} else if c.rounding != nil && step == 1 && c.rounding.allHold(stored, stride*c.size, written[:n*c.destSize]) {
		return true
	}
	if c.stopEarly && stride == 1 && step == 1 {
		c.differs = true
		return false
	}
	first, differing, overflowed, refused := int64(-1), int64(0), int64(0), int64(0)
	for i := range n {
		s, w := stored[i*stride*c.size:][:c.size], written[i*step*c.destSize:][:c.destSize]
		right, infinite := false, false
		if c.rounding == nil {
			right = bytes.Equal(s, w)
		} else {
			right, infinite = c.rounding.holds(s, w)
		}
		if infinite {
			overflowed++
			if right && c.refuseOverflow {
				right = false
				refused++
			}
		}
		if !right {
			if differing++; first < 0 {
				first = i
			}
		}
	}
	if overflowed > 0 {
		c.tally.addOverflowed(overflowed)
	}
	if differing > 0 {
		c.differs = true
		want, got := stored[first*stride*c.size:][:c.size], written[first*step*c.destSize:][:c.destSize]
		c.tally.differ(c.move, differing, refused, to+first*step, want, got)
	}
	return differing == 0
}
