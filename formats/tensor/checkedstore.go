package tensor

import "io"

// CheckedStore is a file of which a range of bytes has a checksum. It checks the checksum before it reads
// anything, so that no way of reading a tensor leaves it out: streams, slices and views all read the Store of
// a Strided. A caller that computes the checksum itself, from all bytes of the range, reads what Unchecked
// returns, through a ChecksumStore.
type CheckedStore struct {
	file  io.ReaderAt
	check func() error
}

// NewCheckedStore returns a store that calls check before each reading of a file. check is fast once the
// checksum was found right or wrong, and is safe for concurrent use.
func NewCheckedStore(file io.ReaderAt, check func() error) *CheckedStore {
	return &CheckedStore{file, check}
}

// ReadAt implements io.ReaderAt. A wrong checksum is a *FormatError.
func (s *CheckedStore) ReadAt(p []byte, off int64) (int, error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	return s.file.ReadAt(p, off)
}

// Unchecked returns the file of a CheckedStore, and any other store as it is.
func Unchecked(store io.ReaderAt) io.ReaderAt {
	if s, ok := store.(*CheckedStore); ok {
		return s.file
	}
	return store
}

// Checked returns the file of a CheckedStore after it was checked, and any other store as it is. It is for
// callers that read a file in another way than through ReadAt.
func Checked(store io.ReaderAt) (io.ReaderAt, error) {
	if s, ok := store.(*CheckedStore); ok {
		return s.file, s.check()
	}
	return store, nil
}
