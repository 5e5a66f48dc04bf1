package zarr

import (
	"errors"
	"io"
)

// limits is what a stream may hold at a time.
type limits struct {
	decoders int64 // bytes of the decoders of chunks that are read together
	together int64 // chunks that are read together
	panel    int64 // bytes of a panel
}

var streamLimits = limits{decoders: 64 << 20, together: 256, panel: 32 << 20}

// Stream implements tensor.Data. Each chunk that it meets is decoded once, piece by piece, and at
// its end checked to hold exactly its elements; a chunk that lies across others in row-major order
// is read together with them. A stream holds the decoders of those chunks, up to 64 MiB, or, where
// these would take more or the elements are stored in another order, a panel of 32 MiB. Only
// elements that then do not fit one panel (stored column by column, or next to chunks that need
// more than 64 MiB of decoders) are decoded once for each panel they are part of.
func (a *Array) Stream(off int64) (io.ReadCloser, error) {
	if off < 0 {
		return nil, errors.New("zarr: negative offset")
	}
	return &stream{a: a, locator: newLocator(a), pos: min(off, a.size), bands: newBands(a)}, nil
}

// stream reads an array part by part.
type stream struct {
	a       *Array
	locator *locator
	bands   bands
	pos     int64 // bytes of the array delivered
	part    part
	end     int64  // of part, in bytes of the array
	panel   []byte // storage of the last panel
	scratch []byte // and of what it is picked from
	err     error
}

// part is a run of bytes of the array that is read in one way. It checks its chunks before it
// gives its last byte.
type part interface {
	// read fills p, which is not longer than what is left of the part.
	read(p []byte) error
	// writeTo writes all that is left of the part.
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

// WriteTo implements io.WriterTo, which spares a copy where one chunk follows another.
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

// ready sees to it that there is a part with bytes left; io.EOF at the end of the array.
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

// begin opens the part that holds the next byte.
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

// bands cuts an array into bands: the elements of the chunks that have one place on axis and those
// before it. A band is contiguous in row-major order, for the chunks are one index thick on the
// axes before axis.
type bands struct {
	a       *Array
	axis    int
	row     int64 // bytes of one index of axis
	across  int64 // chunks of a band
	inOrder bool  // chunks are stored in row-major order
	runAxis int   // the elements of one index of the axes before it lie together in a chunk; at least axis
	run     int64 // bytes of one index of runAxis
}

// band is one of them.
type band struct {
	place []int64 // of its first chunk in the grid
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

// at returns the band that holds a byte of the array.
func (b bands) at(pos int64) band {
	a := b.a
	rank := len(a.Shape)
	if rank == 0 {
		return band{end: a.size}
	}
	found := band{place: make([]int64, rank)}
	n := pos / b.row // counts indices of axis, over all axes before it
	index := n % a.Shape[b.axis]
	first := index / a.chunk[b.axis] * a.chunk[b.axis]
	found.start = (n - index + first) * b.row
	found.end = found.start + min(a.chunk[b.axis], a.Shape[b.axis]-first)*b.row
	found.place[b.axis] = index / a.chunk[b.axis]
	n /= a.Shape[b.axis]
	for k := b.axis - 1; k >= 0; k-- {
		found.place[k] = n % a.Shape[k]
		n /= a.Shape[k]
	}
	return found
}

// direct is a band of a single chunk whose elements lie as the array's.
type direct struct {
	chunk *chunk
	left  int64 // bytes of the band
}

func (s *stream) openDirect(b band) (part, error) {
	c, err := s.a.open(s.locator, b.place)
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
