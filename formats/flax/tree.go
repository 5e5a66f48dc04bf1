package flax

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Kind is the kind of a node.
type Kind uint8

// The kinds of nodes. Python tuples are lists in the file.
const (
	Nil Kind = iota
	Bool
	Int
	Float
	Complex
	Text
	Bytes
	Array
	List
	Map
	extension // in the file only: an Array or a Complex
)

var kindNames = [...]string{"nil", "a bool", "an integer", "a float", "a complex number", "text", "binary data", "an array", "a list", "a map", "an extension"}

func (k Kind) String() string { return kindNames[k] }

// Node is a value of the tree. It does not hold the values of floats, complex numbers and bytes.
type Node struct {
	Kind  Kind
	Key   string         // in a map
	Text  string         // value of Text, "" if it is longer than 64 KiB
	Int   int64          // value of Int, at most 2^63-1, and of Bool: 0 or 1
	Items []Node         // of List and Map, in the order of the file
	Array *tensor.Tensor // value of Array, without a name
}

// Get returns the item of a map with a key, or nil.
func (n *Node) Get(key string) *Node {
	for i := range n.Items {
		if n.Kind == Map && n.Items[i].Key == key {
			return &n.Items[i]
		}
	}
	return nil
}

// Walk calls leaf for each node without items that is n or below it, in the order of the file. name is the keys and list
// indices that lead from n to that node, joined with dots, and is valid until leaf returns. An error of leaf ends the walk.
func (n *Node) Walk(leaf func(name []byte, n *Node) error) error {
	var (
		name []byte
		walk func(at *Node) error
	)
	walk = func(at *Node) error {
		if len(at.Items) == 0 {
			return leaf(name, at)
		}
		if at != n {
			name = append(name, '.')
		}
		above := len(name)
		for i := range at.Items {
			item := &at.Items[i]
			if name = append(name[:above], item.Key...); at.Kind == List {
				name = strconv.AppendInt(name, int64(i), 10)
			}
			if err := walk(item); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(n)
}

// Placeholder returns the name of the array for which a text in a "checkpoint" file of Orbax is a placeholder.
func (n *Node) Placeholder() (name string, ok bool) {
	if n.Kind != Text {
		return "", false
	}
	for _, prefix := range []string{"PLACEHOLDER://", "AGGREGATED://"} {
		if name, ok := strings.CutPrefix(n.Text, prefix); ok {
			return name, true
		}
	}
	return "", false
}

// Skipped counts the leaves of a tree that are not arrays.
type Skipped struct {
	Scalars, Texts, Nones, Empties, Placeholders int
}

// count adds a leaf that is not an array.
func (s *Skipped) count(n *Node) {
	switch n.Kind {
	case Nil:
		s.Nones++
	case Bool, Int, Float, Complex:
		s.Scalars++
	case Text:
		if _, ok := n.Placeholder(); ok {
			s.Placeholders++
		} else {
			s.Texts++
		}
	case Bytes:
		s.Texts++
	case List, Map:
		if len(n.Items) == 0 {
			s.Empties++
		}
	}
}

// Any reports whether there are any.
func (s Skipped) Any() bool { return s != Skipped{} }

// String lists the counts that are not zero: "3 scalars, 1 None".
func (s Skipped) String() string {
	var parts []string
	for _, p := range []struct {
		n         int
		one, many string
	}{
		{s.Scalars, "scalar", "scalars"}, {s.Texts, "text", "texts"}, {s.Nones, "None", "None"},
		{s.Empties, "empty container", "empty containers"}, {s.Placeholders, "placeholder", "placeholders"},
	} {
		switch {
		case p.n == 1:
			parts = append(parts, "1 "+p.one)
		case p.n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.many))
		}
	}
	return strings.Join(parts, ", ")
}

