package ocdbt

import (
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

const (
	maxEntries = 1 << 20 // of a node
	maxInline  = 1 << 20 // bytes of an inline value
)

// node is a parsed B+tree node. The entries of a node of height 0, a leaf, are values; those of other nodes
// are nodes.
type node struct {
	height   int
	keys     keyColumn
	subtrees []uint16 // interior: bytes of each key that the keys in the node below leave out
	kinds    []byte   // leaf: 0 inline, 1 in a file
	lengths  []uint64 // leaf: of values; interior: of nodes
	paths    []dataFile
	files    []uint32 // leaf: of the values in files; interior: of all entries
	offsets  []uint64 // as files
	inline   cursor   // leaf: the inline values
}

// keyColumn is the keys of a node, each without the prefix that it shares with the key before it.
type keyColumn struct {
	prefixes []uint16 // of all keys but the first
	suffixes []uint16
	text     cursor
	last     []byte
	next     int
}

// parseNode parses the body of a node, which must have that height. transitive is the base path of the file
// that holds the node.
func parseNode(body []byte, height int, transitive string) (*node, error) {
	c := &cursor{data: body}
	n := &node{height: int(c.u8())}
	if c.err == nil && n.height != height {
		c.fail("height is %d, not %d", n.height, height)
	}
	n.paths = readPaths(c, transitive)
	entries := c.count(maxEntries, "entries")
	if entries == 0 {
		c.fail("no entries")
	}
	n.keys.prefixes = column[uint16](c, max(entries-1, 0), maxKey)
	n.keys.suffixes = column[uint16](c, entries, maxKey)
	if height > 0 {
		n.subtrees = column[uint16](c, entries, maxKey)
	}
	textBytes := uint64(0)
	for _, s := range n.keys.suffixes {
		textBytes += uint64(s)
	}
	n.keys.text = cursor{data: c.bytes(textBytes)}
	if height > 0 {
		n.files = column[uint32](c, entries, math.MaxUint32)
		n.offsets = column[uint64](c, entries, missing)
		n.lengths = column[uint64](c, entries, missing)
		c.skip(3 * entries) // statistics: number of keys, bytes of the tree and of the values
	} else {
		n.readValues(c, entries)
	}
	return n, c.end()
}

// readValues parses the columns of a leaf's values.
func (n *node) readValues(c *cursor, entries int) {
	n.lengths = column[uint64](c, entries, missing)
	n.kinds = c.bytes(uint64(entries))
	indirect, inlineBytes := 0, uint64(0)
	for i, kind := range n.kinds {
		switch {
		case kind == 1:
			indirect++
		case kind > 1:
			c.fail("entry %d has the unknown kind %d", i, kind)
		case n.lengths[i] > maxInline:
			c.fail("inline value of entry %d has %d bytes", i, n.lengths[i])
		default:
			inlineBytes += n.lengths[i]
		}
	}
	n.files = column[uint32](c, indirect, math.MaxUint32)
	n.offsets = column[uint64](c, indirect, missing)
	n.inline = cursor{data: c.bytes(inlineBytes)}
}

// key returns the next relative key, which is valid until the next call. Keys must ascend.
func (k *keyColumn) key() ([]byte, error) {
	i := k.next
	k.next++
	prefix := 0
	if i > 0 {
		prefix = int(k.prefixes[i-1])
	}
	if prefix > len(k.last) {
		return nil, tensor.Bad("key %d shares %d bytes with a key of %d", i, prefix, len(k.last))
	}
	suffix := k.text.bytes(uint64(k.suffixes[i]))
	if prefix+len(suffix) > maxKey {
		return nil, tensor.Bad("key %d has %d bytes", i, prefix+len(suffix))
	}
	if i > 0 && string(suffix) <= string(k.last[prefix:]) {
		return nil, tensor.Bad("key %d is not greater than the one before it", i)
	}
	k.last = append(k.last[:prefix], suffix...)
	return k.last, nil
}
