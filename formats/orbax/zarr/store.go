package zarr

import (
	"errors"
	"io"
	"io/fs"
	"path"

	"github.com/griffin-ckpt/griffin/formats/orbax/internal/files"
)

// Store holds the metadata and the chunks of arrays: a directory (DirStore) or a key-value store (*ocdbt.DB). It
// is safe for concurrent use.
type Store interface {
	// Section returns a reader of the value of a key, and false if there is no such key.
	Section(key string) (*io.SectionReader, bool, error)
}

// Dir is a Store whose keys are the paths of files.
type Dir struct {
	dir   string
	files *files.Set
}

// DirStore returns the store in the directory dir of a source. A key that leads out of dir is a
// *tensor.FormatError.
func DirStore(source fs.FS, dir string) *Dir { return &Dir{dir: dir, files: files.New(source)} }

// Section implements Store. The outer reader of the section is the file, unless too many files are open.
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

// Close closes the files. Reading a section afterwards fails.
func (d *Dir) Close() error { return d.files.Close() }
