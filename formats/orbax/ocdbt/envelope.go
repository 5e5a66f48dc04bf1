package ocdbt

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/griffin-ckpt/griffin/formats/orbax/internal/zstdframe"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// The first four bytes of each kind of blob, big-endian.
const (
	magicManifest = 0x0cdb3a2a
	magicNode     = 0x0cdb20de
)

const (
	minEnvelope = 18       // magic, length, version, compression, checksum
	maxBlob     = 32 << 20 // bytes of a blob and of its decoded body; those of Orbax have about 100 KB
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openEnvelope returns the decoded body of a manifest or node. A compressed body has at most limit bytes. The
// envelope is a magic number (u32, big-endian), the length (u64), version, compression, the body, and the
// CRC-32C of everything before.
func openEnvelope(blob []byte, magic uint32, limit int) ([]byte, error) {
	if len(blob) < minEnvelope-2 {
		return nil, tensor.Bad("%d bytes are too few", len(blob)).Advise(damagedHint)
	}
	if got := binary.BigEndian.Uint32(blob); got != magic {
		return nil, tensor.Bad("begins with %08x, not %08x", got, magic).At(0).Advise(damagedHint)
	}
	if got := binary.LittleEndian.Uint64(blob[4:]); got != uint64(len(blob)) {
		return nil, tensor.Bad("length field is %d, but there are %d bytes", got, len(blob)).At(4).Advise(damagedHint)
	}
	sum := len(blob) - 4
	if got, want := crc32.Checksum(blob[:sum], castagnoli), binary.LittleEndian.Uint32(blob[sum:]); got != want {
		return nil, tensor.Bad("checksum is %08x, but %08x is recorded", got, want).At(int64(sum)).Advise(damagedHint)
	}
	c := cursor{data: blob[:sum], pos: 12}
	if version := c.varint(1<<32 - 1); version != 0 {
		c.fail("format version %d is newer than 0", version)
	}
	compression := c.varint(1<<32 - 1)
	if compression > 1 {
		c.fail("unknown compression %d", compression)
	}
	if c.err != nil {
		return nil, c.err
	}
	body := c.data[c.pos:]
	if compression == 0 {
		return body, nil
	}
	return decompress(body, limit)
}

// decompress decodes a zstd frame of at most limit bytes. It decodes the frame twice, first to find the size,
// which the frame itself may state wrongly. Nodes are small.
func decompress(frame []byte, limit int) ([]byte, error) {
	r := zstdframe.NewReader(bytes.NewReader(frame), -1)
	defer r.Close()
	size, err := io.Copy(io.Discard, io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if size > int64(limit) {
		return nil, tensor.Bad("expands to more than %d bytes", limit)
	}
	again := zstdframe.NewReader(bytes.NewReader(frame), -1)
	defer again.Close()
	body := make([]byte, size)
	_, err = io.ReadFull(again, body)
	return body, err
}
