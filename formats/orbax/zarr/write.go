package zarr

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Storage is the way to store arrays.
type Storage struct {
	Version  int  // 2 or 3
	Compress bool // with zstd; without it, the consecutive chunks are the elements

	// MaxChunk is the largest size of a chunk in bytes, 0 for 8 MiB. A chunk is larger only if its elements
	// cannot be divided. Readers decode whole chunks: small ones concurrently and in little memory.
	MaxChunk int64
}

// The compression levels of Orbax, by version.
const (
	levelV2 = 1
	levelV3 = 3
)

// Plan describes how an array is stored. Each chunk is a run of its row-major elements, so that an array can be
// stored as it is produced.
type Plan struct {
	Storage
	Shape []int64
	DType tensor.DType
	Chunk []int64 // shape of the chunks
	Bytes int64   // size of the elements

	grid []int64
	keys keyStyle
	axis int   // a chunk has a range of it, one index of each axis before it, all of each axis after it
	row  int64 // size of one index of axis in bytes
}

// NewPlan divides an array into chunks. A type that zarr does not have is a *tensor.FormatError.
func NewPlan(s Storage, d tensor.DType, shape []int64) (*Plan, error) {
	p := &Plan{Storage: s, Shape: shape, DType: d, keys: keyStyle{separator: ".", scalar: "0"}}
	if p.MaxChunk == 0 {
		p.MaxChunk = defaultMaxChunk
	}
	if s.Version == 3 {
		p.keys = keyStyle{prefix: "c/", separator: "/", scalar: "c"}
	}
	if _, ok := nameV2(d); !ok {
		return nil, bad("zarr has no type for %s", d)
	}
	if len(shape) > maxRank {
		return nil, bad("%d axes; TensorStore allows %d", len(shape), maxRank)
	}
	var err error
	if _, p.Bytes, err = tensor.SizeOf(d, shape); err != nil {
		return nil, err
	}
	p.cut()
	p.grid, err = countChunks(p.Shape, p.Chunk)
	return p, err
}

// Document returns the metadata document, as TensorStore writes it for Orbax, and its key.
func (p *Plan) Document() (key, text string) {
	if p.Version == 3 {
		return documents[3], p.documentV3()
	}
	compressor := "null"
	if p.Compress {
		compressor = fmt.Sprintf(`{"id":"zstd","level":%d}`, levelV2)
	}
	name, _ := nameV2(p.DType)
	return documents[2], fmt.Sprintf(`{"chunks":%s,"compressor":%s,"dimension_separator":".","dtype":%q,"fill_value":null,"filters":null,"order":"C","shape":%s,"zarr_format":2}`,
		list(p.Chunk), compressor, name, list(p.Shape))
}

// documentV3 returns a zarr.json. As in Orbax, a compressed chunk is the only inner chunk of a shard. Uncompressed
// chunks are not in shards, so that they are consecutive.
func (p *Plan) documentV3() string {
	element := `{"configuration":{"endian":"little"},"name":"bytes"}`
	if p.DType.Size() == 1 {
		element = `{"name":"bytes"}`
	}
	codecs := element
	if p.Compress {
		codecs = fmt.Sprintf(`{"configuration":{"chunk_shape":%s,"codecs":[%s,{"configuration":{"checksum":false,"level":%d},"name":"zstd"}],`+
			`"index_codecs":[{"configuration":{"endian":"little"},"name":"bytes"},{"name":"crc32c"}]},"name":"sharding_indexed"}`,
			list(p.Chunk), element, levelV3)
	}
	return fmt.Sprintf(`{"chunk_grid":{"configuration":{"chunk_shape":%s},"name":"regular"},"chunk_key_encoding":{"name":"default"},`+
		`"codecs":[%s],"data_type":%q,"fill_value":%s,"node_type":"array","shape":%s,"zarr_format":3}`,
		list(p.Chunk), codecs, p.DType.String(), zeroV3(p.DType), list(p.Shape))
}

// zeroV3 returns the default fill value of TensorStore.
func zeroV3(d tensor.DType) string {
	switch {
	case d == tensor.Bool:
		return "false"
	case d == tensor.C64 || d == tensor.C128:
		return "[0.0,0.0]"
	}
	if _, float := floats[d]; float {
		return "0.0"
	}
	return "0"
}

func list(sizes []int64) string {
	texts := make([]string, len(sizes))
	for i, n := range sizes {
		texts[i] = strconv.FormatInt(n, 10)
	}
	return "[" + strings.Join(texts, ",") + "]"
}

// nameV2 returns the name of a type in version 2.
func nameV2(d tensor.DType) (string, bool) {
	if letter, ok := coded[d]; ok {
		order := "<"
		if d.Size() == 1 {
			order = "|"
		}
		return order + letter + strconv.FormatInt(d.Size(), 10), true
	}
	return d.String(), d != tensor.Invalid && typesV3[d.String()] == d
}
