package zarr

import (
	"math/bits"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// metadata is the content of a document of either version.
type metadata struct {
	shape []int64
	dtype tensor.DType
	fill  []byte  // one element, little-endian; nil for none
	chunk []int64 // shape of the elements under one key
	keys  keyStyle
	encoding
}

// encoding is how the elements of a chunk are encoded.
type encoding struct {
	axes      []int // axis j as stored is axis axes[j] of the chunk
	bigEndian bool
	shard     *shard  // nil if the chunk has no inner chunks
	codecs    []codec // in the order of encoding
}

// maxChunks bounds the number of chunks of an array. The largest array of 9B in chunks of 4 KiB has 500,000.
const maxChunks = 1 << 24

// check checks that shape, chunks and type fit together.
func (m *metadata) check() error {
	if len(m.chunk) != len(m.shape) {
		return bad("shape %s has %d axes, but the chunk %s has %d",
			tensor.ShapeString(m.shape), len(m.shape), tensor.ShapeString(m.chunk), len(m.chunk))
	}
	if _, _, err := tensor.SizeOf(m.dtype, m.shape); err != nil {
		return err
	}
	_, _, err := tensor.SizeOf(m.dtype, m.chunk)
	return err
}

// countChunks returns the number of chunks along each axis.
func countChunks(shape, chunk []int64) ([]int64, error) {
	grid := make([]int64, len(shape))
	total := uint64(1)
	for i := range shape {
		if grid[i] = shape[i] / chunk[i]; shape[i]%chunk[i] != 0 {
			grid[i]++
		}
		hi, lo := bits.Mul64(total, uint64(max(grid[i], 1)))
		if hi != 0 || lo > maxChunks {
			return nil, bad("shape %s with chunks of %s has more than %d chunks",
				tensor.ShapeString(shape), tensor.ShapeString(chunk), maxChunks)
		}
		total = lo
	}
	return grid, nil
}

// parseV2 parses a .zarray document.
func parseV2(text []byte) (*metadata, error) {
	o, err := parseObject(text)
	if err != nil {
		return nil, err
	}
	if err := o.format(2); err != nil {
		return nil, err
	}
	m := &metadata{keys: keyStyle{scalar: "0"}}
	if m.shape, err = o.sizes("shape", 0); err != nil {
		return nil, err
	}
	if m.chunk, err = o.sizes("chunks", 1); err != nil {
		return nil, err
	}
	name, err := o.str("dtype")
	if err != nil {
		return nil, err
	}
	if m.dtype, m.bigEndian, err = dtypeV2(name); err != nil {
		return nil, err
	}
	if m.keys.separator, err = o.oneOf("dimension_separator", ".", "/"); err != nil {
		return nil, err
	}
	if err := m.encodingV2(o); err != nil {
		return nil, err
	}
	return m, m.check()
}

// encodingV2 parses order, filters, compressor and fill_value.
func (m *metadata) encodingV2(o object) error {
	if _, err := o.need("order"); err != nil {
		return err
	}
	order, err := o.oneOf("order", "C", "F")
	if err != nil {
		return err
	}
	for i := range m.shape {
		m.axes = append(m.axes, i)
	}
	if order == "F" {
		slices.Reverse(m.axes)
	}
	filters, err := o.need("filters")
	if err != nil {
		return err
	}
	if list, ok := filters.([]any); filters != nil && (!ok || len(list) > 0) {
		return bad("filters are not supported")
	}
	compressor, err := o.need("compressor")
	if err != nil {
		return err
	}
	if compressor != nil {
		c, err := codecV2(compressor)
		if err != nil {
			return err
		}
		m.codecs = []codec{c}
	}
	fill, err := o.need("fill_value")
	if err == nil && fill != nil {
		m.fill, err = fillBytes(m.dtype, fill)
	}
	return err
}
