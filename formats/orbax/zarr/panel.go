package zarr

import (
	"encoding/binary"
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// panel is a box of the array that is assembled in memory, chunk by chunk.
type panel struct {
	lo, hi []int64 // the box: first and last+1 index along each axis
	end    int64   // byte of the array after the panel
	data   []byte  // not yet read
}

// openPanel assembles the band or, if it exceeds the limit, the part from the next element on that fits.
func (s *stream) openPanel(b band) (*panel, error) {
	p := s.box(b)
	start := b.start
	if b.end-b.start > s.a.limits.panel {
		start = s.pos / s.a.DType.Size() * s.a.DType.Size()
	}
	size := s.a.DType.Size()
	for k := range p.lo {
		size *= p.hi[k] - p.lo[k]
	}
	s.panel = sized(s.panel, size)
	p.data, p.end = s.panel, start+size
	if err := s.fill(p); err != nil {
		return nil, err
	}
	p.data = p.data[s.pos-start:]
	return p, nil
}

// box returns the box of a panel: the band, or from the next element on a range of one axis, a single index of
// each axis before it and all of each axis after it.
func (s *stream) box(b band) *panel {
	a := s.a
	rank := len(a.Shape)
	p := &panel{lo: make([]int64, rank), hi: make([]int64, rank)}
	copy(p.hi, a.Shape)
	for k := range s.bands.axis {
		p.lo[k], p.hi[k] = b.cell[k], b.cell[k]+1
	}
	axis := s.bands.axis
	p.lo[axis] = b.cell[axis] * a.chunk[axis]
	p.hi[axis] = min(p.lo[axis]+a.chunk[axis], a.Shape[axis])
	if b.end-b.start <= a.limits.panel {
		return p
	}
	index := make([]int64, rank)
	rest := s.pos / a.DType.Size()
	for k := rank - 1; k >= 0; k-- {
		index[k], rest = rest%a.Shape[k], rest/a.Shape[k]
	}
	inner, k := a.DType.Size(), rank-1 // size of one index of axis k in bytes
	for ; k > axis && index[k] == 0 && inner*a.Shape[k] <= a.limits.panel; k-- {
		inner *= a.Shape[k]
	}
	copy(p.lo[:k+1], index)
	n := min(p.hi[k]-index[k], max(a.limits.panel/inner, 1))
	if over := (index[k] + n) % a.chunk[k]; over < n && index[k]+n < p.hi[k] {
		n -= over // end with a chunk
	}
	p.hi[k] = index[k] + n
	for j := range k {
		p.hi[j] = index[j] + 1
	}
	return p
}

// fill reads the elements of the box from all chunks.
func (s *stream) fill(p *panel) error {
	a := s.a
	rank := len(a.Shape)
	first, count, cell := make([]int64, rank), make([]int64, rank), make([]int64, rank)
	for k := range rank {
		first[k] = p.lo[k] / a.chunk[k]
		count[k] = (p.hi[k]-1)/a.chunk[k] - first[k] + 1
	}
	offset := make([]int64, rank)
	for more := true; more; more = next(offset, count) {
		for k := range rank {
			cell[k] = first[k] + offset[k]
		}
		if err := s.fillFrom(p, cell); err != nil {
			return err
		}
	}
	return nil
}

// fillFrom reads the elements of the box that are in one chunk. If they include its last element, it checks the
// end of the chunk.
func (s *stream) fillFrom(p *panel, cell []int64) error {
	a := s.a
	c, err := a.open(s.locator, cell)
	if err != nil {
		return err
	}
	defer c.close()
	t := a.transfer(p, cell)
	t.scratch = s.scratch
	defer func() { s.scratch = t.scratch }()
	if t.run().count*a.DType.Size() < bufferedRun {
		c.buffer()
	}
	if err := t.walk(c, p.data, 0, t.from, t.to); err != nil {
		return err
	}
	if t.whole {
		return c.finish()
	}
	return nil
}

// transfer is the elements that are both in a chunk and in a box, as nested loops. The innermost loop is a run of
// consecutive elements of the chunk.
type transfer struct {
	loops    []loop
	from, to int64 // first element in the chunk and in the box
	size     int64 // bytes of an element
	whole    bool  // they include the last element of the chunk that is in the array
	scratch  []byte
}

// loop is a number of elements with their distances in the chunk and in the box.
type loop struct{ count, from, to int64 }

func (t *transfer) run() loop { return t.loops[len(t.loops)-1] }

// transfer returns the elements of a box that are in the chunk of a cell.
func (a *Array) transfer(p *panel, cell []int64) *transfer {
	rank := len(a.Shape)
	lengths := make([]int64, rank)
	for k := range lengths {
		lengths[k] = p.hi[k] - p.lo[k]
	}
	inChunk := tensor.RowMajor(a.leaf.stored(a.chunk)...).Strides
	inBox := tensor.RowMajor(lengths...).Strides
	t := &transfer{size: a.DType.Size(), whole: true}
	for j, k := range a.leaf.axes {
		start := cell[k] * a.chunk[k]
		lo, hi := max(p.lo[k], start), min(p.hi[k], start+a.chunk[k])
		t.whole = t.whole && hi == min(start+a.chunk[k], a.Shape[k])
		t.from += (lo - start) * inChunk[j]
		t.to += (lo - p.lo[k]) * inBox[k]
		t.add(loop{hi - lo, inChunk[j], inBox[k]})
	}
	if len(t.loops) == 0 || t.run().from != 1 {
		t.loops = append(t.loops, loop{1, 1, 1})
	}
	return t
}

// add adds an inner loop. It joins the loop with the last one if the two are one run.
func (t *transfer) add(l loop) {
	if l.count == 1 {
		return
	}
	if n := len(t.loops); n > 0 {
		outer := &t.loops[n-1]
		if outer.from == l.count*l.from && outer.to == l.count*l.to {
			*outer = loop{outer.count * l.count, l.from, l.to}
			return
		}
	}
	t.loops = append(t.loops, l)
}

// scratchBytes bounds the part of a chunk that is read at once to select elements from.
const scratchBytes = 256 << 10

// directRun is the size in bytes from which a run is read directly into the box.
const directRun = 512

// walk reads the elements of the loops from depth on. They begin at element from of the chunk and at element to of
// the box.
func (t *transfer) walk(c *chunk, box []byte, depth int, from, to int64) error {
	l := t.loops[depth]
	last := depth == len(t.loops)-1
	run := t.run()
	if last && l.to == 1 {
		if err := c.skipTo(from * t.size); err != nil {
			return err
		}
		return c.read(box[to*t.size : (to+l.count)*t.size])
	}
	piece := l.count // iterations that are read at once
	if span := t.span(depth + 1); (l.count-1)*l.from+span > scratchBytes/t.size {
		piece = (scratchBytes/t.size-span)/l.from + 1
	}
	if !last && (piece < 2 || run.to == 1 && run.count*t.size >= directRun) {
		for i := range l.count {
			if err := t.walk(c, box, depth+1, from+i*l.from, to+i*l.to); err != nil {
				return err
			}
		}
		return nil
	}
	for done := int64(0); done < l.count; done += piece {
		n := min(piece, l.count-done)
		if err := t.pick(c, box, depth, n, from+done*l.from, to+done*l.to); err != nil {
			return err
		}
	}
	return nil
}

// span returns how many elements of the chunk the loops from depth on extend over.
func (t *transfer) span(depth int) int64 {
	n := int64(1)
	for _, l := range t.loops[depth:] {
		n += (l.count - 1) * l.from
	}
	return n
}

// pick reads the part of the chunk that n iterations of a loop extend over, and copies the wanted elements.
func (t *transfer) pick(c *chunk, box []byte, depth int, n, from, to int64) error {
	l := t.loops[depth]
	t.scratch = sized(t.scratch, ((n-1)*l.from+t.span(depth+1))*t.size)
	src := t.scratch
	if err := c.skipTo(from * t.size); err != nil {
		return err
	}
	if err := c.read(src); err != nil {
		return err
	}
	loops := append([]loop{{n, l.from, l.to}}, t.loops[depth+1:]...)
	for i := range loops {
		loops[i].from *= t.size
		loops[i].to *= t.size
	}
	scatter(box[to*t.size:], src, loops, int(t.size))
	return nil
}

// scatter copies elements from src to dst in nested loops, whose distances are in bytes.
func scatter(dst, src []byte, loops []loop, size int) {
	l := loops[0]
	if len(loops) > 1 {
		for i := range l.count {
			scatter(dst[i*l.to:], src[i*l.from:], loops[1:], size)
		}
		return
	}
	if l.from == int64(size) && l.to == l.from {
		copy(dst[:l.count*l.to], src)
		return
	}
	switch size {
	case 2:
		for i := range l.count {
			binary.LittleEndian.PutUint16(dst[i*l.to:], binary.LittleEndian.Uint16(src[i*l.from:]))
		}
	case 4:
		for i := range l.count {
			binary.LittleEndian.PutUint32(dst[i*l.to:], binary.LittleEndian.Uint32(src[i*l.from:]))
		}
	default:
		for i := range l.count {
			copy(dst[i*l.to:][:size], src[i*l.from:][:size])
		}
	}
}

func (p *panel) read(b []byte) error {
	p.data = p.data[copy(b, p.data):]
	return nil
}

func (p *panel) writeTo(w io.Writer) (int64, error) {
	n, err := w.Write(p.data)
	p.data = p.data[n:]
	return int64(n), err
}

func (p *panel) close() {}
