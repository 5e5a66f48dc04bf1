package convert

import (
	"fmt"
	"hash/crc32"
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// input is a source while it is being read: its stream, and its checksum.
type input struct {
	cursor
	sums *summing // nil where the checksum, if any, is not computed on the way
}

// begin checks the source's checksum, unless that can be done on the way.
func (in *input) begin() error {
	if s, ok := in.source.Data.(tensor.Summed); ok {
		if lay, ok, err := tensor.Layout(in.source); ok && err == nil {
			in.sums = &summing{ReaderAt: lay.Store, of: s}
			in.sums.next, in.sums.left, in.sums.want = s.Checksum()
			return nil
		}
	}
	if c, ok := in.source.Data.(tensor.Checker); ok {
		return c.Check()
	}
	return nil
}

// watch returns the store through which the source is to be read.
func (in *input) watch(store io.ReaderAt) io.ReaderAt {
	if in.sums != nil {
		store = in.sums
	}
	if lay, ok, err := tensor.Layout(in.source); ok && err == nil && in.sum != nil {
		if first, length, ok := lay.Contiguous(); ok {
			store = &hashing{store, in.sum, first, length}
		}
	}
	return store
}

// hashing hashes a range of a store as it is read: the elements of a tensor that lies there in order.
type hashing struct {
	io.ReaderAt
	sum           *runningSum
	first, length int64
}

func (h *hashing) ReadAt(p []byte, off int64) (int, error) {
	n, err := h.ReaderAt.ReadAt(p, off)
	if at := off - h.first; at >= 0 && at < h.length {
		h.sum.feed(at, p[:min(int64(n), h.length-at)])
	}
	return n, err
}

// end reports what only the end of the source tells: of its stream, or a wrong checksum.
func (in *input) end() error {
	if err := in.checkEnd(); err != nil || in.sums == nil {
		return err
	}
	if in.sums.left == 0 && in.sums.crc == in.sums.want {
		in.sums.of.Passed()
		return nil
	}
	whole := in.sums.left == 0
	if err := in.sums.of.Check(); err != nil || !whole {
		return err
	}
	return tensor.Bad("the file changes while it is being read")
}

// summing computes the checksum of a range of a store that is read in order, as nearly all are.
type summing struct {
	io.ReaderAt
	of         tensor.Summed
	next, left int64 // bytes that are not summed yet
	crc, want  uint32
}

func (s *summing) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.ReaderAt.ReadAt(p, off)
	if off == s.next {
		k := min(int64(n), s.left)
		s.crc = crc32.Update(s.crc, crc32.IEEETable, p[:k])
		s.next += k
		s.left -= k
	}
	return n, err
}

// cursor is a tensor's stream and how far it has been read.
type cursor struct {
	source   *tensor.Tensor
	sum      *runningSum // of what is read; nil where nobody asks
	r        io.ReadCloser
	position int64
}

// at returns the stream at a byte offset. It starts again only if it has to go back.
func (c *cursor) at(offset int64, scratch []byte) (io.Reader, error) {
	if c.r == nil || c.position > offset {
		c.close()
		r, err := c.source.Data.Stream(offset)
		if err != nil {
			return nil, err
		}
		c.r, c.position = r, offset
	}
	if err := skip(c, offset-c.position, scratch); err != nil {
		return nil, err
	}
	return c, nil
}

// Read reads the stream and keeps its position.
func (c *cursor) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.sum.feed(c.position, p[:n])
	c.position += int64(n)
	return n, err
}

// checkEnd reads the end of a stream that has been read up to there, where compressed data holds
// its checksums.
func (c *cursor) checkEnd() error {
	if c.r == nil || c.position != c.source.Bytes() {
		return nil
	}
	var more [1]byte
	switch n, err := io.ReadFull(c.r, more[:]); {
	case n > 0:
		return fmt.Errorf("reader gives more than the %d bytes of %s", c.source.Bytes(), c.source.Name)
	case err != io.EOF:
		return err
	}
	return nil
}

func (c *cursor) close() {
	if c.r != nil {
		c.r.Close()
		c.r = nil
	}
}

// skip reads n bytes of r and forgets them.
func skip(r io.Reader, n int64, scratch []byte) error {
	for n > 0 {
		k := min(n, int64(len(scratch)))
		if err := tensor.ReadFull(r, scratch[:k]); err != nil {
			return err
		}
		n -= k
	}
	return nil
}
