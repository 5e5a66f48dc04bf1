// Package files opens the files of a checkpoint directory: each of them once, and no more at a time
// than a process may have open.
package files

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// maxKept is how many files a Set keeps open. A checkpoint has a data file or two for each process
// that wrote it or, with one directory per array, one file for each chunk.
const maxKept = 256

// Set opens the files of a source. It is safe for concurrent use.
type Set struct {
	source fs.FS

	mu     sync.Mutex
	kept   map[string]file
	closed bool
}

// file is a file that is kept open.
type file struct {
	storage.File
	size int64
}

// New returns a Set without open files.
func New(source fs.FS) *Set { return &Set{source: source, kept: map[string]file{}} }

// Open returns a reader of the file of that name, and its size in bytes. For the first files asked
// for, the reader is the file as the source opened it, such as an *os.File; later ones are opened
// anew for each read. A name that is not a path within the source, and anything but a regular file,
// is a *tensor.FormatError. A file that does not exist is an fs.ErrNotExist.
func (s *Set) Open(name string) (io.ReaderAt, int64, error) {
	if !ValidName(name) {
		return nil, 0, tensor.Bad("file name %q is not a path within the checkpoint", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, 0, fs.ErrClosed
	}
	if f, ok := s.kept[name]; ok {
		return f.File, f.size, nil
	}
	f, err := s.open(name)
	if err != nil {
		return nil, 0, err
	}
	if len(s.kept) >= maxKept {
		return &reopened{set: s, name: name}, f.size, f.Close()
	}
	s.kept[name] = f
	return f.File, f.size, nil
}

// Close closes the files. Reading them afterwards fails.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for _, f := range s.kept {
		errs = append(errs, f.Close())
	}
	s.kept = nil
	return errors.Join(errs...)
}

// ValidName reports whether a name is a path that stays within a directory: relative, without empty,
// "." or ".." elements, without NUL.
func ValidName(name string) bool {
	return fs.ValidPath(name) && name != "." && !strings.Contains(name, "\x00")
}

func (s *Set) open(name string) (file, error) {
	f, size, err := storage.Open(s.source, name)
	return file{f, size}, err
}

// reopened is a file that is open only while it is read.
type reopened struct {
	set  *Set
	name string
}

// ReadAt implements io.ReaderAt.
func (r *reopened) ReadAt(p []byte, off int64) (int, error) {
	r.set.mu.Lock()
	closed := r.set.closed
	r.set.mu.Unlock()
	if closed {
		return 0, fs.ErrClosed
	}
	f, err := r.set.open(r.name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.ReadAt(p, off)
}
