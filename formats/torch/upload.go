package torch

import (
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Uploader writes the file of a Layout to a place other than the local file system. Every byte is written once, and if
// tensors are written in the order that Order gives, the bytes of the file nearly so.
type Uploader struct {
	layout *Layout
	file   io.WriterAt
	before map[int][]byte // what lies between a tensor and the one before it, by index of the layout's specs
	rest   []byte         // what follows the last tensor, up to the serialization id

	mu   sync.Mutex
	sums []uint32 // CRC-32 of each tensor
}

// Upload begins the file with create, which is given its size.
func (l *Layout) Upload(create func(size int64) (io.WriterAt, error)) (*Uploader, error) {
	file, err := create(l.Size)
	if err != nil {
		return nil, err
	}
	u := &Uploader{layout: l, file: file, before: map[int][]byte{}, sums: make([]uint32, len(l.Ranges))}
	var between []byte
	for i := range l.records {
		r := &l.records[i]
		between = append(between, r.localHeader()...)
		if i == len(l.records)-1 {
			break // the serialization id is known at the end
		}
		if r.content == "" && r.size > 0 { // its descriptor is written with it
			u.before[i-l.first], between = between, nil
			continue
		}
		between = append(between, r.content...)
		between = append(between, r.descriptor()...)
	}
	u.rest = between
	return u, nil
}

// At returns no file: tensors are written to their Sinks.
func (u *Uploader) At(int) (f *publish.OutputFile, offset, length int64) { return nil, 0, 0 }

// Order returns a number by which tensors are sorted as they lie in the file.
func (u *Uploader) Order(i int) int64 { return u.layout.Ranges[i].Offset }

// Sink returns a writer for the bytes of tensor i. It also writes the record's headers.
func (u *Uploader) Sink(i int) (io.WriteCloser, error) {
	r := u.layout.records[u.layout.first+i]
	if r.size == 0 {
		return &tensorSink{u: u, i: i, record: r}, nil
	}
	if _, err := u.file.WriteAt(u.before[i], r.data-int64(len(u.before[i]))); err != nil {
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
	l := u.layout
	records := slices.Clone(l.records)
	for i, sum := range u.sums {
		if r := &records[l.first+i]; r.size > 0 {
			r.crc = sum
		}
	}
	last := &records[len(records)-1]
	id := serializationID(records[:len(records)-1])
	last.crc = crc32.ChecksumIEEE([]byte(id))
	tail := append(append(slices.Clone(u.rest), id...), last.descriptor()...)
	tail = append(tail, directory(records, l.tail)...)
	_, err := u.file.WriteAt(tail, l.Size-int64(len(tail)))
	return err
}

// Close does nothing.
func (u *Uploader) Close() error { return nil }
