package zarr

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

// Encoder encodes the chunks of an array one after another, in constant memory.
type Encoder struct {
	plan  *Plan
	frame *zstd.Encoder // nil if chunks are not compressed
	out   storage.Counter
	left  int64 // bytes of elements that the chunk still needs
	pad   int64
}

// NewEncoder returns an encoder of the plan's chunks. The caller calls Release after use.
func (p *Plan) NewEncoder() (*Encoder, error) {
	e := &Encoder{plan: p}
	if !p.Compress {
		return e, nil
	}
	var err error
	e.frame, err = compression[p.Version].get()
	return e, err
}

// Release allows the memory of the encoder to be reused.
func (e *Encoder) Release() {
	if e.frame != nil {
		compression[e.plan.Version].put(e.frame)
		e.frame = nil
	}
}

// Begin begins a chunk, which is written to out.
func (e *Encoder) Begin(out io.Writer, chunk int64) {
	e.left, e.pad = e.plan.Run(chunk)
	e.out = storage.Counter{To: out}
	if e.frame != nil {
		e.frame.ResetContentSize(&e.out, e.left+e.pad)
	}
}

// Left returns the bytes of elements that the chunk still needs.
func (e *Encoder) Left() int64 { return e.left }

// Write encodes elements, at most Left bytes.
func (e *Encoder) Write(b []byte) (int, error) {
	if int64(len(b)) > e.left {
		return 0, fmt.Errorf("%d bytes for a chunk that needs %d more", len(b), e.left)
	}
	n, err := e.write(b)
	e.left -= int64(n)
	return n, err
}

func (e *Encoder) write(b []byte) (int, error) {
	if e.frame != nil {
		return e.frame.Write(b)
	}
	return e.out.Write(b)
}

// zeros is the padding of chunks at the end of an axis.
var zeros [64 << 10]byte

// End completes a chunk and returns its stored length in bytes.
func (e *Encoder) End() (int64, error) {
	if e.left > 0 {
		return 0, fmt.Errorf("chunk lacks %d bytes", e.left)
	}
	for e.pad > 0 {
		n, err := e.write(zeros[:min(e.pad, int64(len(zeros)))])
		if err != nil {
			return 0, err
		}
		e.pad -= int64(n)
	}
	if e.frame == nil {
		return e.out.N, nil
	}
	if err := e.frame.Close(); err != nil {
		return 0, err
	}
	if e.plan.Version == 3 {
		index := binary.LittleEndian.AppendUint64(make([]byte, 8), uint64(e.out.N)) // the only inner chunk, at offset 0
		index = binary.LittleEndian.AppendUint32(index, crc32.Checksum(index, crc32.MakeTable(crc32.Castagnoli)))
		if _, err := e.out.Write(index); err != nil {
			return 0, err
		}
	}
	return e.out.N, nil
}

// compressors keeps encoders of one level for reuse. Each takes one or two megabytes.
type compressors struct {
	level zstd.EncoderLevel
	pool  sync.Pool
}

// compression has the compressors by version.
var compression = map[int]*compressors{
	2: {level: zstd.EncoderLevelFromZstd(levelV2)},
	3: {level: zstd.EncoderLevelFromZstd(levelV3)},
}

// window is the largest distance of a match in bytes. Weights have few matches.
const window = 512 << 10

func (c *compressors) get() (*zstd.Encoder, error) {
	if e, ok := c.pool.Get().(*zstd.Encoder); ok {
		return e, nil
	}
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(c.level), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(window), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true),
		zstd.WithAllLitEntropyCompression(true)) // weights have few matches, but unevenly distributed bytes
}

func (c *compressors) put(e *zstd.Encoder) {
	e.Reset(io.Discard) // releases the writer
	c.pool.Put(e)
}
