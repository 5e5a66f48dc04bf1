package storage

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// File is an open file of a source.
type File interface {
	fs.File
	io.ReaderAt
}

// Open opens the regular file that name stands for, following links, and returns its size in
// bytes. Anything but a regular file is refused before it is opened, since opening a named pipe or
// a device may block: that is a *tensor.FormatError.
func Open(source fs.FS, name string) (File, int64, error) {
	info, err := fs.Stat(source, name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, tensor.Bad("is a %s, not a regular file", kindOf(info.Mode())).In(Path(source, name))
	}
	opened, err := source.Open(name)
	if err != nil {
		return nil, 0, err
	}
	f, ok := opened.(File)
	if !ok {
		opened.Close()
		return nil, 0, &fs.PathError{Op: "read", Path: Path(source, name), Err: errors.ErrUnsupported}
	}
	if info, err = f.Stat(); err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// ReadFile returns the content of a regular file of at most limit bytes. A longer one is a
// *tensor.FormatError.
func ReadFile(source fs.FS, name string, limit int64) ([]byte, error) {
	f, size, err := Open(source, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var content bytes.Buffer
	if size <= limit { // what is longer is not read, unless it grows meanwhile
		content.Grow(int(size) + bytes.MinRead)
		if _, err := content.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
			return content.Bytes(), err
		}
	}
	if size > limit || int64(content.Len()) > limit {
		return nil, tensor.Bad("is longer than %d bytes", limit).Because(tensor.TooLarge).In(Path(source, name))
	}
	return content.Bytes(), nil
}

// IsAbsent reports whether an error says that there is no file of a name, also because a link leads nowhere. Any other
// error leaves that open.
func IsAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}

// IsFile reports whether name stands for a regular file, following links. If the source cannot tell, it returns false, and Failure
// returns why.
func IsFile(source fs.FS, name string) bool {
	info, err := fs.Stat(source, name)
	return err == nil && info.Mode().IsRegular()
}

// Path returns what users call a file: the result of the source's method Path(name string) string,
// or name if it has none.
func Path(source fs.FS, name string) string {
	if s, ok := source.(interface{ Path(name string) string }); ok {
		return s.Path(name)
	}
	return name
}

// Confine returns the directory dir of a source as a source of its own. In the local file system a
// symbolic link that leads out of it is a *tensor.FormatError. The caller closes the closer after use.
func Confine(source fs.FS, dir string) (fs.FS, io.Closer, error) {
	l, ok := source.(local)
	if !ok {
		return sub{source, dir}, io.NopCloser(nil), nil
	}
	root, err := os.OpenRoot(l.Path(dir))
	if err != nil {
		return nil, nil, err
	}
	return confined{root.FS(), l.Path(dir), l.opened, nil}, root, nil
}

// kindOf names what is not a regular file.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

// sub is a directory of a source that is not local, whose links are its own affair.
type sub struct {
	source fs.FS
	dir    string
}

// full returns the name in the source.
func (s sub) full(op, name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return path.Join(s.dir, name), nil
}

func (s sub) Open(name string) (fs.File, error) {
	full, err := s.full("open", name)
	if err != nil {
		return nil, err
	}
	return s.source.Open(full)
}

func (s sub) Stat(name string) (fs.FileInfo, error) {
	full, err := s.full("stat", name)
	if err != nil {
		return nil, err
	}
	return fs.Stat(s.source, full)
}

func (s sub) ReadDir(name string) ([]fs.DirEntry, error) {
	full, err := s.full("open", name)
	if err != nil {
		return nil, err
	}
	return fs.ReadDir(s.source, full)
}

// Path returns what users call a file.
func (s sub) Path(name string) string { return Path(s.source, path.Join(s.dir, name)) }

// confined is the file system of an os.Root.
type confined struct {
	fs.FS
	dir    string  // path of the root
	opened *ledger // of the files that were opened
	lists  *listings
}

func (c confined) Open(name string) (fs.File, error) {
	f, err := system.OpenIn(c.FS, name, c.Path(name))
	if c.opened.check(err) != nil {
		return nil, c.escape(err, name)
	}
	if err := c.opened.record(c.Path(name), f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (c confined) Stat(name string) (fs.FileInfo, error) {
	if err := c.lists.absent("stat", name); err != nil {
		return nil, err
	}
	var info fs.FileInfo
	err := system.Do(system.OpStat, c.Path(name), func() (err error) {
		info, err = fs.Stat(c.FS, name)
		return err
	})
	return info, c.escape(c.opened.check(err), name)
}

func (c confined) Lstat(name string) (info fs.FileInfo, err error) {
	if err := c.lists.absent("lstat", name); err != nil {
		return nil, err
	}
	err = system.Do(system.OpStat, c.Path(name), func() (err error) {
		info, err = fs.Lstat(c.FS, name)
		return err
	})
	return info, c.opened.check(err)
}

func (c confined) ReadLink(name string) (target string, err error) {
	err = system.Do(system.OpReadlink, c.Path(name), func() (err error) {
		target, err = fs.ReadLink(c.FS, name)
		return err
	})
	return target, c.opened.check(err)
}

func (c confined) ReadDir(name string) (entries []fs.DirEntry, err error) {
	if c.lists != nil {
		return c.lists.list(name)
	}
	err = system.Do(system.OpList, c.Path(name), func() (err error) {
		entries, err = fs.ReadDir(c.FS, name)
		return err
	})
	return entries, c.opened.check(err)
}

// Path returns what users call a file.
func (c confined) Path(name string) string { return filepath.Join(c.dir, filepath.FromSlash(name)) }

// escape returns a *tensor.FormatError if err is the os.Root's refusal of a path that leads out of
// it, which has no type of its own, and otherwise err.
func (c confined) escape(err error, name string) error {
	var errno syscall.Errno
	if err == nil || errors.As(err, &errno) ||
		errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrClosed) {
		return err
	}
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return tensor.Bad("cannot be opened within the directory: %w", err).In(c.Path(name))
}
