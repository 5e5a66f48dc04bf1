// Package ocdbt reads TensorStore's OCDBT key-value store, in which Orbax keeps its arrays: a
// manifest names the root of a B+tree, whose leaves hold small values and point at ranges of data
// files for large ones.
//
// Open reads the manifest and the tree of the newest version once and keeps an index of keys;
// values are read when asked for. A *DB is the store that package zarr reads arrays from.
package ocdbt

import (
	"io"
	"io/fs"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// DB is an opened database. It is safe for use by several goroutines.
type DB struct{}

// Value says where a value lies: in memory, or in a data file.
type Value struct {
	Inline []byte // the value, where File is ""; not to be changed
	File   string // path in the file system given to Open
	Offset int64  // bytes from the start of File
	Length int64  // bytes
}

// Open opens the database in the directory dir of fsys ("." for its top). A database that may be
// hostile is opened through the file system of an os.Root, so that no link can lead out of it.
// What is broken is a *tensor.FormatError.
func Open(fsys fs.FS, dir string) (*DB, error) {
	return nil, tensor.Bad("ocdbt is not read yet").In(dir)
}

// Keys returns all keys, ascending by bytes. The caller does not change the slice.
func (db *DB) Keys() []string { return nil }

// Get returns where the value of a key lies, and false where there is no such key.
func (db *DB) Get(key string) (Value, bool) { return Value{}, false }

// Section gives access to a value, and false where there is no such key. The section's outer
// reader is the *os.File itself where the value lies in a file that can be kept open; it stays
// valid until Close. A range past the end of its file is a *tensor.FormatError.
func (db *DB) Section(key string) (*io.SectionReader, bool, error) { return nil, false, nil }

// Close closes the data files.
func (db *DB) Close() error { return nil }
