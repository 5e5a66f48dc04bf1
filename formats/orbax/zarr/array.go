// Package zarr reads and writes arrays in zarr versions 2 and 3, as TensorStore does for Orbax: a
// metadata document, and chunks that are compressed each by itself.
//
// Open reads the metadata only. An Array is tensor.Data: its elements are decoded as they are
// read, in bounded memory (see Array.Stream). NewPlan cuts an array into chunks, and an Encoder
// makes of its elements what is stored.
package zarr

import (
	"io"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Options says what Open expects of an array.
type Options struct {
	// Version is 2 or 3, or 0 to take the one whose metadata document exists.
	Version int
	// EveryChunk refuses a chunk that is not stored, even where the metadata has a fill value:
	// Orbax writes all of them.
	EveryChunk bool
}

// Array is one array. It implements tensor.Data and is safe for use by several goroutines.
type Array struct {
	Shape   []int64
	DType   tensor.DType
	Version int // 2 or 3

	store      Store
	prefix     string // of all keys: "" or ends in "/"
	keys       keyStyle
	fill       []byte // one element, nil for none
	everyChunk bool

	stored []int64  // shape of what lies under one key
	levels []level  // how that is cut by shards, outermost first
	chunk  []int64  // shape of the innermost pieces: what "chunk" means from here on
	grid   []int64  // chunks along each axis
	leaf   encoding // of a chunk; its axes are as the array's

	leafBytes int64 // of a chunk's elements
	size      int64 // bytes of the array's elements
	limits    limits
}

// level is a shard within a larger one, with axes as the array's.
type level struct {
	*shard
	axes  []int   // axis j of the shard is axis axes[j] of the array
	shape []int64 // of its inner chunks, in the order of the array's axes
}

// documents are the names of the metadata documents.
var documents = map[int]string{2: ".zarray", 3: "zarr.json"}

// Open reads the metadata of the array whose keys begin with prefix and "/" (or with neither,
// where prefix is ""). What is broken is a *tensor.FormatError, also where neither version's
// document exists.
func Open(store Store, prefix string, opts Options) (*Array, error) {
	if prefix != "" {
		prefix += "/"
	}
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
		if a, err = newArray(text, version); err != nil {
			return nil, tensor.Annotate(err, tensor.Location{Record: prefix + documents[version]})
		}
	}
	if a == nil {
		return nil, bad("array has no metadata document").Within(prefix + documents[versions[0]])
	}
	a.store, a.prefix, a.everyChunk = store, prefix, opts.EveryChunk
	return a, nil
}

// readDocument returns a document, nil where there is none.
func readDocument(store Store, key string) ([]byte, error) {
	section, ok, err := store.Section(key)
	if err != nil || !ok {
		return nil, err
	}
	if section.Size() > maxDocument {
		return nil, bad("%d bytes are over %d", section.Size(), maxDocument)
	}
	text := make([]byte, section.Size())
	if _, err := io.ReadFull(section, text); err != nil {
		return nil, err
	}
	return text, nil
}

// newArray makes an array of what its document says.
func newArray(text []byte, version int) (*Array, error) {
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
	a := &Array{Shape: m.shape, DType: m.dtype, Version: version, keys: m.keys, fill: m.fill, stored: m.chunk, chunk: m.chunk, limits: streamLimits}
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

// flatten follows shards within shards down to the chunks that hold elements, and turns axes and
// shapes to the array's order. As each inner chunk divides its shard, the innermost ones make a
// regular grid over the array.
func (a *Array) flatten(e encoding) {
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

// MissingChunks returns the keys of chunks that are not stored, at most limit of them, without
// reading any chunk: only the indices of shards. A shard that is not stored counts once.
func (a *Array) MissingChunks(limit int) ([]string, error) {
	var missing []string
	seen := map[string]bool{}
	l := newLocator(a)
	place := make([]int64, len(a.grid))
	if slices.Contains(a.grid, 0) {
		return nil, nil
	}
	for len(missing) < limit {
		at, err := l.find(place)
		if err != nil {
			return missing, tensor.Annotate(err, tensor.Location{Record: at.key})
		}
		if at.section == nil && !seen[at.key] {
			seen[at.key] = true
			missing = append(missing, at.key)
		}
		if !next(place, a.grid) {
			break
		}
	}
	return missing, nil
}

// next counts place up within grid, the last axis first, and returns false after the last one.
func next(place, grid []int64) bool {
	for k := len(place) - 1; k >= 0; k-- {
		if place[k]++; place[k] < grid[k] {
			return true
		}
		place[k] = 0
	}
	return false
}

// Codec names how the chunks are encoded, for people: "zstd", "sharded, zstd, crc32c" or "none".
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

// ChunkShape returns the shape of the stored pieces: of the innermost shards' chunks where there
// are shards.
func (a *Array) ChunkShape() []int64 { return slices.Clone(a.chunk) }

var _ tensor.Data = (*Array)(nil)
