package zarr

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// shard is the codec sharding_indexed: a stored value consists of separately encoded inner chunks and an index of
// their offsets and lengths.
type shard struct {
	chunk      []int64 // shape of inner chunks, in the order of the shard's axes
	grid       []int64 // inner chunks along each axis
	count      int64   // number of inner chunks
	indexFirst bool    // the index is at the start
	indexSum   bool    // a CRC-32C follows the index
	order      binary.ByteOrder
	inner      encoding
}

// maxInner bounds the number of inner chunks of a shard, whose index is kept in memory: 16 MiB.
const maxInner = 1 << 20

// parseShard parses the configuration of a shard of that shape.
func parseShard(o object, shape []int64, d tensor.DType) (*shard, error) {
	s := &shard{}
	var err error
	if s.chunk, err = o.sizes("chunk_shape", 1); err != nil {
		return nil, err
	}
	if len(s.chunk) != len(shape) {
		return nil, bad("inner chunk %s does not have %d axes", tensor.ShapeString(s.chunk), len(shape))
	}
	for i, n := range s.chunk {
		if shape[i]%n != 0 {
			return nil, bad("inner chunk %s does not divide the shard %s", tensor.ShapeString(s.chunk), tensor.ShapeString(shape))
		}
	}
	if s.grid, err = countChunks(shape, s.chunk); err != nil {
		return nil, err
	}
	if s.count, err = tensor.Product(s.grid); err != nil {
		return nil, err
	}
	if s.count > maxInner {
		return nil, bad("shard has %d inner chunks, more than %d", s.count, maxInner)
	}
	location, err := o.oneOf("index_location", "end", "start")
	if err != nil {
		return nil, err
	}
	s.indexFirst = location == "start"
	if err := s.parseIndexCodecs(o); err != nil {
		return nil, err
	}
	codecs, err := o.need("codecs")
	if err != nil {
		return nil, err
	}
	s.inner, err = parseCodecs(codecs, s.chunk, d)
	return s, err
}

// parseIndexCodecs parses the codecs of the index, whose encoded size must depend on the shape only.
func (s *shard) parseIndexCodecs(o object) error {
	v, err := o.need("index_codecs")
	if err != nil {
		return err
	}
	index, err := parseCodecs(v, append(append([]int64{}, s.grid...), 2), tensor.U64)
	if err != nil {
		return err
	}
	for j, a := range index.axes {
		if j != a {
			return bad("index of a shard is transposed, which is not supported")
		}
	}
	for _, c := range index.codecs {
		if c.name != "crc32c" || s.indexSum {
			return bad("index of a shard is encoded with %q, so its size is unknown", c.name)
		}
		s.indexSum = true
	}
	if index.shard != nil {
		return bad("index of a shard is itself a shard")
	}
	s.order = binary.ByteOrder(binary.LittleEndian)
	if index.bigEndian {
		s.order = binary.BigEndian
	}
	return nil
}

// index is the offset in the shard and the length of each inner chunk.
type index []uint64

// readIndex reads the index of a shard.
func (s *shard) readIndex(section *io.SectionReader) (index, error) {
	size := 16 * s.count
	if s.indexSum {
		size += 4
	}
	at := section.Size() - size
	if at < 0 {
		return nil, bad("shard of %d bytes is smaller than its index of %d", section.Size(), size)
	}
	first, end := int64(0), at // range of the inner chunks
	if s.indexFirst {
		at, first, end = 0, size, section.Size()
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(section, at, size), raw); err != nil {
		return nil, err
	}
	if s.indexSum {
		sum := binary.LittleEndian.Uint32(raw[size-4:])
		if got := crc32.Checksum(raw[:size-4], castagnoli); got != sum {
			return nil, bad("checksum of the index is %08x, but %08x is recorded", got, sum).At(at)
		}
	}
	x := make(index, 2*s.count)
	for i := range x {
		x[i] = s.order.Uint64(raw[8*i:])
	}
	for i := 0; i < len(x); i += 2 {
		offset, length := x[i], x[i+1]
		if offset == math.MaxUint64 && length == math.MaxUint64 {
			continue
		}
		if offset < uint64(first) || offset > uint64(end) || length > uint64(end)-offset {
			return nil, bad("inner chunk %d, %d bytes at %d, is not within the %d bytes besides the index", i/2, length, offset, end-first)
		}
	}
	return x, nil
}

// section returns a reader of inner chunk i, and false if it is not stored.
func (x index) section(shard *io.SectionReader, i int64) (*io.SectionReader, bool) {
	if x[2*i] == math.MaxUint64 {
		return nil, false
	}
	outer, base, _ := shard.Outer()
	return io.NewSectionReader(outer, base+int64(x[2*i]), int64(x[2*i+1])), true
}
