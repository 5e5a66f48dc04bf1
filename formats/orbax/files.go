package orbax

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// directory is the directory of a checkpoint, which neither links nor ".." lead out of.
type directory struct {
	fs.FS
	path     string   // as users call it
	elements []string // of its absolute path
}

// openDirectory returns the directory called name in a source. The caller closes the closer.
func openDirectory(source fs.FS, name string) (*directory, io.Closer, error) {
	d := &directory{path: storage.Path(source, name)}
	full := d.path
	if local, ok := storage.LocalPath(source, name); ok {
		abs, err := filepath.Abs(local)
		if err != nil {
			return nil, nil, err
		}
		full = filepath.ToSlash(abs)
	}
	d.elements = strings.Split(full, "/")
	if err := d.checkFinished(); err != nil {
		return nil, nil, err
	}
	root, closer, err := storage.Confine(source, name)
	d.FS = root
	return d, closer, err
}

// listed returns the directory for a search of many files.
func (d *directory) listed() *directory {
	searched := *d
	searched.FS = storage.Listed(d.FS)
	return &searched
}

// checkFinished refuses a directory that Orbax has not finished writing, which it renames at the
// end.
func (d *directory) checkFinished() error {
	for _, name := range d.elements {
		if isTemporary(name) {
			return tensor.Bad("a checkpoint that Orbax did not finish writing (%s)", temporaryMark).In(d.path)
		}
	}
	return nil
}

// base returns the name of the directory itself.
func (d *directory) base() string { return d.elements[len(d.elements)-1] }

// in returns the path of a file as users call it.
func (d *directory) in(name string) string { return storage.Path(d.FS, name) }

// stat returns nil if no file or directory has that name.
func (d *directory) stat(name string) (fs.FileInfo, error) {
	info, err := fs.Stat(d.FS, name)
	if err == nil {
		return info, nil
	}
	if link, e := fs.Lstat(d.FS, name); e == nil && link.Mode()&fs.ModeSymlink != 0 {
		return nil, tensor.Bad("a link that leads out of the checkpoint or nowhere").In(d.in(name)).
			Advise("copy the checkpoint with links resolved, as cp -RL does")
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil, nil
	}
	return nil, err
}

// isFile reports whether name is a regular file.
func (d *directory) isFile(name string) (bool, error) {
	info, err := d.stat(name)
	return info != nil && info.Mode().IsRegular(), err
}

// hasFile reports whether dir holds a regular file with one of the names.
func (d *directory) hasFile(dir string, names ...string) (bool, error) {
	for _, name := range names {
		if is, err := d.isFile(path.Join(dir, name)); is || err != nil {
			return is, err
		}
	}
	return false, nil
}

// directories returns the names of the directories in dir, sorted. Links within the checkpoint are
// followed, others are left out.
func (d *directory) directories(dir string) ([]string, error) {
	entries, err := fs.ReadDir(d.FS, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		isDir := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 {
			info, err := fs.Stat(d.FS, path.Join(dir, e.Name()))
			isDir = err == nil && info.IsDir()
		}
		if isDir {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// read returns the content of a file of at most limit bytes, and nil if it does not exist.
func (d *directory) read(name string, limit int64) ([]byte, error) {
	if info, err := d.stat(name); info == nil || err != nil {
		return nil, err
	}
	return storage.ReadFile(d.FS, name, limit)
}

// annotate names the file in an error, unless the error names one. The packages below use names
// relative to the directory.
func (d *directory) annotate(err error, name string) error {
	return tensor.Annotate(err, tensor.Location{File: d.in(name)})
}
