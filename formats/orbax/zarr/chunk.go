package zarr

import (
	"errors"
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// chunk reads the elements of a chunk in the order in which they are stored, little-endian.
type chunk struct {
	file    string // path of the store, for errors
	key     string
	size    int64 // bytes of all elements
	pos     int64 // bytes read or skipped
	r       io.Reader
	plain   *io.SectionReader // r if the elements are uncompressed, else nil
	filled  bool              // the chunk is not stored, r repeats the fill value
	closers []io.Closer
	memory  int64 // bytes of memory that reading takes
}

// open opens the chunk of a cell of the grid.
func (a *Array) open(l *locator, cell []int64) (*chunk, error) {
	at, err := l.find(cell)
	c := &chunk{file: a.file, key: at.key, size: a.leafBytes}
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

// decode sets the reader of a chunk that is stored in a section.
func (a *Array) decode(c *chunk, section *io.SectionReader) error {
	c.r, c.memory = section, 64<<10
	for i := len(a.leaf.codecs) - 1; i >= 0; i-- {
		decoded := c.size // known if only checksums follow on the way to the elements
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
		c.r = &byteSwapper{src: c.r, unit: unit, size: c.size}
		c.memory += 64 << 10
	case len(a.leaf.codecs) > 0:
	case section.Size() != c.size:
		return bad("chunk has %d bytes, not %d", section.Size(), c.size)
	default:
		c.plain = section
	}
	return nil
}

// buffer buffers an uncompressed chunk, for small reads.
func (c *chunk) buffer() {
	if c.plain != nil {
		c.r = &readahead{src: c.plain, buf: make([]byte, 0, min(c.size, 64<<10))}
	}
}

// annotate names the store and the chunk in an error, and says what to do about one that is damaged.
func (c *chunk) annotate(err error) error {
	if bad := (*tensor.FormatError)(nil); errors.As(err, &bad) && bad.Hint == "" {
		bad.Advise("the checkpoint is damaged: download or copy it again")
	}
	return tensor.Annotate(err, tensor.Location{File: c.file, Record: c.key})
}

// read fills p. With the last byte of the chunk it checks that nothing follows.
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

// skipTo skips the bytes before pos.
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

// finish skips the rest of the chunk and checks that nothing follows it.
func (c *chunk) finish() error {
	if c.pos == c.size {
		return nil // read has checked it
	}
	if err := c.skipTo(c.size); err != nil {
		return err
	}
	return c.annotate(c.end())
}

// end checks that the encoded stream ends with the elements.
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

// writeTo writes the next n bytes to w. With finish it then finishes the chunk.
func (c *chunk) writeTo(w io.Writer, n int64, finish bool) (int64, error) {
	from, ok := c.r.(io.WriterTo)
	if !ok || c.plain != nil || !finish {
		return c.copyTo(w, n, finish)
	}
	s := &prefixWriter{w: w, left: n, most: c.size - c.pos}
	_, err := from.WriteTo(s)
	c.pos += s.seen
	switch {
	case err != nil:
	case c.pos < c.size:
		err = bad("chunk ends after %d bytes of %d", c.pos, c.size)
	}
	if err == errTooLong {
		err = bad("chunk holds more than its %d bytes", c.size)
	}
	return n - s.left, c.annotate(err)
}

// copyTo does writeTo with a buffer.
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

// prefixWriter passes on the first bytes that are written to it, and counts all bytes. It fails at the first byte after
// most.
type prefixWriter struct {
	w    io.Writer
	left int64
	seen int64
	most int64
}

var errTooLong = errors.New("zarr: more bytes than the chunk has")

func (s *prefixWriter) Write(p []byte) (int, error) {
	s.seen += int64(len(p))
	if s.seen > s.most {
		return 0, errTooLong
	}
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

// readahead buffers a section. It implements io.Seeker.
type readahead struct {
	src   *io.SectionReader
	buf   []byte
	start int64 // offset of buf in src
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

// fillReader repeats an element endlessly.
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
	for n < len(p) { // double the number of elements
		whole := n / len(f.element) * len(f.element)
		m := copy(p[n:], p[n-whole:n])
		n += m
		f.phase = m % len(f.element)
	}
	return n, nil
}
