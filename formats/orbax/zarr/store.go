package zarr

import (
	"io"
	"io/fs"
)

// Store is where an array's metadata and chunks are kept: a directory (DirStore) or a key-value
// store (*ocdbt.DB). It is safe for use by several goroutines.
type Store interface {
	// Section gives access to the value of a key, and false where there is no such key.
	Section(key string) (*io.SectionReader, bool, error)
}

// Dir is a Store whose keys are the paths of files.
type Dir struct{}

// DirStore returns the store of the directory dir of fsys ("." for its top). Keys that would lead
// out of dir are a *tensor.FormatError.
func DirStore(fsys fs.FS, dir string) *Dir { return &Dir{} }

// Section implements Store.
func (d *Dir) Section(key string) (*io.SectionReader, bool, error) { return nil, false, nil }

// Close closes the files. Sections are not read afterwards.
func (d *Dir) Close() error { return nil }
