package orbax

import (
	"errors"
	"io"

	"github.com/griffin-ckpt/griffin/formats/orbax/zarr"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// Chunks of a large array are compressed at the same time, so that one array does not keep one processor busy after all others are
// written. Each of the goroutines that do so is lent to one array until a chunk is stored.
const (
	mostCompressors = 4
	fewestAhead     = 4        // chunks of an array that is large enough
	largestAhead    = 10 << 20 // bytes of a chunk with its padding
)

// compressor compresses chunks in memory, one at a time.
type compressor struct {
	elements, encoded *storage.Buffer
	filled            int // bytes of elements
	encoder           *zarr.Encoder
	chunk, length     int64
	done              <-chan error
}

// newCompressors returns the compressors of a Writer, whose memory is allocated when they are used: nil with one processor.
func newCompressors() chan *compressor {
	n := min(task.Processors(), mostCompressors)
	if n == 1 {
		return nil
	}
	all := make(chan *compressor, n)
	for range n {
		all <- &compressor{}
	}
	return all
}

// Memory returns how many bytes of memory the compressors of large arrays take.
func (w *Writer) Memory() int64 {
	for _, a := range w.layout.arrays {
		if w.compressors != nil && a.isCompressedAhead() {
			return int64(cap(w.compressors)) * (2*largestAhead + compressorBytes)
		}
	}
	return 0
}

// compressorBytes is what an encoder takes.
const compressorBytes = 3 << 20

// isCompressedAhead reports whether several chunks may be compressed at the same time.
func (a *newArray) isCompressedAhead() bool {
	return a.Compress && a.Chunks() >= fewestAhead && a.mostOfChunk() <= largestAhead
}

// mostOfChunk bounds the size of a chunk, compressed or not.
func (a *newArray) mostOfChunk() int64 {
	elements, padding := a.Run(0)
	return elements + padding + (elements+padding)/128 + overhead
}

// begin prepares for the elements of a chunk of an array.
func (c *compressor) begin(a *newArray, chunk int64) (err error) {
	if c.elements == nil {
		if c.elements, err = storage.NewBuffer(largestAhead); err != nil {
			return err
		}
		if c.encoded, err = storage.NewBuffer(largestAhead); err != nil {
			return err
		}
	}
	c.filled, c.chunk = 0, chunk
	c.encoder, err = a.NewEncoder()
	return err
}

// start begins to compress the elements.
func (c *compressor) start() {
	c.done = task.Start(func() (err error) {
		defer c.encoder.Release()
		c.encoder.Begin(&limitedBuffer{c.encoded.Bytes, 0}, c.chunk)
		if _, err = c.encoder.Write(c.elements.Bytes[:c.filled]); err == nil {
			c.length, err = c.encoder.End()
		}
		return err
	})
}

// free gives the memory back. The compressor must not be at work.
func (c *compressor) free() error {
	return errors.Join(c.elements.Free(), c.encoded.Free())
}

// limitedBuffer is a writer into memory.
type limitedBuffer struct {
	p []byte
	n int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if len(p) > len(b.p)-b.n {
		return 0, io.ErrShortBuffer
	}
	b.n += copy(b.p[b.n:], p)
	return len(p), nil
}

// ahead returns a compressor for the next chunk, or nil if the sink's goroutine has to compress that itself, because all of them are
// lent to other arrays.
func (s *sink) ahead() (*compressor, error) {
	if s.w.compressors == nil || !s.array.isCompressedAhead() {
		return nil, nil
	}
	for {
		select {
		case c := <-s.w.compressors:
			err := c.begin(s.array, s.next)
			if err != nil {
				s.w.compressors <- c
				c = nil
			}
			return c, err
		default:
		}
		if len(s.started) == 0 {
			return nil, nil
		}
		if err := s.storeOldest(); err != nil {
			return nil, err
		}
	}
}

// storeOldest waits for the first chunk that is being compressed, stores it and gives its compressor back.
func (s *sink) storeOldest() error {
	c := s.started[0]
	s.started = s.started[1:]
	defer func() { s.w.compressors <- c }()
	if err := <-c.done; err != nil {
		return err
	}
	out, err := s.out.begin(c.chunk)
	if err != nil {
		return err
	}
	if _, err := out.Write(c.encoded.Bytes[:c.length]); err != nil {
		return err
	}
	x, err := s.out.end(c.length)
	s.stored = append(s.stored, x)
	return err
}

// storeAll stores all chunks that are being compressed.
func (s *sink) storeAll() error {
	for len(s.started) > 0 {
		if err := s.storeOldest(); err != nil {
			return err
		}
	}
	return nil
}

// abandon gives the compressors back without storing anything.
func (s *sink) abandon() {
	if c := s.filling; c != nil {
		c.encoder.Release()
		s.w.compressors <- c
	}
	for _, c := range s.started {
		<-c.done
		s.w.compressors <- c
	}
	s.filling, s.started = nil, nil
}
