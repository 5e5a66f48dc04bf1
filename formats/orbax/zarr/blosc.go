package zarr

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/pierrec/lz4/v4"

	"github.com/griffin-ckpt/griffin/formats/orbax/internal/zstdframe"
)

// blosc decodes a Blosc 1 container: blocks that are shuffled, so that bytes or bits of equal significance are
// adjacent, and then compressed separately, in one stream or in one for each byte of an element.
type blosc struct {
	src    *io.SectionReader
	header bloscHeader
	block  int64  // next block
	data   []byte // decoded, not yet read
	out    []byte // memory of data
	raw    []byte // a block before it is unshuffled
	packed []byte // a stream
	err    error
}

// The flags of a container.
const (
	bloscShuffle    = 1
	bloscStored     = 2
	bloscBitShuffle = 4
	bloscOneStream  = 0x10 // a block is one stream
)

const (
	bloscHeaderSize = 16       // bytes
	maxBloscBlock   = 32 << 20 // bytes; the library chooses less than 8 MiB
	maxBloscInner   = 64 << 20 // bytes of a container that is encoded by another codec
)

type bloscHeader struct {
	flags     byte
	typeSize  int64
	size      int64 // bytes of all blocks
	blockSize int64
	packed    int64 // bytes of the container
}

func newBlosc(src io.Reader, _ int64) io.ReadCloser {
	b := &blosc{}
	var ok bool
	if b.src, ok = src.(*io.SectionReader); !ok {
		b.src, b.err = readWhole(src)
	}
	if b.err == nil {
		b.err = b.readHeader()
	}
	return b
}

// readWhole reads a container that is encoded by another codec.
func readWhole(src io.Reader) (*io.SectionReader, error) {
	data, err := io.ReadAll(io.LimitReader(src, maxBloscInner+1))
	if err == nil && len(data) > maxBloscInner {
		err = bad("blosc container of more than %d bytes within another codec", maxBloscInner)
	}
	return io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))), err
}

// Memory returns the memory that decoding takes, in bytes.
func (b *blosc) Memory() int64 { return 3*b.header.blockSize + 1<<20 }

func (b *blosc) Read(p []byte) (int, error) {
	for len(b.data) == 0 && b.err == nil {
		b.err = b.decodeBlock()
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	if n > 0 {
		return n, nil
	}
	return 0, b.err
}

func (b *blosc) Close() error {
	b.err, b.data = io.ErrClosedPipe, nil
	return nil
}

// readHeader reads the header: version, version of the codec, flags, size of an element (u8 each), sizes of the
// data, of a block and of the container (u32 each).
func (b *blosc) readHeader() error {
	h := make([]byte, bloscHeaderSize)
	if err := b.readAt(h, 0); err != nil {
		return err
	}
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(h[at:])) }
	b.header = bloscHeader{flags: h[2], typeSize: int64(h[3]), size: u32(4), packed: u32(12)}
	switch {
	case h[0] != 2:
		return bad("blosc format version %d is not 2", h[0])
	case b.header.flags&8 != 0:
		return bad("reserved flag of a blosc container is set")
	case b.header.packed != b.src.Size():
		return bad("blosc container has %d bytes by its header, but %d are stored", b.header.packed, b.src.Size())
	case b.header.typeSize == 0:
		return bad("blosc container has elements of no bytes")
	}
	size := u32(8)
	if b.header.size > 0 && (size == 0 || size > b.header.size) {
		return bad("blosc blocks of %d bytes do not fit %d bytes of data", size, b.header.size)
	}
	if b.header.flags&bloscStored != 0 {
		if b.header.packed != bloscHeaderSize+b.header.size {
			return bad("stored blosc container of %d bytes holds %d", b.header.packed, b.header.size)
		}
		b.header.blockSize = min(b.header.size, 256<<10)
		return nil
	}
	switch {
	case size > maxBloscBlock:
		return bad("blosc blocks of %d bytes are not supported", size)
	case size > 0 && bloscHeaderSize+4*((b.header.size+size-1)/size) > b.header.packed:
		return bad("blosc container of %d bytes has no room for its blocks", b.header.packed)
	}
	b.header.blockSize = size
	return nil
}

// decodeBlock decodes the next block.
func (b *blosc) decodeBlock() error {
	h := &b.header
	start := b.block * h.blockSize
	if start >= h.size {
		return io.EOF
	}
	n := min(h.blockSize, h.size-start)
	b.out = sized(b.out, n)
	if h.flags&bloscStored != 0 {
		if err := b.readAt(b.out, bloscHeaderSize+start); err != nil {
			return err
		}
		b.block, b.data = b.block+1, b.out
		return nil
	}
	var at [4]byte
	if err := b.readAt(at[:], bloscHeaderSize+4*b.block); err != nil {
		return err
	}
	b.raw = sized(b.raw, n)
	if err := b.readStreams(int64(binary.LittleEndian.Uint32(at[:])), n); err != nil {
		return err
	}
	b.block++
	b.data = b.out
	elements := n / h.typeSize
	switch {
	case h.flags&bloscShuffle != 0 && h.typeSize > 1:
		unshuffle(b.out, b.raw, int(h.typeSize))
	case h.flags&bloscBitShuffle != 0 && elements > 0 && elements%8 == 0:
		unshuffleBits(b.out, b.raw, int(h.typeSize))
	default:
		b.data = b.raw
	}
	return nil
}

