// Package ocdbt reads and writes TensorStore's OCDBT key-value store, in which Orbax keeps its
// arrays: a manifest names the root of a B+tree, whose leaves hold small values and point at ranges
// of data files for large ones.
//
// Open reads the manifest and the tree of the newest version once and keeps an index of keys;
// values are read when asked for. A *DB is the store that package zarr reads arrays from. Write
// makes a database of values that lie in files already.
package ocdbt

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"sort"

	"github.com/griffin-ckpt/griffin/formats/orbax/internal/files"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// DB is an opened database. It is safe for use by several goroutines.
type DB struct {
	dir    string
	files  *files.Set
	keys   []string // ascending
	values []Value  // as keys; File from the top of the database
}

// Value says where a value lies: in memory, or in a data file.
type Value struct {
	Inline []byte // the value, where File is ""; not to be changed
	File   string // path from the top of the database
	Offset int64  // bytes from the start of File
	Length int64  // bytes
}

// Open opens the database in the directory dir of fsys ("." for its top). A database that may be
// hostile is opened through the file system of an os.Root, so that no link can lead out of it.
// What is broken is a *tensor.FormatError, also a file that is missing, but for the manifest
// itself: that is an fs.ErrNotExist.
func Open(fsys fs.FS, dir string) (*DB, error) {
	db := &DB{dir: dir, files: files.New(fsys)}
	if err := db.index(fsys); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// Keys returns all keys, ascending by bytes. The caller does not change the slice.
func (db *DB) Keys() []string { return db.keys }

// Get returns where the value of a key lies, and false where there is no such key.
func (db *DB) Get(key string) (Value, bool) {
	i := sort.SearchStrings(db.keys, key)
	if i == len(db.keys) || db.keys[i] != key {
		return Value{}, false
	}
	return db.values[i], true
}

// Section gives access to a value, and false where there is no such key. The section's outer
// reader is the *os.File itself where the value lies in a file that can be kept open; it stays
// valid until Close. A range past the end of its file is a *tensor.FormatError.
func (db *DB) Section(key string) (*io.SectionReader, bool, error) {
	v, ok := db.Get(key)
	if !ok {
		return nil, false, nil
	}
	if v.File == "" {
		return io.NewSectionReader(bytes.NewReader(v.Inline), 0, int64(len(v.Inline))), true, nil
	}
	section, err := db.open(v.File, v.Offset, v.Length)
	return section, err == nil, err
}

// Close closes the data files.
func (db *DB) Close() error { return db.files.Close() }

// open opens a range of a file of the database.
func (db *DB) open(name string, offset, length int64) (*io.SectionReader, error) {
	full := path.Join(db.dir, name)
	file, size, err := db.files.Open(full)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, tensor.Bad("data file is missing").Within(full)
	}
	if err != nil {
		return nil, err
	}
	if offset > size || length > size-offset {
		return nil, tensor.Bad("%d bytes expected in a file of %d", length, size).Within(full).At(offset)
	}
	return io.NewSectionReader(file, offset, length), nil
}

// index reads the tree of the newest version.
func (db *DB) index(fsys fs.FS) error {
	m, err := db.readManifest("manifest.ocdbt")
	if err == nil && m.numbered {
		m, err = db.readNumbered(fsys)
	}
	if err != nil || m.empty {
		return err
	}
	x := &indexer{db: db, maxNode: m.maxNode, names: map[string]string{}}
	if !files.ValidName(m.root.name) {
		return tensor.Bad("data file name %q is not a path within the database", m.root.name).Within(path.Join(db.dir, "manifest.ocdbt"))
	}
	return x.walk(subtree{at: m.root, height: m.height})
}

// readManifest reads one manifest file.
func (db *DB) readManifest(name string) (*manifest, error) {
	full := path.Join(db.dir, name)
	file, size, err := db.files.Open(full)
	if err != nil {
		return nil, err
	}
	if size > maxBlob {
		return nil, tensor.Bad("manifest of %d bytes is over %d", size, maxBlob).Within(full)
	}
	blob := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(file, 0, size), blob); err != nil {
		return nil, err
	}
	var m *manifest
	body, err := openEnvelope(blob, magicManifest, maxBlob)
	if err == nil {
		m, err = parseManifest(body)
	}
	return m, tensor.Annotate(err, tensor.Location{Record: full})
}

// readNumbered reads the newest of the manifests manifest.<generation, 16 digits of hex>.
func (db *DB) readNumbered(fsys fs.FS) (*manifest, error) {
	entries, err := fs.ReadDir(fsys, db.dir)
	if err != nil {
		return nil, err
	}
	newest := ""
	for _, e := range entries {
		if isNumbered(e.Name()) {
			newest = max(newest, e.Name())
		}
	}
	full := path.Join(db.dir, "manifest.ocdbt")
	if newest == "" {
		return nil, tensor.Bad("refers to numbered manifests, but there are none").Within(full)
	}
	m, err := db.readManifest(newest)
	if err == nil && m.numbered {
		err = tensor.Bad("numbered manifest refers to numbered manifests").Within(path.Join(db.dir, newest))
	}
	return m, err
}

func isNumbered(name string) bool {
	const prefix = "manifest."
	if len(name) != len(prefix)+16 || name[:len(prefix)] != prefix {
		return false
	}
	for _, c := range []byte(name[len(prefix):]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
