// Package safetensors reads and writes the safetensors format, and the directories of shards that
// transformers makes of it.
//
// Open takes a file, a directory or an index; Read needs nothing of the file system. NewLayout
// computes the files that transformers would save, byte for byte, so that their tensors can then
// be written in any order and by several goroutines.
//
// The reader follows the Rust one (huggingface/safetensors, safetensors/src/tensor.rs), and is
// stricter where that lets two readers see different things: duplicate names and keys, and a
// header that does not begin with a brace, are refused.
package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Format is the name of the format in a Checkpoint.
const Format = "safetensors"

// maxHeader is the longest header that the format allows, in bytes.
const maxHeader = 100_000_000

// File is what the header of one safetensors file says.
type File struct {
	Tensors  []*tensor.Tensor  // in the order of the header; their data lies in the reader
	Metadata map[string]string // the __metadata__ member, nil if there is none
}

// Detect reports whether a file of size bytes that begins with head (16 bytes, or all there is)
// claims to be safetensors, so that what is wrong with it is to be said in that format's terms.
func Detect(head []byte, size int64) bool {
	if len(head) < 10 || looksLikeJSON(head) {
		return false
	}
	n := binary.LittleEndian.Uint64(head)
	return head[8] == '{' || n > 0 && n <= maxHeader && n <= uint64(size-8)
}

// looksLikeJSON reports whether head begins an object, and not a header's length: none that is
// allowed has eight bytes that could stand in a text.
func looksLikeJSON(head []byte) bool {
	return len(bytes.TrimLeft(head, " \t\r\n")) > 0 && bytes.TrimLeft(head, " \t\r\n")[0] == '{' &&
		!bytes.ContainsRune(head[:min(8, len(head))], 0)
}

// Read returns the tensors of the safetensors file that is the size bytes of r. It reads the
// header alone, and refuses one that does not describe every byte of the file exactly once.
func Read(r io.ReaderAt, size int64) (*File, error) {
	text, err := readHeader(r, size)
	if err != nil {
		return nil, err
	}
	start := 8 + int64(len(text))
	entries, metadata, err := parseHeader(text)
	if err == nil {
		err = checkTiling(entries, size-start)
	}
	var bad *tensor.FormatError
	if errors.As(err, &bad) && bad.Offset >= 0 {
		bad.Offset += 8 // offsets in the header so far
	}
	if err != nil {
		return nil, err
	}
	f := &File{Tensors: make([]*tensor.Tensor, len(entries)), Metadata: metadata}
	for i := range entries {
		f.Tensors[i] = entries[i].tensor(r, start)
	}
	return f, nil
}

// readHeader returns the JSON text of the header, padding included.
func readHeader(r io.ReaderAt, size int64) ([]byte, error) {
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
		return nil, tensor.Bad("safetensors header claims %d bytes; the format allows %d", n, maxHeader).At(0)
	case n > uint64(size-8):
		return nil, tensor.Bad("safetensors header claims %d bytes but the file ends %d bytes after its start", n, size-8).
			At(0).Advise(truncatedHint)
	case prefix[8] != '{':
		return nil, tensor.Bad("safetensors header begins with %q instead of a brace", prefix[8:]).At(8)
	}
	text := make([]byte, n)
	return text, tensor.ReadFullAt(r, text, 8)
}

const truncatedHint = "the file may be cut short: compare its size with the original's and copy or download it again"