// readStreams decodes the streams of the block at an offset into raw.
func (b *blosc) readStreams(at, n int64) error {
	h := &b.header
	streams := int64(1)
	if h.flags&bloscOneStream == 0 && n == h.blockSize && h.typeSize >= 2 && h.typeSize <= 16 && h.blockSize/h.typeSize >= 128 {
		streams = h.typeSize
	}
	if n%streams != 0 {
		return bad("blosc block of %d bytes is not a multiple of %d", n, streams)
	}
	for i := range streams {
		var length [4]byte
		if err := b.readAt(length[:], at); err != nil {
			return err
		}
		size := int64(int32(binary.LittleEndian.Uint32(length[:])))
		dst := b.raw[i*n/streams : (i+1)*n/streams]
		at += 4
		if size < 0 || size > 2*int64(len(dst))+64 { // a snappy stream may be longer than its data
			return bad("blosc stream takes %d bytes for %d", size, len(dst)).At(at - 4)
		}
		if size == int64(len(dst)) {
			if err := b.readAt(dst, at); err != nil {
				return err
			}
		} else {
			b.packed = sized(b.packed, size)
			if err := b.readAt(b.packed, at); err != nil {
				return err
			}
			if err := expand(dst, b.packed, h.flags>>5); err != nil {
				return err
			}
		}
		at += size
	}
	return nil
}

// readAt fills p from an offset of the container.
func (b *blosc) readAt(p []byte, at int64) error {
	if at > b.src.Size() || int64(len(p)) > b.src.Size()-at {
		return bad("blosc container is truncated: %d bytes are expected in one of %d", len(p), b.src.Size()).At(at)
	}
	if n, err := b.src.ReadAt(p, at); n < len(p) {
		return err
	}
	return nil
}

// expand decodes a stream, which must have exactly the size of dst.
func expand(dst, src []byte, codec byte) error {
	n, err := 0, error(nil)
	name := "unknown"
	switch codec {
	case 0:
		name = "blosclz"
		n, err = expandBloscLZ(dst, src)
	case 1:
		name = "lz4"
		n, err = lz4.UncompressBlock(src, dst)
	case 2:
		name = "snappy"
		if n, err = snappy.DecodedLen(src); err == nil && n == len(dst) {
			_, err = snappy.Decode(dst, src)
		}
	case 3:
		name = "zlib"
		r := newZlib(bytes.NewReader(src), int64(len(dst)))
		n, err = readExactly(r, dst)
	case 4:
		name = "zstd"
		r := zstdframe.NewReader(bytes.NewReader(src), int64(len(dst)))
		n, err = readExactly(r, dst)
		r.Close()
	default:
		return bad("unknown codec %d of a blosc container", codec)
	}
	if err != nil {
		return bad("corrupt %s stream in a blosc container: %w", name, err)
	}
	if n != len(dst) {
		return bad("%s stream in a blosc container holds %d bytes, not %d", name, n, len(dst))
	}
	return nil
}

// readExactly fills dst and returns how many bytes r has, len(dst)+1 if it has more than fit.
func readExactly(r io.Reader, dst []byte) (int, error) {
	n, err := io.ReadFull(r, dst)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return n, nil
	}
	if err != nil {
		return n, err
	}
	var more [1]byte
	m, err := io.ReadFull(r, more[:])
	if err == io.EOF {
		err = nil
	}
	return n + m, err
}

// sized returns a buffer of n bytes: buf if it is large enough.
func sized(buf []byte, n int64) []byte {
	if int64(cap(buf)) < n {
		return make([]byte, n)
	}
	return buf[:n]
}

// unshuffle restores elements from bytes that are grouped by their position in an element. Bytes after the last
// whole element are copied.
func unshuffle(dst, src []byte, size int) {
	n := len(src) / size
	for j := range size {
		plane := src[j*n : (j+1)*n]
		for i, c := range plane {
			dst[i*size+j] = c
		}
	}
	copy(dst[n*size:], src[n*size:])
}

// unshuffleBits does the same for bits: row 8j+i of src has bit i of byte j of each element. The number of
// elements is a multiple of 8.
func unshuffleBits(dst, src []byte, size int) {
	n := len(src) / size
	row := n / 8
	for j := range size {
		for g := range row {
			var x uint64 // a byte of each row, for eight elements
			for i := range 8 {
				x |= uint64(src[(8*j+i)*row+g]) << (8 * i)
			}
			x = transpose8(x)
			for k := range 8 {
				dst[(8*g+k)*size+j] = byte(x >> (8 * k))
			}
		}
	}
	copy(dst[n*size:], src[n*size:])
}

// transpose8 transposes a matrix of 8×8 bits, by swapping larger and larger squares across the diagonal.
func transpose8(x uint64) uint64 {
	for _, s := range []struct {
		shift int
		mask  uint64
	}{{7, 0x00aa00aa00aa00aa}, {14, 0x0000cccc0000cccc}, {28, 0x00000000f0f0f0f0}} {
		t := (x ^ x>>s.shift) & s.mask
		x ^= t ^ t<<s.shift
	}
	return x
}
