// Package flax reads what flax.serialization writes: one msgpack tree of a training state or of
// parameters, with the arrays inside. It was Flax's checkpoint format before Orbax, and Orbax
// itself kept the tree (with placeholders for most arrays) in such a file named "checkpoint" until
// version 0.5.
//
// Open gives the arrays as tensors, their keys joined with dots. Parse gives the tree itself.
// Either way only the structure is read; arrays are left in the file until they are asked for.
//
// Source: flax/serialization.py and the msgpack specification. A big-endian numpy array is written
// by Flax without its byte order, so its values cannot be told from little-endian ones.
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
	c, err := NewReader(f, size, storage.Path(source, name), f)
	if err != nil {
		f.Close()
		return nil, err
	}
	c.Source, c.Root = source, name
	return c, nil
}

// NewReader opens a checkpoint that takes the first size bytes of r; path is what errors call it.
// The checkpoint closes the closers.
func NewReader(r io.ReaderAt, size int64, path string, closers ...io.Closer) (*tensor.Checkpoint, error) {
	root, err := Parse(r, size)
	if err != nil {
		return nil, tensor.Annotate(err, tensor.Location{File: path})
	}
	tensors, rest := Collect(root)
	c, err := tensor.NewCheckpoint(path, Format, tensors, closers...)
	if err != nil {
		return nil, err
	}
	if rest.Any() {
		c.Describe("not arrays", rest.String())
	}
	if rest.Placeholders > 0 {
		c.Notes = append(c.Notes, strconv.Itoa(rest.Placeholders)+" arrays lie outside of this file: open the directory that it came in")
	}
	return c, nil
}

// Detect reports whether a file that begins with head can be a Flax checkpoint: a msgpack map
// whose first key is text. Other formats may begin so too, by chance; try them first.
func Detect(head []byte) bool {
	if len(head) == 0 {
		return false
	}
	first := map[byte]int{0xde: 3, 0xdf: 5}[head[0]] // where the first key is
	if head[0] > 0x80 && head[0] <= 0x8f {
		first = 1
	}
	if first == 0 || first >= len(head) {
		return false
	}
	key := head[first]
	return key >= 0xa0 && key <= 0xbf || key >= 0xd9 && key <= 0xdb
}

// Collect returns the arrays below root in the order of the file, named by their keys and list
// indices joined with dots, and counts the rest. An array that is itself the root is named "array".
func Collect(root *Node) ([]*tensor.Tensor, Skipped) {
	var (
		tensors []*tensor.Tensor
		rest    Skipped
	)
	var walk func(n *Node, name string)
	walk = func(n *Node, name string) {
		if n.Kind != Array {
			rest.Count(n)
		} else {
			n.Array.Name = name
			tensors = append(tensors, n.Array)
		}
		for i := range n.Items {
			key := n.Items[i].Key
			if n.Kind == List {
				key = strconv.Itoa(i)
			}
			if n != root {
				key = name + "." + key
			}
			walk(&n.Items[i], key)
		}
	}
	walk(root, "array")
	return tensors, rest
}