const (
	maxDepth = 512      // nested maps and lists
	maxText  = 64 << 10 // bytes of a text in a Node
	maxTree  = 96 << 20 // bytes of memory of a tree: 200,000 arrays, each in a map of its own

	// What things take of it.
	nodeBytes  = 80
	keyBytes   = 48 // of a key, beside its text: an entry in the set of the keys of the map, while that is parsed
	arrayBytes = 96
	axisBytes  = 16 // of an axis of a shape; arrays of equal shapes share it
	shapeBytes = 96 // of a shape, beside its axes
)

// Parse parses the tree in the first size bytes of r. Its memory is bounded whatever the size. A corrupt tree is a
// *tensor.FormatError with the offset.
func Parse(r io.ReaderAt, size int64) (*Node, error) {
	d := &decoder{r: r, end: size, budget: maxTree - nodeBytes}
	root, err := d.value(0)
	if err != nil {
		return nil, err
	}
	if d.pos != size {
		return nil, d.damaged(d.pos, "%d bytes follow the tree", size-d.pos)
	}
	return &root, nil
}

// value parses a value and the values in it.
func (d *decoder) value(depth int) (Node, error) {
	h, err := d.head()
	if err != nil {
		return Node{}, err
	}
	n := Node{Kind: h.kind}
	switch h.kind {
	case Bool, Int:
		n.Int = h.n
	case Map, List:
		err = d.items(&n, h, depth)
	case Text:
		n.Text, err = d.text(h)
	case Bytes:
		d.pos += h.n
	case extension:
		n.Kind, n.Array, err = d.extension(h)
	}
	return n, err
}

// items parses the items of a map or list. A map that stands for a chunked array becomes that array.
func (d *decoder) items(n *Node, h head, depth int) error {
	if depth >= maxDepth {
		return d.bad(h.at, "nested more than %d deep", maxDepth)
	}
	each := int64(nodeBytes)
	var seen map[string]bool
	if h.kind == Map {
		each += keyBytes
	}
	if err := d.charge(h.n * each); err != nil {
		return err
	}
	n.Items = make([]Node, h.n)
	if h.kind == Map {
		seen = make(map[string]bool, h.n)
	}
	for i := range n.Items {
		above := d.path
		key, err := d.key(h.kind, i, seen)
		if err != nil {
			return err
		}
		if n.Items[i], err = d.value(depth + 1); err != nil {
			return err
		}
		n.Items[i].Key, d.path = key, above
	}
	if !seen[chunkedMarker] {
		return nil
	}
	whole, err := d.join(n, h.at)
	*n = Node{Kind: Array, Array: whole}
	return err
}

// key parses the key of item i of a map and appends it to the path. In a list it appends the index and returns "".
func (d *decoder) key(kind Kind, i int, seen map[string]bool) (string, error) {
	if kind == List {
		return "", d.descend(strconv.Itoa(i), true, d.pos)
	}
	h, err := d.head()
	if err != nil {
		return "", err
	}
	if h.kind != Text {
		return "", d.bad(h.at, "key of a map is %s, not text", h.kind)
	}
	if h.n > tensor.MaxName {
		return "", d.bad(h.at, "key has %d bytes; griffin reads names of at most %d", h.n, tensor.MaxName).Because(tensor.TooLarge)
	}
	key, err := d.text(h)
	if err != nil {
		return "", err
	}
	if seen[key] {
		return "", d.bad(h.at, "duplicate key %q", key)
	}
	seen[key] = true
	return key, d.descend(key, false, h.at)
}

// descend appends a step to the path, which may be as long as the name of a tensor: without a bound, a deep tree of long
// keys would have names of any length.
func (d *decoder) descend(key string, index bool, at int64) error {
	length := len(key)
	if n := len(d.path); n > 0 {
		length += d.path[n-1].length + len(".")
	}
	d.path = append(d.path, step{key, index, length})
	if length > tensor.MaxName {
		return d.bad(at, "the keys that lead to a value have %d bytes; griffin reads names of at most %d", length, tensor.MaxName).Because(tensor.TooLarge)
	}
	return nil
}
