package zarr

import (
	"errors"
	"io"
)

// limits bound the memory of a stream.
type limits struct {
	decoders int64 // bytes of the decoders of interleaved chunks
	together int64 // number of interleaved chunks
	panel    int64 // bytes of a panel
}

var streamLimits = limits{decoders: 64 << 20, together: 256, panel: 32 << 20}

// Stream implements tensor.Data. It decodes each chunk once, piece by piece, and checks at the end that the chunk
// holds exactly its elements. Chunks whose elements alternate in row-major order are read together. The memory of a
// stream is the decoders of those chunks, up to 64 MiB. If they take more, or if the elements are stored in another
// order, it is a panel of 32 MiB; then a chunk is decoded once for each panel that has some of its elements.
func (a *Array) Stream(off int64) (io.ReadCloser, error) {
	if off < 0 {
		return nil, errors.New("zarr: negative offset")
	}
	return &stream{a: a, locator: newLocator(a), pos: min(off, a.size), bands: newBands(a)}, nil
}

// NextPart implements tensor.Divided: the first byte of the next band.
func (a *Array) NextPart(off int64) int64 {
	b := newBands(a)
	if !b.inOrder || off >= a.size {
		return a.size
	}
	return b.at(max(off, 0)).end
}

// stream reads an array part after part.
type stream struct {
	a       *Array
	locator *locator
	bands   bands
	pos     int64 // bytes of the array that were read
	part    part
	end     int64  // byte of the array after part
	panel   []byte // memory of the last panel
	scratch []byte // memory of the part of a chunk that it is selected from
	err     error
}

// part is a range of bytes of the array that is read in one way. It checks its chunks before it returns its last
// byte.
type part interface {
	// read fills p, which is not longer than the rest of the part.
	read(p []byte) error
	// writeTo writes the rest of the part.
	writeTo(w io.Writer) (int64, error)
	close()
}

func (s *stream) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if err := s.ready(); err != nil {
			if n > 0 && err == io.EOF {
				err = nil
			}
			return n, err
		}
		m := min(int64(len(p)-n), s.end-s.pos)
		if err := s.part.read(p[n : n+int(m)]); err != nil {
			return n, s.fail(err)
		}
		n += int(m)
		s.pos += m
	}
	return n, nil
}

// WriteTo implements io.WriterTo. It saves a copy if chunks are consecutive in the array.
func (s *stream) WriteTo(w io.Writer) (int64, error) {
	total := int64(0)
	for {
		if err := s.ready(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := s.part.writeTo(w)
		total += n
		s.pos += n
		if err == nil && s.pos != s.end {
			err = io.ErrShortWrite
		}
		if err != nil {
			return total, s.fail(err)
		}
	}
}

func (s *stream) Close() error {
	s.fail(errClosed)
	return nil
}

var errClosed = errors.New("zarr: read after close")

func (s *stream) fail(err error) error {
	if s.err == nil {
		s.err = err
	}
	if s.part != nil {
		s.part.close()
		s.part = nil
	}
	s.panel, s.scratch = nil, nil
	return s.err
}

// ready ensures that part has bytes left. It returns io.EOF at the end of the array.
func (s *stream) ready() error {
	if s.err != nil {
		return s.err
	}
	if s.part != nil && s.pos < s.end {
		return nil
	}
	if s.part != nil {
		s.part.close()
		s.part = nil
	}
	if s.pos == s.a.size {
		return s.fail(io.EOF)
	}
	if err := s.begin(); err != nil {
		return s.fail(err)
	}
	return nil
}

// begin opens the part with the next byte.
func (s *stream) begin() error {
	b := s.bands.at(s.pos)
	var err error
	if s.bands.runAxis == s.bands.axis && s.bands.inOrder {
		s.part, err = s.openDirect(b)
		s.end = b.end
		return err
	}
	if s.bands.inOrder && s.bands.across <= s.a.limits.together {
		s.part, err = s.openTogether(b)
		s.end = b.end
		if s.part != nil || err != nil {
			return err
		}
	}
	p, err := s.openPanel(b)
	if err != nil {
		return err
	}
	s.part, s.end = p, p.end
	return nil
}

// bands divides an array into bands. A band is the elements of the chunks with the same cell index along axis and
// the axes before it. It is contiguous in row-major order, since the chunks have size 1 along the axes before axis.
type bands struct {
	a       *Array
	axis    int
	row     int64 // size of one index of axis in bytes
	across  int64 // number of chunks in a band
	inOrder bool  // chunks are stored in row-major order
	runAxis int   // first axis, from axis on, such that chunks have all elements along the axes after it
	run     int64 // size of one index of runAxis in bytes
}

// band is a band of an array.
type band struct {
	cell  []int64 // of its first chunk
	start int64   // bytes of the array
	end   int64
}

func newBands(a *Array) bands {
	b := bands{a: a, inOrder: true, row: a.DType.Size(), run: a.DType.Size(), across: 1}
	rank := len(a.Shape)
	for j, axis := range a.leaf.axes {
		b.inOrder = b.inOrder && j == axis
	}
	if rank == 0 {
		return b
	}
	for b.axis < rank-1 && a.chunk[b.axis] == 1 {
		b.axis++
	}
	for k := b.axis + 1; k < rank; k++ {
		b.row *= a.Shape[k]
		b.across *= a.grid[k]
	}
	b.runAxis = rank - 1
	for b.runAxis > b.axis && a.chunk[b.runAxis] == a.Shape[b.runAxis] {
		b.run *= a.Shape[b.runAxis]
		b.runAxis--
	}
	return b
}

// at returns the band with a byte of the array.
func (b bands) at(pos int64) band {
	a := b.a
	rank := len(a.Shape)
	if rank == 0 {
		return band{end: a.size}
	}
	found := band{cell: make([]int64, rank)}
	n := pos / b.row // number of the index of axis, over all axes before it
	index := n % a.Shape[b.axis]
	first := index / a.chunk[b.axis] * a.chunk[b.axis]
	found.start = (n - index + first) * b.row
	found.end = found.start + min(a.chunk[b.axis], a.Shape[b.axis]-first)*b.row
	found.cell[b.axis] = index / a.chunk[b.axis]
	n /= a.Shape[b.axis]
	for k := b.axis - 1; k >= 0; k-- {
		found.cell[k] = n % a.Shape[k]
		n /= a.Shape[k]
	}
	return found
}

// direct is a band of a single chunk, whose elements are in the order of the array.
type direct struct {
	chunk *chunk
	left  int64 // bytes left of the band
}

func (s *stream) openDirect(b band) (part, error) {
	c, err := s.a.open(s.locator, b.cell)
	if err != nil {
		return nil, err
	}
	if err := c.skipTo(s.pos - b.start); err != nil {
		c.close()
		return nil, err
	}
	return &direct{chunk: c, left: b.end - s.pos}, nil
}

func (d *direct) read(p []byte) error {
	if err := d.chunk.read(p); err != nil {
		return err
	}
	if d.left -= int64(len(p)); d.left == 0 {
		return d.chunk.finish()
	}
	return nil
}

func (d *direct) writeTo(w io.Writer) (int64, error) { return d.chunk.writeTo(w, d.left, true) }

func (d *direct) close() { d.chunk.close() }
