package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// local is a directory of the local file system. Its files are *os.File.
type local struct {
	dir    string
	opened *ledger // of the files that were opened; nil for none
	lists  *listings
}

// Local returns a directory of the local file system as a source. Symbolic links are followed,
// also out of the directory.
func Local(dir string) fs.FS { return local{dir, &ledger{}, nil} }

// Locate returns the source and the name of the file or directory at a path of the local file
// system, which exists. The source of a directory is the directory itself, that of a file the
// directory that holds it. Locate opens an address, SCHEME://…, through what Register was given for
// its scheme; a file:// address is a path.
func Locate(path string) (source fs.FS, name string, err error) {
	if scheme, ok := Scheme(path); ok {
		return locateAddress(scheme, path)
	}
	info, err := system.Stat(path)
	if err != nil {
		return nil, "", err
	}
	if info.IsDir() {
		return Local(path), ".", nil
	}
	dir, name := filepath.Split(path)
	return Local(dir), name, nil
}

// LocalPath returns the path of a file in the local file system, and false if its source is
// elsewhere.
func LocalPath(source fs.FS, name string) (path string, ok bool) {
	l, ok := source.(local)
	if !ok {
		return "", false
	}
	return l.Path(name), true
}

// Path returns the path of a file, which begins with the directory as it was given to Local.
func (l local) Path(name string) string {
	name = filepath.FromSlash(name)
	switch dir := l.dir; {
	case dir == "" || dir == ".":
		return name
	case name == ".":
		return dir
	case os.IsPathSeparator(dir[len(dir)-1]):
		return dir + name
	default:
		return dir + string(filepath.Separator) + name
	}
}

// path is Path with a check that the name lies in the directory.
func (l local) path(op, name string) (string, error) {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return l.Path(name), nil
}

// Open implements fs.FS.
func (l local) Open(name string) (fs.File, error) {
	path, err := l.path("open", name)
	if err != nil {
		return nil, err
	}
	f, err := system.Open(path)
	if l.opened.check(err) != nil {
		return nil, err // not a nil file in an interface
	}
	if err := l.opened.record(path, f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Stat implements fs.StatFS.
func (l local) Stat(name string) (fs.FileInfo, error) {
	path, err := l.path("stat", name)
	if err != nil {
		return nil, err
	}
	if err := l.lists.absent("stat", name); err != nil {
		return nil, err
	}
	info, err := system.Stat(path)
	return info, l.opened.check(err)
}

// Lstat implements fs.ReadLinkFS.
func (l local) Lstat(name string) (fs.FileInfo, error) {
	path, err := l.path("lstat", name)
	if err != nil {
		return nil, err
	}
	if err := l.lists.absent("lstat", name); err != nil {
		return nil, err
	}
	info, err := system.Lstat(path)
	return info, l.opened.check(err)
}

// ReadLink implements fs.ReadLinkFS.
func (l local) ReadLink(name string) (string, error) {
	path, err := l.path("readlink", name)
	if err != nil {
		return "", err
	}
	target, err := system.Readlink(path)
	return target, l.opened.check(err)
}

// ReadDir implements fs.ReadDirFS.
func (l local) ReadDir(name string) ([]fs.DirEntry, error) {
	path, err := l.path("open", name)
	if err != nil {
		return nil, err
	}
	if l.lists != nil {
		return l.lists.list(name)
	}
	entries, err := system.ReadDir(path)
	return entries, l.opened.check(err)
}

var _ interface {
	fs.StatFS
	fs.ReadDirFS
	fs.ReadLinkFS
} = local{}
