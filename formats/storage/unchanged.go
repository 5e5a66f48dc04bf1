package storage

import (
	"errors"
	"io/fs"
	"os"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// ledger has the state of files as it was when they were first opened.
type ledger struct {
	mu    sync.Mutex
	files map[string]fs.FileInfo // by path
}

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

// Unchanged returns a *tensor.FormatError if a file of the local file system was replaced, written to or removed since it
// was first opened through the source: what was read of it may be a mixture. A file is known by its size, its time of
// modification and its identity (inode). Other sources notice changes themselves, when they read.
func Unchanged(source fs.FS) error {
	l, ok := source.(local)
	if !ok || l.opened == nil {
		return nil
	}
	l.opened.mu.Lock()
	defer l.opened.mu.Unlock()
	for path, before := range l.opened.files {
		now, err := os.Stat(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err != nil || now.Size() != before.Size() || !now.ModTime().Equal(before.ModTime()) || !os.SameFile(now, before) {
			return tensor.Bad("the file was changed while it was being read").In(path)
		}
	}
	return nil
}
