package torch

import (
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Uploader writes the file of a Layout to a place other than the local file system. Every byte is written once, and if
// tensors are written in the order that Order gives, the bytes of the file nearly so.
type Uploader struct {
	layout *Layout
	file   io.WriterAt

	mu   sync.Mutex
	sums []uint32 // CRC-32 of each tensor
}

// Upload begins the file with create, which is given its size.
func (l *Layout) Upload(create func(size int64) (io.WriterAt, error)) (*Uploader, error) {
	file, err := create(l.Size)
	if err != nil {
		return nil, err
	}
	return &Uploader{layout: l, file: file, sums: make([]uint32, len(l.Ranges))}, nil
}

// At returns no file: tensors are written to their Sinks.
func (u *Uploader) At(int) (f *publish.OutputFile, offset, length int64) { return nil, 0, 0 }

// Order returns a number by which tensors are sorted as they lie in the file.
func (u *Uploader) Order(i int) int64 { return u.layout.Ranges[i].Offset }

// Sink returns a writer for the bytes of tensor i. It also writes the record's headers.
func (u *Uploader) Sink(i int) (io.WriteCloser, error) {
	k := len(u.layout.first) + i
	r := u.layout.record(k)
	if r.size == 0 {
		return &tensorSink{u: u, i: i, record: r}, nil
	}
	if err := (&frame{layout: u.layout, file: u.file}).before(k); err != nil {
		return nil, err
	}
	return &tensorSink{u: u, i: i, record: r, out: io.NewOffsetWriter(u.file, r.data)}, nil
}

// tensorSink writes a tensor and then its descriptor.
type tensorSink struct {
	u       *Uploader
	i       int
	record  record
	out     io.Writer
	crc     uint32
	written int64
}

func (s *tensorSink) Write(p []byte) (int, error) {
	if s.written+int64(len(p)) > s.record.size {
		return 0, fmt.Errorf("tensor %d has more than its %d bytes", s.i, s.record.size)
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := s.out.Write(p)
	s.crc = crc32.Update(s.crc, crc32.IEEETable, p[:n])
	s.written += int64(n)
	return n, err
}

// Close writes the descriptor.
func (s *tensorSink) Close() error {
	s.record.crc = s.crc
	s.u.mu.Lock()
	s.u.sums[s.i] = s.crc
	s.u.mu.Unlock()
	if s.record.size == 0 {
		return nil
	}
	_, err := s.u.file.WriteAt(s.record.descriptor(), s.record.data+s.record.size)
	return err
}

// Finish writes what follows the last tensor.
func (u *Uploader) Finish([]tensor.Written) error {
	f := &frame{layout: u.layout, file: u.file}
	if err := f.before(u.layout.count() - 1); err != nil {
		return err
	}
	return f.end(func(i int) uint32 { return u.sums[i] })
}

// Close does nothing.
func (u *Uploader) Close() error { return nil }
