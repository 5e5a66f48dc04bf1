// Package zarr reads arrays in zarr versions 2 and 3, as TensorStore writes them for Orbax: a
// metadata document, and chunks that are compressed each by itself.
//
// Open reads the metadata only. An Array is tensor.Data: its elements are decoded as they are
// read, in bounded memory.
package zarr

import (
	"io"

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
}

// Open reads the metadata of the array whose keys begin with prefix and "/" (or with neither,
// where prefix is ""). What is broken is a *tensor.FormatError, also where neither version's
// document exists.
func Open(store Store, prefix string, opts Options) (*Array, error) {
	return nil, tensor.Bad("zarr is not read yet").Within(prefix)
}

// MissingChunks returns the keys of chunks that are not stored, at most limit of them, without
// reading any chunk.
func (a *Array) MissingChunks(limit int) ([]string, error) { return nil, nil }

// Strided returns how the elements lie uncompressed in a file or in memory, and nil where they do
// not.
func (a *Array) Strided() (*tensor.Strided, error) { return nil, nil }

// Stream implements tensor.Data.
func (a *Array) Stream(off int64) (io.ReadCloser, error) { return nil, nil }

// Codec names how the chunks are encoded, for people: "zstd", "blosc (lz4)", "sharded, zstd", or
// "none".
func (a *Array) Codec() string { return "" }

// ChunkShape returns the shape of the stored pieces: of the innermost shards' chunks where there
// are shards.
func (a *Array) ChunkShape() []int64 { return nil }

var _ tensor.Data = (*Array)(nil)
