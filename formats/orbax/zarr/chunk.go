package zarr

import (
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// chunk reads the elements of one chunk forward, in the order they are stored, little-endian.
type chunk struct {
	key     string
	size    int64 // bytes of all elements
	pos     int64 // bytes read or passed over
	r       io.Reader
	plain   *io.SectionReader // r itself, where the elements lie uncompressed
	filled  bool              // the chunk is not stored, r is fill without end
	closers []io.Closer
	memory  int64 // bytes that reading takes
}

// open opens the chunk of that place in the grid.
func (a *Array) open(l *locator, place []int64) (*chunk, error) {
	at, err := l.find(place)
	c := &chunk{key: at.key, size: a.leafBytes}
	if err != nil {
		return nil, c.annotate(err)
	}
	if at.section == nil {
		if a.fill == nil || a.everyChunk {
			return nil, c.annotate(bad("chunk is missing"))
		}
		c.r, c.filled = &fillReader{element: a.fill}, true
		return c, nil
	}
	if err := a.decode(c, at.section); err != nil {
		return nil, c.annotate(err)
	}
	return c, nil
}

// decode sets the chunk to read what a section holds.
func (a *Array) decode(c *chunk, section *io.SectionReader) error {
	c.r, c.memory = section, 64<<10
	for i := len(a.leaf.codecs) - 1; i >= 0; i-- {
		decoded := c.size // known where only checksums are added between here and the elements
		for _, inner := range a.leaf.codecs[:i] {
			if decoded += 4; inner.name != "crc32c" {
				decoded = -1
				break
			}
		}
		r := a.leaf.codecs[i].open(c.r, decoded)
		c.closers = append(c.closers, r)
		c.memory += a.leaf.codecs[i].memory
		if m, ok := r.(interface{ Memory() int64 }); ok {
			c.memory += m.Memory()
		}
		c.r = r
	}
	unit := a.DType.SwapUnit()
	switch {
	case a.leaf.bigEndian && unit > 1:
		c.r = &swapped{src: c.r, unit: unit, size: c.size}
		c.memory += 64 << 10
	case len(a.leaf.codecs) > 0:
	case section.Size() != c.size:
		return bad("chunk is %d bytes long, not %d", section.Size(), c.size)
	default:
		c.plain = section
	}
	return nil
}

// buffer puts a buffer before a plain chunk, for reads of few bytes.
func (c *chunk) buffer() {
	if c.plain != nil {
		c.r = &readahead{src: c.plain, buf: make([]byte, 0, min(c.size, 64<<10))}
	}
}

// annotate names the chunk in an error.
func (c *chunk) annotate(err error) error {
	return tensor.Annotate(err, tensor.Location{Record: c.key})
}

// read fills p. Once the chunk's last byte is read, it is checked that nothing follows, so that
// no reader has the whole of a chunk without that.
func (c *chunk) read(p []byte) error {
	n, err := io.ReadFull(c.r, p)
	c.pos += int64(n)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = bad("chunk ends after %d bytes of %d", c.pos, c.size)
	}
	if err == nil && c.pos == c.size {
		err = c.end()
	}
	return c.annotate(err)
}

// skipTo passes over what lies before pos.
func (c *chunk) skipTo(pos int64) error {
	if pos == c.pos {
		return nil
	}
	switch r := c.r.(type) {
	case io.Seeker:
		if _, err := r.Seek(pos, io.SeekStart); err != nil {
			return c.annotate(err)
		}
	case *fillReader:
		r.phase = int(pos % int64(len(r.element)))
	default:
		n, err := io.CopyN(io.Discard, c.r, pos-c.pos)
		c.pos += n
		if err == io.EOF {
			err = bad("chunk ends after %d bytes of %d", c.pos, c.size)
		}
		if err != nil {
			return c.annotate(err)
		}
	}
	c.pos = pos
	return nil
}

