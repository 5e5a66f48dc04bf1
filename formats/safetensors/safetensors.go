// Package safetensors reads and writes safetensors files and the directories of shards that
// transformers saves.
//
// Open opens a file, a directory or an index, NewReader a single file that is not in a source.
// NewLayout computes the files that transformers would save, byte for byte, so that their tensors can
// be written in any order and by several goroutines.
//
// The reader follows the one in Rust (huggingface/safetensors, safetensors/src/tensor.rs). It is
// stricter in what two readers could understand differently: it refuses duplicate names and keys and
// a header that does not begin with a brace.
package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Format is the name of the format in a Checkpoint.
const Format = "safetensors"

// maxHeader is the length in bytes of the longest header that the format allows, and maxRead that of the longest
// that griffin reads: 300 bytes for each of tensor.MaxTensors tensors.
const (
	maxHeader = 100_000_000
	maxRead   = 60_000_000
)

// file is the content of one safetensors file.
type file struct {
	tensors  []*tensor.Tensor  // in the order of the header
	metadata map[string]string // the member __metadata__, nil if there is none
}

// Detect reports whether a file of size bytes that begins with head (16 bytes, or all of a shorter
// file) looks like safetensors, so that Open explains best what is wrong with it.
func Detect(head []byte, size int64) bool {
	if len(head) < 10 || looksLikeJSON(head) {
		return false
	}
	n := binary.LittleEndian.Uint64(head)
	return head[8] == '{' || n > 0 && n <= maxHeader && n <= uint64(size-8)
}

// looksLikeJSON reports whether head is the beginning of a JSON object. The length of a header, with
// which a safetensors file begins, is not: its eight bytes include a zero.
func looksLikeJSON(head []byte) bool {
	return len(bytes.TrimLeft(head, " \t\r\n")) > 0 && bytes.TrimLeft(head, " \t\r\n")[0] == '{' &&
		!bytes.ContainsRune(head[:min(8, len(head))], 0)
}

// NewReader opens a checkpoint that is the first size bytes of r. Errors do not name a file, and
// closing the checkpoint does not close r.
func NewReader(r io.ReaderAt, size int64) (*tensor.Checkpoint, error) {
	f, err := new(parser).read(r, size)
	if err != nil {
		return nil, err
	}
	c, err := tensor.NewCheckpoint("", Format, f.tensors)
	if err != nil {
		return nil, err
	}
	c.Metadata = f.metadata
	return c, nil
}

// read reads the header of a file. It refuses a header that does not describe every byte of the file
// exactly once.
func (p *parser) read(r io.ReaderAt, size int64) (*file, error) {
	header, err := readHeader(r, size)
	if err != nil {
		return nil, err
	}
	defer header.Free()
	text := header.Bytes
	start := 8 + int64(len(text))
	records, metadata, err := p.header(text)
	if err == nil {
		err = checkTiling(records, size-start)
	}
	var bad *tensor.FormatError
	if errors.As(err, &bad) && bad.Offset >= 0 {
		bad.Offset += 8 // until here from the start of the header
	}
	if err != nil {
		return nil, err
	}
	records = slices.Clone(records) // without room for more
	f := &file{tensors: make([]*tensor.Tensor, len(records)), metadata: metadata}
	in := &region{r, start}
	for i := range records {
		f.tensors[i] = records[i].open(in)
	}
	return f, nil
}

// readHeader returns the JSON text of the header, padding included.
func readHeader(r io.ReaderAt, size int64) (*storage.Buffer, error) {
	var prefix [9]byte
	if size < int64(len(prefix)) {
		return nil, tensor.Bad("file of %d bytes is too short for a safetensors header", size)
	}
	if err := tensor.ReadFullAt(r, prefix[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(prefix[:8])
	switch {
	case n == 0:
		return nil, tensor.Bad("safetensors header is empty").At(0)
	case n > maxHeader:
		return nil, tensor.Bad("not a safetensors file: its first 8 bytes, the size of the header, are %d; the format allows 100 MB", n).At(0)
	case n > uint64(size-8):
		return nil, tensor.Bad("safetensors header claims %d bytes but the file ends %d bytes after its start", n, size-8).
			At(0).Advise(truncatedHint)
	case n > maxRead:
		return nil, tensor.Bad("safetensors header has %d bytes; griffin reads at most %d", n, maxRead).At(0).Because(tensor.TooLarge)
	case prefix[8] != '{':
		return nil, tensor.Bad("safetensors header begins with %q, not with a brace", prefix[8:]).At(8)
	}
	text, err := storage.NewBuffer(int(n))
	if err != nil {
		return nil, err
	}
	if err := tensor.ReadFullAt(r, text.Bytes, 8); err != nil {
		return nil, errors.Join(err, text.Free())
	}
	return text, nil
}

const truncatedHint = "the file may be truncated: download or copy it again"
