// Package ocdbt reads and writes OCDBT, the key-value store of TensorStore in which Orbax stores arrays. A
// manifest refers to the root of a B+tree. Its leaves hold small values and refer to ranges of data files
// for large ones.
//
// Open reads the manifest and the tree of the newest version and keeps an index of the keys. Values are
// read on demand. A *DB is a store that package zarr reads arrays from. Write makes a database of values
// that are already in files.
package ocdbt

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"sort"

	"github.com/griffin-ckpt/griffin/formats/orbax/internal/files"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// DB is an open database. It is safe for concurrent use.
type DB struct {
	dir    string
	files  *files.Set
	keys   []string // ascending
	values []value  // as keys
	inline [][]byte // values in the tree, each once
	names  []string // of data files, each once
}

// value is a Value in little memory, since there may be many.
type value struct {
	file           int32 // index of DB.names; -1 if the value is in the tree, at index offset of DB.inline
	offset, length int64
}

// Value is a value in memory or in a data file.
type Value struct {
	Inline []byte // the value if File is "", not to be changed
	File   string // path relative to the database
	Offset int64  // bytes from the start of File
	Length int64  // bytes
}

// Open opens the database in the directory dir of a source. If the database may be hostile, the source is
// one that links do not lead out of (see storage.Confine). A corrupt database is a *tensor.FormatError, as
// is one without a data file. A missing manifest is an fs.ErrNotExist.
func Open(source fs.FS, dir string) (*DB, error) {
	db := &DB{dir: dir, files: files.New(source)}
	if err := db.index(source); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// Keys returns all keys in ascending byte order. The caller does not change the slice.
func (db *DB) Keys() []string { return db.keys }

// Forget drops the keys that are not needed any more, since there may be very many. It is not called while others use the database.
func (db *DB) Forget(needless func(key string) bool) {
	n := 0
	for i, key := range db.keys {
		if !needless(key) {
			db.keys[n], db.values[n] = key, db.values[i]
			n++
		}
	}
	db.keys, db.values = slices.Clone(db.keys[:n]), slices.Clone(db.values[:n])
}

// get returns the value of a key, and false if there is no such key.
func (db *DB) get(key string) (Value, bool) {
	i := sort.SearchStrings(db.keys, key)
	if i == len(db.keys) || db.keys[i] != key {
		return Value{}, false
	}
	v := db.values[i]
	if v.file < 0 {
		return Value{Inline: db.inline[v.offset]}, true
	}
	return Value{File: db.names[v.file], Offset: v.offset, Length: v.length}, true
}

// Section returns a reader of a value, and false if there is no such key. The outer reader of the section is
// the data file, unless too many files are open. It is valid until Close. A range past the end of its file
// is a *tensor.FormatError.
func (db *DB) Section(key string) (*io.SectionReader, bool, error) {
	v, ok := db.get(key)
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

// damagedHint says what to do about files that are not as they were written.
const damagedHint = "the checkpoint is incomplete or damaged: download or copy this file again"

// open returns a reader of a range of a file.
func (db *DB) open(name string, offset, length int64) (*io.SectionReader, error) {
	full := path.Join(db.dir, name)
	file, size, err := db.files.Open(full)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, tensor.Bad("data file is missing").Within(full).Advise("the checkpoint is incomplete: download or copy this file too")
	}
	if err != nil {
		return nil, err
	}
	if offset > size || length > size-offset {
		return nil, tensor.Bad("%d bytes are expected in a file of %d", length, size).Within(full).At(offset).Advise(damagedHint)
	}
	return io.NewSectionReader(file, offset, length), nil
}

// index reads the tree of the newest version into the index.
func (db *DB) index(source fs.FS) error {
	m, err := db.readManifest("manifest.ocdbt")
	if err == nil && m.numbered {
		m, err = db.readNumbered(source)
	}
	if err != nil || m.empty {
		return err
	}
	x := &indexer{db: db, maxNode: m.maxNode}
	if !files.ValidName(m.root.name) {
		return tensor.Bad("data file name %q is not a path within the database", m.root.name).Within(path.Join(db.dir, "manifest.ocdbt"))
	}
	return x.walk(subtree{at: m.root, height: m.height})
}

// readManifest reads a manifest file.
func (db *DB) readManifest(name string) (*manifest, error) {
	full := path.Join(db.dir, name)
	file, size, err := db.files.Open(full)
	if err != nil {
		return nil, err
	}
	if size > maxBlob {
		return nil, tensor.Bad("manifest of %d bytes exceeds %d", size, maxBlob).Within(full)
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

// readNumbered reads the newest of the manifests manifest.<generation, 16 hexadecimal digits>.
func (db *DB) readNumbered(source fs.FS) (*manifest, error) {
	entries, err := fs.ReadDir(source, db.dir)
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