// finish reads what is left of the chunk and checks that nothing follows it.
func (c *chunk) finish() error {
	if c.pos == c.size {
		return nil // read has checked it
	}
	if err := c.skipTo(c.size); err != nil {
		return err
	}
	return c.annotate(c.end())
}

// end checks that the encoded stream ends where the elements do.
func (c *chunk) end() error {
	if c.plain != nil || c.filled {
		return nil
	}
	var more [1]byte
	switch _, err := io.ReadFull(c.r, more[:]); err {
	case io.EOF:
		return nil
	case nil:
		return bad("chunk holds more than its %d bytes", c.size)
	default:
		return err
	}
}

// writeTo writes the next n bytes to w and, if finish is set, then does what finish does.
func (c *chunk) writeTo(w io.Writer, n int64, finish bool) (int64, error) {
	from, ok := c.r.(io.WriterTo)
	if !ok || c.plain != nil || !finish {
		return c.copyTo(w, n, finish)
	}
	s := &span{w: w, left: n}
	_, err := from.WriteTo(s)
	c.pos += s.seen
	switch {
	case err != nil:
	case c.pos < c.size:
		err = bad("chunk ends after %d bytes of %d", c.pos, c.size)
	case c.pos > c.size:
		err = bad("chunk holds more than its %d bytes", c.size)
	}
	return n - s.left, c.annotate(err)
}

// copyTo is writeTo through a buffer.
func (c *chunk) copyTo(w io.Writer, n int64, finish bool) (int64, error) {
	buf := make([]byte, min(n, 256<<10))
	for done := int64(0); ; {
		part := buf[:min(n-done, int64(len(buf)))]
		if len(part) == 0 {
			return done, nil
		}
		err := c.read(part)
		if err == nil && finish && done+int64(len(part)) == n {
			err = c.finish()
		}
		if err != nil {
			return done, err
		}
		m, err := w.Write(part)
		done += int64(m)
		if err != nil {
			return done, err
		}
	}
}

func (c *chunk) close() {
	for i := len(c.closers) - 1; i >= 0; i-- {
		c.closers[i].Close()
	}
	c.closers = nil
}

// span passes the first bytes written to it on and counts them all.
type span struct {
	w    io.Writer
	left int64
	seen int64
}

func (s *span) Write(p []byte) (int, error) {
	s.seen += int64(len(p))
	if s.left == 0 {
		return len(p), nil
	}
	n, err := s.w.Write(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err != nil {
		return n, err
	}
	return len(p), nil
}

// readahead buffers a section and can seek within it.
type readahead struct {
	src   *io.SectionReader
	buf   []byte
	start int64 // place of buf in src
	pos   int64
}

func (r *readahead) Seek(offset int64, _ int) (int64, error) {
	r.pos = offset
	return offset, nil
}

func (r *readahead) Read(p []byte) (int, error) {
	if at := r.pos - r.start; at < 0 || at >= int64(len(r.buf)) {
		if len(p) >= cap(r.buf) {
			n, err := r.src.ReadAt(p, r.pos)
			r.pos += int64(n)
			return n, err
		}
		n, err := r.src.ReadAt(r.buf[:cap(r.buf)], r.pos)
		r.buf, r.start = r.buf[:n], r.pos
		if n == 0 {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.pos-r.start:])
	r.pos += int64(n)
	return n, nil
}

// fillReader repeats an element without end.
type fillReader struct {
	element []byte
	phase   int
}

func (f *fillReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m := copy(p[n:], f.element[f.phase:])
		n += m
		f.phase = (f.phase + m) % len(f.element)
		if f.phase == 0 && n >= len(f.element) {
			break
		}
	}
	for n < len(p) { // double the whole elements that there are
		whole := n / len(f.element) * len(f.element)
		m := copy(p[n:], p[n-whole:n])
		n += m
		f.phase = m % len(f.element)
	}
	return n, nil
}
