package zarr

import (
	"errors"
	"io"
	"io/fs"
	"path"

	"github.com/griffin-ckpt/griffin/formats/orbax/internal/files"
)

// Store is where an array's metadata and chunks are kept: a directory (DirStore) or a key-value
// store (*ocdbt.DB). It is safe for use by several goroutines.
type Store interface {
	// Section gives access to the value of a key, and false where there is no such key.
	Section(key string) (*io.SectionReader, bool, error)
}

// Dir is a Store whose keys are the paths of files.
type Dir struct {
	dir   string
	files *files.Set
}

// DirStore returns the store of the directory dir of fsys ("." for its top). Keys that would lead
// out of dir are a *tensor.FormatError.
func DirStore(fsys fs.FS, dir string) *Dir { return &Dir{dir: dir, files: files.New(fsys)} }

// Section implements Store. The section's outer reader is the *os.File itself where the file can
// be kept open.
func (d *Dir) Section(key string) (*io.SectionReader, bool, error) {
	if !files.ValidName(key) {
		return nil, false, bad("name %q is not a path within the checkpoint", key)
	}
	file, size, err := d.files.Open(path.Join(d.dir, key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return io.NewSectionReader(file, 0, size), true, nil
}

// Close closes the files. Sections are not read afterwards.
func (d *Dir) Close() error { return d.files.Close() }
