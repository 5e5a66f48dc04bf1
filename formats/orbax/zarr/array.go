// Package zarr reads and writes arrays of zarr versions 2 and 3 as TensorStore does for Orbax. An array is a
// metadata document and chunks, each of them compressed by itself.
//
// Open reads the metadata only. An Array is tensor.Data: its elements are decoded as they are read, in
// bounded memory (see Array.Stream). NewPlan divides an array into chunks, which an Encoder encodes.
package zarr

import (
	"io"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Options are requirements on an array.
type Options struct {
	// Version is 2 or 3, or 0 for the version whose metadata document exists.
	Version int
	// EveryChunk makes a missing chunk an error even if the metadata have a fill value, since Orbax writes
	// all chunks.
	EveryChunk bool
	// File is the path of the store, which errors of reading elements name.
	File string
	// Documents has what was read before, nil for nothing. Arrays with the same metadata document share what is in it.
	Documents *Documents
}

// Documents are metadata documents of arrays. The zero value has none. It is not safe for concurrent use.
type Documents struct{ read map[string]*described }

// maxShared is how many documents are kept.
const maxShared = 1 << 10

// Array is an array. It implements tensor.Data and is safe for concurrent use.
type Array struct {
	*described

	store      Store
	name       string // of all keys, before "/"; "" if they have none
	everyChunk bool
	file       string // path of the store, for errors
}

// described is what the metadata document says of an array. It is not changed.
type described struct {
	Shape   []int64
	DType   tensor.DType
	Version int // 2 or 3

	keys keyStyle
	fill []byte // one element, nil for none

	stored []int64  // shape of the elements under one key
	levels []level  // shards, outermost first
	chunk  []int64  // shape of the innermost chunks, which "chunk" refers to everywhere else
	grid   []int64  // chunks along each axis
	leaf   encoding // of a chunk, with the axes of the array

	leafBytes int64 // size of the elements of a chunk
	size      int64 // size of the elements in bytes
	limits    limits
}

// level is a shard, which may be in a larger one, in terms of the axes of the array.
type level struct {
	*shard
	axes  []int   // axis j of the shard is axis axes[j] of the array
	shape []int64 // of its inner chunks
}

// documents are the names of the metadata documents.
var documents = map[int]string{2: ".zarray", 3: "zarr.json"}

// Open reads the metadata of the array whose keys begin with prefix and "/", or without both if prefix is "".
// A corrupt array is a *tensor.FormatError, as is one without a metadata document.
func Open(store Store, prefix string, opts Options) (*Array, error) {
	name, prefix := prefix, below(prefix)
	versions := []int{opts.Version}
	if opts.Version == 0 {
		versions = []int{2, 3}
	}
	var a *Array
	for _, version := range versions {
		text, err := readDocument(store, prefix+documents[version])
		if err != nil {
			return nil, tensor.Annotate(err, tensor.Location{Record: prefix + documents[version]})
		}
		if text == nil {
			continue
		}
		if a != nil {
			return nil, bad("both %s and %s exist", documents[2], documents[3]).Within(prefix)
		}
		is, err := opts.Documents.describe(text, version)
		if err != nil {
			return nil, tensor.Annotate(err, tensor.Location{Record: prefix + documents[version]})
		}
		a = &Array{described: is}
	}
	if a == nil {
		return nil, bad("array has no metadata document").Within(prefix + documents[versions[0]])
	}
	a.store, a.name, a.everyChunk, a.file = store, name, opts.EveryChunk, opts.File
	return a, nil
}

// below returns the beginning of the keys of an array of that name. There may be very many arrays, so that it is not kept.
func below(name string) string {
	if name == "" {
		return ""
	}
	return name + "/"
}

// readDocument returns a document, nil if it does not exist.
func readDocument(store Store, key string) ([]byte, error) {
	section, ok, err := store.Section(key)
	if err != nil || !ok {
		return nil, err
	}
	if section.Size() > maxDocument {
		return nil, bad("document of %d bytes exceeds %d", section.Size(), maxDocument)
	}
	text := make([]byte, section.Size())
	if _, err := io.ReadFull(section, text); err != nil {
		return nil, err
	}
	return text, nil
}

// describe returns what a document says, which may have been read before.
func (d *Documents) describe(text []byte, version int) (*described, error) {
	if d == nil {
		return describe(text, version)
	}
	if known := d.read[string(text)]; known != nil && known.Version == version {
		return known, nil
	}
	is, err := describe(text, version)
	if err != nil {
		return nil, err
	}
	if len(d.read) >= maxShared || d.read == nil {
		d.read = map[string]*described{}
	}
	d.read[string(text)] = is
	return is, nil
}

// describe reads a document.
func describe(text []byte, version int) (*described, error) {
	var m *metadata
	var err error
	if version == 2 {
		m, err = parseV2(text)
	} else {
		m, err = parseV3(text)
	}
	if err != nil {
		return nil, err
	}
	a := &described{Shape: m.shape, DType: m.dtype, Version: version, keys: m.keys, fill: m.fill, stored: m.chunk, chunk: m.chunk, limits: streamLimits}
	a.flatten(m.encoding)
	if a.grid, err = countChunks(a.Shape, a.chunk); err != nil {
		return nil, err
	}
	if _, a.size, err = tensor.SizeOf(a.DType, a.Shape); err != nil {
		return nil, err
	}
	_, a.leafBytes, err = tensor.SizeOf(a.DType, a.chunk)
	return a, err
}

// flatten sets the levels down to the chunks that hold elements, and converts axes and shapes to the order of
// the array. Since inner chunks divide their shard evenly, the innermost ones are a regular grid over the
// array.
func (a *described) flatten(e encoding) {
	a.leaf = e
	for a.leaf.shard != nil {
		s := a.leaf.shard
		l := level{shard: s, axes: a.leaf.axes, shape: make([]int64, len(a.chunk))}
		for j, axis := range l.axes {
			l.shape[axis] = s.chunk[j]
		}
		a.levels = append(a.levels, l)
		a.chunk = l.shape
		a.leaf = s.inner
		a.leaf.axes = make([]int, len(l.axes))
		for j, axis := range s.inner.axes {
			a.leaf.axes[j] = l.axes[axis]
		}
	}
}

// MissingChunks returns the keys of chunks that are not stored, at most limit of them. It reads only the
// indices of shards. A shard that is not stored counts once.
func (a *Array) MissingChunks(limit int) ([]string, error) {
	var missing []string
	seen := map[string]bool{}
	l := newLocator(a)
	cell := make([]int64, len(a.grid))
	if slices.Contains(a.grid, 0) {
		return nil, nil
	}
	for len(missing) < limit {
		at, err := l.find(cell)
		if err != nil {
			return missing, tensor.Annotate(err, tensor.Location{Record: at.key})
		}
		if at.section == nil && !seen[at.key] {
			seen[at.key] = true
			missing = append(missing, at.key)
		}
		if !next(cell, a.grid) {
			break
		}
	}
	return missing, nil
}

// next sets cell to the next cell of the grid, the last axis fastest, and returns false after the last cell.
func next(cell, grid []int64) bool {
	for k := len(cell) - 1; k >= 0; k-- {
		if cell[k]++; cell[k] < grid[k] {
			return true
		}
		cell[k] = 0
	}
	return false
}

// Codec describes the encoding of the chunks to users: "zstd", "sharded, zstd, crc32c" or "none".
func (a *Array) Codec() string {
	var names []string
	for range a.levels {
		names = append(names, "sharded")
	}
	for _, c := range a.leaf.codecs {
		names = append(names, c.name)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// ChecksAtEnd implements tensor.CheckedAtEnd. What is wrong with an encoded chunk is known at its end: the checksum of its codec or its
// frame, if it has one, or its size.
func (a *Array) ChecksAtEnd() bool { return len(a.leaf.codecs) > 0 }

var _ tensor.Data = (*Array)(nil)
