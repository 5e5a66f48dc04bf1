package ocdbt

import (
	"bytes"
	"fmt"
	"io"

	"github.com/griffin-ckpt/griffin/formats/orbax/internal/files"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Limits of an index. A checkpoint with 9B parameters that 256 processes wrote has about 150,000 keys; one of 200,000 tensors has
// 400,000.
const (
	maxIndex   = 72 << 20  // bytes of keys, inline values and references
	maxDecoded = 256 << 20 // bytes of all decoded nodes
	maxNodes   = 1 << 16
	entryBytes = 48 // bytes of an entry besides the text of its key
	onceBytes  = 64 // bytes of an inline value or a file name that no entry before has, besides its text
)

// indexer walks the tree and fills the index of a DB.
type indexer struct {
	db      *DB
	maxNode int              // bytes of a decoded node
	inline  map[string]int32 // indices of DB.inline: the arrays of one shape have the same document
	names   map[string]int32 // indices of DB.names
	memory  int              // used of maxIndex
	decoded int              // used of maxDecoded
	nodes   int              // used of maxNodes
}

// subtree is a node to be read, as the node above it describes it.
type subtree struct {
	at     ref
	height int
	prefix string // that all keys begin with
	least  string // lower bound of all keys
}

// walk reads a subtree in the order of its keys. It ends also in a tree that refers to itself, since the height
// decreases with each step.
func (x *indexer) walk(s subtree) error {
	n, err := x.read(s)
	if err != nil {
		return err
	}
	if n.height == 0 {
		return x.leaf(n, s)
	}
	children, err := x.children(n, s)
	if err != nil {
		return annotate(err, s.at)
	}
	for _, child := range children {
		if err := x.walk(child); err != nil {
			return err
		}
	}
	return nil
}

// annotate names the node in an error.
func annotate(err error, at ref) error {
	if err == nil {
		return nil
	}
	return tensor.Annotate(err, tensor.Location{Record: fmt.Sprintf("node at %d of %s", at.offset, at.name)})
}

// read reads and parses one node.
func (x *indexer) read(s subtree) (*node, error) {
	if x.nodes++; x.nodes > maxNodes {
		return nil, tensor.Bad("more than %d nodes", maxNodes)
	}
	if s.at.length > maxBlob {
		return nil, annotate(tensor.Bad("node of %d bytes exceeds %d", s.at.length, maxBlob), s.at)
	}
	section, err := x.db.open(s.at.name, s.at.offset, s.at.length)
	if err != nil {
		return nil, err
	}
	blob := make([]byte, s.at.length)
	if _, err := io.ReadFull(section, blob); err != nil {
		return nil, err
	}
	body, err := openEnvelope(blob, magicNode, x.maxNode)
	if err != nil {
		return nil, annotate(err, s.at)
	}
	if x.decoded += len(body); x.decoded > maxDecoded {
		return nil, tensor.Bad("nodes take more than %d bytes", maxDecoded)
	}
	n, err := parseNode(body, s.height, s.at.name[:s.at.base])
	return n, annotate(err, s.at)
}

// spend adds the memory of an entry.
func (x *indexer) spend(bytes int) error {
	if x.memory += bytes; x.memory > maxIndex {
		return tensor.Bad("keys and inline values take more than %d bytes", maxIndex).Because(tensor.TooLarge)
	}
	return nil
}

// inlined returns the value in the tree that consists of these bytes.
func (x *indexer) inlined(content []byte) (value, error) {
	i, known := x.inline[string(content)]
	if !known {
		if err := x.spend(onceBytes + 2*len(content)); err != nil { // in the DB and as a key
			return value{}, err
		}
		if x.inline == nil {
			x.inline = map[string]int32{}
		}
		i = int32(len(x.db.inline))
		x.db.inline = append(x.db.inline, bytes.Clone(content))
		x.inline[string(content)] = i
	}
	return value{file: -1, offset: int64(i)}, nil
}

// inFile returns the value that is a range of a file.
func (x *indexer) inFile(at ref) (value, error) {
	i, known := x.names[at.name]
	if !known {
		if err := x.spend(onceBytes + len(at.name)); err != nil {
			return value{}, err
		}
		if x.names == nil {
			x.names = map[string]int32{}
		}
		i = int32(len(x.db.names))
		x.db.names = append(x.db.names, at.name)
		x.names[at.name] = i
	}
	return value{i, at.offset, at.length}, nil
}

// leaf adds the values of a leaf to the index.
func (x *indexer) leaf(n *node, s subtree) error {
	indirect := 0
	for i, kind := range n.kinds {
		key, err := x.key(n, s)
		if err != nil {
			return annotate(err, s.at)
		}
		var v value
		if kind == 0 {
			v, err = x.inlined(n.inline.bytes(n.lengths[i]))
		} else {
			var at ref
			if at, err = x.refer(n, n.files[indirect], n.offsets[indirect], n.lengths[i]); err == nil {
				v, err = x.inFile(at)
			}
			indirect++
		}
		if err != nil {
			return annotate(err, s.at)
		}
		if last := len(x.db.keys) - 1; last >= 0 && key <= x.db.keys[last] {
			return annotate(tensor.Bad("key %q is not greater than the one before it, %q", key, x.db.keys[last]), s.at)
		}
		x.db.keys = append(x.db.keys, key)
		x.db.values = append(x.db.values, v)
	}
	return nil
}

// children returns the nodes below an interior node.
func (x *indexer) children(n *node, s subtree) ([]subtree, error) {
	var below []subtree
	for i := range n.files {
		key, err := x.key(n, s)
		if err != nil {
			return nil, err
		}
		at, err := x.refer(n, n.files[i], n.offsets[i], n.lengths[i])
		if err != nil {
			return nil, err
		}
		shared := len(s.prefix) + int(n.subtrees[i])
		if shared > len(key) {
			return nil, tensor.Bad("keys of subtree %d leave out %d bytes, but its first key has %d", i, n.subtrees[i], len(key)-len(s.prefix))
		}
		below = append(below, subtree{at: at, height: n.height - 1, prefix: key[:shared], least: key})
	}
	return below, nil
}

// key returns the next full key of the node.
func (x *indexer) key(n *node, s subtree) (string, error) {
	first := n.keys.next == 0
	relative, err := n.keys.key()
	if err != nil {
		return "", err
	}
	length := len(s.prefix) + len(relative)
	if length > maxKey {
		return "", tensor.Bad("key of %d bytes", length)
	}
	if err := x.spend(entryBytes + length); err != nil {
		return "", err
	}
	key := s.prefix + string(relative)
	if first && key < s.least {
		return "", tensor.Bad("first key %q is less than %q in the node above", key, s.least)
	}
	return key, nil
}

// refer checks a reference and the name of its file.
func (x *indexer) refer(n *node, file uint32, offset, length uint64) (ref, error) {
	c := &cursor{}
	at := makeRef(c, n.paths, file, offset, length)
	if c.err != nil {
		c.err.(*tensor.FormatError).Offset = -1
		return ref{}, c.err
	}
	if !files.ValidName(at.name) {
		return ref{}, tensor.Bad("data file name %q is not a path within the database", at.name)
	}
	return at, nil
}
