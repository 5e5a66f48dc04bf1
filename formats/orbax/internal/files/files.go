// Package files opens the files of a checkpoint directory: once each, regular files only, and no
// more at a time than a process can afford.
package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// maxKept is how many files a Set keeps open. A checkpoint has a data file or two for each process
// that wrote it, or, in the layout of one directory an array, one for each chunk.
const maxKept = 256

// Set is the files of one file system. It is safe for use by several goroutines.
type Set struct {
	fsys fs.FS

	mu     sync.Mutex
	kept   map[string]file
	closed bool
}

// file is one that is kept open.
type file struct {
	fs.File
	io.ReaderAt
	size int64
}

// New returns the set of the files of fsys, none of them opened yet.
func New(fsys fs.FS) *Set { return &Set{fsys: fsys, kept: map[string]file{}} }

// Open gives random access to the file of that name, and its size in bytes. The reader is the
// opened file itself (an *os.File where fsys opens such) for the first files asked for; later
// ones are opened again for each read. A name that is no path within fsys and a file that is not
// a regular one are a *tensor.FormatError; a file that does not exist is an fs.ErrNotExist.
func (s *Set) Open(name string) (io.ReaderAt, int64, error) {
	if !ValidName(name) {
		return nil, 0, tensor.Bad("file name %q is not a path within the checkpoint", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, 0, os.ErrClosed
	}
	if f, ok := s.kept[name]; ok {
		return f.ReaderAt, f.size, nil
	}
	f, err := s.open(name)
	if err != nil {
		return nil, 0, err
	}
	if len(s.kept) >= maxKept {
		return &passing{set: s, name: name}, f.size, f.Close()
	}
	s.kept[name] = f
	return f.ReaderAt, f.size, nil
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

// ValidName reports whether a name is a path that stays within a directory: relative, without
// empty, "." or ".." segments, without NUL.
func ValidName(name string) bool {
	if !fs.ValidPath(name) || name == "." {
		return false
	}
	for i := range len(name) {
		if name[i] == 0 {
			return false
		}
	}
	return true
}

// open opens a regular file. What the file is, is asked before opening: to open a named pipe
// would wait for its writer.
func (s *Set) open(name string) (file, error) {
	info, err := fs.Stat(s.fsys, name)
	if err != nil {
		return file{}, outside(name, err)
	}
	if !info.Mode().IsRegular() {
		return file{}, tensor.Bad("not a regular file").Within(name)
	}
	f, err := s.fsys.Open(name)
	if err != nil {
		return file{}, outside(name, err)
	}
	if info, err = f.Stat(); err != nil {
		f.Close()
		return file{}, err
	}
	at, ok := f.(io.ReaderAt)
	if !ok {
		f.Close()
		return file{}, &fs.PathError{Op: "read", Path: name, Err: errors.ErrUnsupported}
	}
	return file{File: f, ReaderAt: at, size: info.Size()}, nil
}

// outside tells the errors of an os.Root, which refuses a link that leads out of it, from those of
// the operating system.
func outside(name string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrClosed) {
		return err
	}
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return tensor.Bad("cannot be opened within the checkpoint: %w", err).Within(name)
}

// passing is a file that is open only while it is read.
type passing struct {
	set  *Set
	name string
}

func (p *passing) ReadAt(b []byte, off int64) (int, error) {
	p.set.mu.Lock()
	closed := p.set.closed
	p.set.mu.Unlock()
	if closed {
		return 0, os.ErrClosed
	}
	f, err := p.set.open(p.name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.ReadAt(b, off)
}
