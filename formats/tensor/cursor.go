package tensor

import (
	"fmt"
	"io"
)

// Cursor reads a tensor through one stream, for callers that read at ascending offsets: data that
// has to be decoded is decoded once. It is for use by one goroutine.
type Cursor struct {
	t        *Tensor
	stream   io.ReadCloser // nil before the first read
	position int64         // byte that stream gives next
}

// NewCursor returns a Cursor over the bytes of t.
func NewCursor(t *Tensor) *Cursor { return &Cursor{t: t} }

// ReadAt fills p with the elements' bytes from off on. Bytes between the last read and off are read
// and dropped; an off before the end of the last read opens a new stream. Data that ends before p is
// full is a *FormatError.
func (c *Cursor) ReadAt(p []byte, off int64) (int, error) {
	if c.stream == nil || off < c.position {
		if err := c.Close(); err != nil {
			return 0, err
		}
		stream, err := c.t.Data.Stream(off)
		if err != nil {
			return 0, err
		}
		c.stream, c.position = stream, off
	}
	skipped, err := io.CopyN(io.Discard, c.stream, off-c.position)
	c.position += skipped
	if err != nil {
		return 0, ShortRead(err)
	}
	n, err := io.ReadFull(c.stream, p)
	c.position += int64(n)
	return n, ShortRead(err)
}

// Finish reports what only the end of the stream shows: compressed data may hold its checksums
// there. It does nothing unless the last element was read.
func (c *Cursor) Finish() error {
	if c.stream == nil || c.position != c.t.Bytes() {
		return nil
	}
	var more [1]byte
	switch n, err := io.ReadFull(c.stream, more[:]); {
	case n > 0:
		return fmt.Errorf("reader gives more than the %d bytes of %s", c.t.Bytes(), c.t.Name)
	case err != io.EOF:
		return err
	}
	return nil
}

// Close closes the stream. A later read opens another.
func (c *Cursor) Close() error {
	if c.stream == nil {
		return nil
	}
	err := c.stream.Close()
	c.stream = nil
	return err
}

// ReadFullAt fills p from offset off of r. A reader that ends before is a *FormatError with the offset.
func ReadFullAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF || err == nil {
		return Bad("data ends %d bytes early", len(p)-n).At(off + int64(n))
	}
	return err
}

// ReadFull fills p from a stream of elements. A stream that ends early is a *FormatError.
func ReadFull(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	return ShortRead(err)
}

// ShortRead returns err, or a *FormatError if err is the end of a stream that should have given more
// elements: io.EOF or io.ErrUnexpectedEOF.
func ShortRead(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return Bad("the elements end early")
	}
	return err
}
