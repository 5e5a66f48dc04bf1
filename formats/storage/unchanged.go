package storage

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// ledger has the state of files as it was when they were first opened, and the first failure of the file system.
type ledger struct {
	mu     sync.Mutex
	files  map[string]fs.FileInfo // by path
	failed error
}

// failures are errors of a file system that say nothing about a file.
var failures = []error{syscall.EIO, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.ESTALE, syscall.ETIMEDOUT}

// check returns an error of the file system, and keeps it if it is a failure: a reader that looks for one of several files may
// go on without the one that could not be looked at.
func (l *ledger) check(err error) error {
	if err == nil || l == nil || !slices.ContainsFunc(failures, func(failure error) bool { return errors.Is(err, failure) }) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
	}
	return err
}

// failure returns the first failure.
func (l *ledger) failure() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// Failure returns the first error with which one of the sources has answered a question about a file without saying whether
// there is such a file, nil if there was none: the result of the source's method Failure() error. What was found in the source then
// may not be all that is there.
func Failure(sources ...fs.FS) error {
	for _, source := range sources {
		if s, ok := source.(interface{ Failure() error }); ok {
			if err := s.Failure(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Failure is for the function Failure.
func (l local) Failure() error { return l.opened.failure() }

// Failure is for the function Failure.
func (c confined) Failure() error { return c.opened.failure() }

// Failure is for the function Failure.
func (s sub) Failure() error { return Failure(s.source) }

// record adds a file that was opened, unless it is a directory.
func (l *ledger) record(path string, f fs.File) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.files[path] != nil {
		return nil
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	if l.files == nil {
		l.files = map[string]fs.FileInfo{}
	}
	l.files[path] = info
	return nil
}

// Unchanged returns a *tensor.FormatError if a file of one of the sources was replaced, written to or removed since it was first
// opened through the source: what was read of it may be a mixture. It returns the Failure of a source. Whatever reads weights calls it after its last reading, and
// before it publishes what it made of them. In the local file system a file is known by its size, its time of modification and its
// identity (inode). Another source may have a method Unchanged() error; one without it notices changes itself, when it reads.
func Unchanged(sources ...fs.FS) error {
	for _, source := range sources {
		if err := Failure(source); err != nil {
			return err
		}
		if s, ok := source.(interface{ Unchanged() error }); ok {
			if err := s.Unchanged(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Unchanged is for the function Unchanged.
func (l local) Unchanged() error { return l.opened.unchanged() }

// Unchanged is for the function Unchanged.
func (c confined) Unchanged() error { return c.opened.unchanged() }

// Unchanged is for the function Unchanged.
func (s sub) Unchanged() error { return Unchanged(s.source) }

// unchanged returns an error if a file is not as it was recorded.
func (l *ledger) unchanged() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for path, before := range l.files {
		now, err := system.Stat(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err != nil || now.Size() != before.Size() || !now.ModTime().Equal(before.ModTime()) || !os.SameFile(now, before) {
			return tensor.Bad("the file was changed while it was being read").In(path)
		}
	}
	return nil
}
