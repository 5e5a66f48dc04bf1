package orbax

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"github.com/griffin-ckpt/griffin/formats/orbax/zarr"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// sink stores the elements of one array chunk by chunk.
type sink struct {
	w       *Writer
	i       int
	array   *newArray
	encoder *zarr.Encoder
	out     chunkStore
	next    int64 // chunk
	open    bool  // the chunk before next is being written
	stored  []extent
	err     error // of an earlier write, after which nothing is written

	filling *compressor   // has the elements of the chunk before next, if others compress it
	started []*compressor // of the chunks before that, in order
}

// chunkStore stores the chunks of one array.
type chunkStore interface {
	begin(chunk int64) (io.Writer, error)
	end(length int64) (extent, error)
	close() error // after the last chunk or an error
}

// Sink returns a writer for all bytes of tensor i, in row-major order. Closing it completes the tensor. A
// Sink is for one goroutine, but several may be in use. Each takes up to 4 MiB of memory.
func (w *Writer) Sink(i int) (io.WriteCloser, error) {
	a := w.layout.arrays[i]
	encoder, err := a.NewEncoder()
	if err != nil {
		return nil, err
	}
	s := &sink{w: w, i: i, array: a, encoder: encoder}
	switch {
	case !w.layout.ocdbt:
		s.out = &chunkFiles{dir: w.path(filepath.FromSlash(a.name)), array: a, w: w}
	case isSpooled(a):
		s.out = &spooled{spool: w.spool, most: a.mostEncoded()}
	default:
		f, err := w.made.Create(w.data(strconv.Itoa(i)))
		if err != nil {
			encoder.Release()
			return nil, err
		}
		s.out = &dataFile{file: f}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sinks[s] = true
	return s, nil
}

func (s *sink) Write(p []byte) (int, error) {
	done := 0
	for s.err == nil && done < len(p) {
		if !s.open {
			if s.err = s.begin(); s.err != nil {
				break
			}
		}
		if s.filling != nil {
			done += s.fill(p[done:])
			continue
		}
		n, err := s.encoder.Write(p[done : done+int(min(int64(len(p)-done), s.encoder.Left()))])
		done += n
		if s.err = err; err == nil && s.encoder.Left() == 0 {
			s.err = s.end()
		}
	}
	return done, s.err
}

// begin begins the next chunk.
func (s *sink) begin() error {
	if s.next >= s.array.Chunks() {
		return fmt.Errorf("tensor %s has more than its %d bytes", s.array.name, s.array.Bytes)
	}
	var err error
	if s.filling, err = s.ahead(); err != nil {
		return err
	}
	if s.filling != nil {
		s.next++
		s.open = true
		return nil
	}
	if err := s.storeAll(); err != nil {
		return err
	}
	out, err := s.out.begin(s.next)
	if err != nil {
		return err
	}
	s.encoder.Begin(out, s.next)
	s.next++
	s.open = true
	return nil
}

// fill adds elements to a chunk that others compress, and returns how many bytes it took.
func (s *sink) fill(p []byte) int {
	c := s.filling
	elements, _ := s.array.Run(c.chunk)
	n := copy(c.elements.Bytes[c.filled:elements], p)
	c.filled += n
	if int64(c.filled) == elements {
		c.start()
		s.started = append(s.started, c)
		s.filling, s.open = nil, false
	}
	return n
}

func (s *sink) end() error {
	s.open = false
	length, err := s.encoder.End()
	if err != nil {
		return err
	}
	x, err := s.out.end(length)
	s.stored = append(s.stored, x)
	return err
}

// Close completes the array.
func (s *sink) Close() error {
	s.encoder.Release()
	if s.err == nil {
		s.err = s.storeAll()
	}
	s.abandon()
	err := errors.Join(s.err, s.out.close())
	if err == nil && (s.open || s.next != s.array.Chunks()) {
		err = fmt.Errorf("tensor %s ends early", s.array.name)
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	delete(s.w.sinks, s)
	if err == nil {
		s.w.chunks[s.i], s.w.done[s.i] = s.stored, true
	}
	return err
}

// bufferSize is the size of the buffer for the output of the encoder, which writes blocks of up to 128 KiB.
const bufferSize = 128 << 10

// dataFile stores chunks in a file of their own, one after another.
type dataFile struct {
	file *publish.OutputFile
	out  *publish.Stream
	at   int64
}

func (d *dataFile) begin(int64) (_ io.Writer, err error) {
	if d.out == nil {
		d.out, err = publish.NewStream(d.file)
	}
	return d.out, err
}

func (d *dataFile) end(length int64) (extent, error) {
	x := extent{d.at, length}
	d.at += length
	return x, nil
}

func (d *dataFile) close() error {
	if d.out == nil {
		return d.file.Close()
	}
	return errors.Join(d.out.Close(), d.file.Close())
}

// spooled stores the only chunk of an array in the spool.
type spooled struct {
	spool  *spool
	most   int64 // upper bound of the size of the chunk in bytes
	offset int64
	out    *bufio.Writer
}

func (s *spooled) begin(int64) (io.Writer, error) {
	s.offset = s.spool.reserve(s.most)
	s.out = bufio.NewWriterSize(io.NewOffsetWriter(s.spool.file, s.offset), int(min(s.most, bufferSize)))
	return s.out, nil
}

func (s *spooled) end(length int64) (extent, error) {
	if length > s.most {
		return extent{}, fmt.Errorf("chunk takes %d bytes compressed, more than %d", length, s.most)
	}
	return extent{s.offset, length}, s.out.Flush()
}

func (s *spooled) close() error { return nil }

// chunkFiles stores each chunk in a file of its own, which is synced while the next one is written.
type chunkFiles struct {
	w       *Writer
	dir     string
	array   *newArray
	file    *publish.OutputFile
	out     *bufio.Writer
	syncing <-chan error // result of syncing the previous file, nil if there is none
}

func (c *chunkFiles) begin(chunk int64) (io.Writer, error) {
	path := filepath.Join(c.dir, filepath.FromSlash(c.array.Key(chunk)))
	var err error
	if c.file, err = c.w.made.Create(path); err != nil {
		return nil, err
	}
	if c.out == nil {
		c.out = bufio.NewWriterSize(c.file, bufferSize)
	}
	c.out.Reset(c.file)
	return c.out, nil
}

func (c *chunkFiles) end(int64) (extent, error) {
	err := errors.Join(c.out.Flush(), c.wait())
	f := c.file
	c.file, c.syncing = nil, task.Start(func() error { return errors.Join(f.Sync(), f.Close()) })
	return extent{}, err
}

// wait waits until the previous file is synced.
func (c *chunkFiles) wait() error {
	if c.syncing == nil {
		return nil
	}
	err := <-c.syncing
	c.syncing = nil
	return err
}

func (c *chunkFiles) close() error {
	err := c.wait()
	if c.file != nil {
		err = errors.Join(err, c.file.Close())
	}
	return err
}
