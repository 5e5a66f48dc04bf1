package tensor

import (
	"hash/crc32"
	"io"
)

// ChecksumStore is the Store of a tensor's Layout. It computes the checksum that the tensor's data carries
// from what is read, if that is read in order, as it nearly always is.
type ChecksumStore struct {
	io.ReaderAt
	of         Checksummed
	next, left int64 // bytes of the range that are not in crc yet
	crc, want  uint32
}

// NewChecksumStore returns the store through which data of that checksum is to be read.
func NewChecksumStore(store io.ReaderAt, of Checksummed) *ChecksumStore {
	s := &ChecksumStore{ReaderAt: Unchecked(store), of: of}
	s.next, s.left, s.want = of.Checksum()
	return s
}

// ReadAt implements io.ReaderAt. Bytes that are read before those in front of them do not count
// for the checksum.
func (s *ChecksumStore) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.ReaderAt.ReadAt(p, off)
	if skip := s.next - off; skip >= 0 && skip < int64(n) {
		read := min(int64(n)-skip, s.left)
		s.crc = crc32.Update(s.crc, crc32.IEEETable, p[skip:][:read])
		s.next += read
		s.left -= read
	}
	return n, err
}

// Finish reports a wrong checksum as a *FormatError. If not all of the range was read in order, the
// data checks it by another reading.
func (s *ChecksumStore) Finish() error {
	if s.left == 0 && s.crc == s.want {
		s.of.Passed()
		return nil
	}
	if err := s.of.Check(); err != nil || s.left > 0 {
		return err
	}
	return Bad("the file changes while it is being read")
}

// StreamWhole returns a stream of the elements of t from the first on, and a function that checks the checksum
// that the format keeps, after the last was read. Where the checksum can be computed from what the stream
// reads, nothing is read twice.
func StreamWhole(t *Tensor) (r io.ReadCloser, check func() error, err error) {
	if summed, ok := t.Data.(Checksummed); ok {
		layout, _, err := Layout(t) // it has one
		if err != nil {
			return nil, nil, err
		}
		store, watched := NewChecksumStore(layout.Store, summed), *layout
		watched.Store = store
		r, err := watched.Stream(0)
		return r, store.Finish, err
	}
	check = func() error { return nil }
	if c, ok := t.Data.(Checker); ok {
		check = c.Check
	}
	r, err = t.Data.Stream(0)
	return r, check, err
}
