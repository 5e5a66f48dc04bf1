// Package flax reads the msgpack files of flax.serialization: a tree of parameters or of a training state that
// contains the arrays. They were the checkpoints of Flax before Orbax. Orbax before version 0.5 writes such a file,
// named "checkpoint", with placeholders for most arrays.
//
// Open returns the arrays as tensors, whose names are their keys joined with dots. Parse returns the tree. Both read
// the structure only; arrays are read on demand.
//
// Source: flax/serialization.py and the msgpack specification. Flax writes big-endian numpy arrays without their
// byte order, so they are read as little-endian.
package flax

import (
	"io"
	"io/fs"
	"strconv"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Format is the name of the format in a tensor.Checkpoint.
const Format = "flax-msgpack"

// Open opens a file that flax.serialization.to_bytes or msgpack_serialize wrote. A corrupt file is a
// *tensor.FormatError.
func Open(source fs.FS, name string) (*tensor.Checkpoint, error) {
	f, size, err := storage.Open(source, name)
	if err != nil {
		return nil, err
	}
	c, err := newReader(f, size, storage.Path(source, name), f)
	if err != nil {
		f.Close()
		return nil, err
	}
	c.Source, c.Root = source, name
	return c, nil
}

// NewReader opens a checkpoint that is the first size bytes of r. Errors do not name a file, and closing the
// checkpoint does not close r.
func NewReader(r io.ReaderAt, size int64) (*tensor.Checkpoint, error) { return newReader(r, size, "") }

func newReader(r io.ReaderAt, size int64, path string, closers ...io.Closer) (*tensor.Checkpoint, error) {
	root, err := Parse(r, size)
	if err != nil {
		return nil, tensor.Annotate(err, tensor.Location{File: path})
	}
	tensors, rest, err := collect(root)
	if err != nil {
		return nil, tensor.Annotate(err, tensor.Location{File: path})
	}
	c, err := tensor.NewCheckpoint(path, Format, tensors, closers...)
	if err != nil {
		return nil, err
	}
	c.Describe(tensor.Checksums, tensor.NoChecksums)
	if rest.Any() {
		c.Describe("not arrays", rest.String())
	}
	if rest.Placeholders > 0 {
		c.Notes = append(c.Notes, strconv.Itoa(rest.Placeholders)+" arrays are in other files: open the directory of this file")
	}
	return c, nil
}

// Detect reports whether a file that begins with head may be a Flax checkpoint: a msgpack map whose first key is text.
// Files of other formats may begin like that by chance, so callers try those formats first.
func Detect(head []byte) bool {
	if len(head) == 0 {
		return false
	}
	first := map[byte]int{0xde: 3, 0xdf: 5}[head[0]] // offset of the first key
	if head[0] > 0x80 && head[0] <= 0x8f {
		first = 1
	}
	if first == 0 || first >= len(head) {
		return false
	}
	key := head[first]
	return key >= 0xa0 && key <= 0xbf || key >= 0xd9 && key <= 0xdb
}

// collect returns the arrays below root in the order of the file, and counts the other leaves. The name of an array is
// its keys and list indices joined with dots. If the root is an array, its name is "array".
func collect(root *Node) ([]*tensor.Tensor, Skipped, error) {
	var (
		tensors []*tensor.Tensor
		rest    Skipped
		count   tensor.Count
	)
	err := root.Walk(func(name []byte, n *Node) error {
		if n.Kind != Array {
			rest.count(n)
			return nil
		}
		n.Array.Name = string(name)
		if n == root {
			n.Array.Name = "array"
		}
		tensors = append(tensors, n.Array)
		return count.Add(n.Array.Name, len(n.Array.Shape))
	})
	return tensors, rest, err
}
