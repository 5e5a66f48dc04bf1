package orbax

import (
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/flax"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// leafKind is the kind of a leaf of the tree.
type leafKind uint8

const (
	arrayLeaf leafKind = iota
	scalarLeaf
	textLeaf
	noneLeaf
	emptyLeaf // a dict, list or tuple without items
)

// key is an element of a path: a key of a dict, or an index of a sequence as a decimal number.
type key struct {
	text  string
	index bool
}

// leaf is a value of the tree.
type leaf struct {
	path []key
	name string // the keys joined with dots, which are not escaped: different paths may have one name
	kind leafKind

	array      string         // name of the zarr array
	aggregated bool           // the array is in the file "checkpoint" instead
	value      *tensor.Tensor // that array, once read
}

func (l *leaf) setName() {
	texts := make([]string, len(l.path))
	for i, k := range l.path {
		texts[i] = k.text
	}
	l.name = strings.Join(texts, ".")
}

// maxPath bounds the number of keys in a path.
const maxPath = 512

// checkTree checks that leaves are those of one tree, that there are any, and that their names differ.
func checkTree(leaves []*leaf) error {
	if len(leaves) == 0 {
		return tensor.Bad("the tree is empty")
	}
	root := &node{}
	names := make(map[string]bool, len(leaves))
	for _, l := range leaves {
		if len(l.path) == 0 {
			return tensor.Bad("leaf has no key")
		}
		if len(l.path) > maxPath {
			return tensor.Bad("path has %d keys", len(l.path))
		}
		if err := root.add(l.path); err != nil {
			return err.Of(l.name)
		}
		if names[l.name] {
			return tensor.Bad("two leaves of one name").Of(l.name)
		}
		names[l.name] = true
	}
	return root.checkSequences("")
}

// node is a node of the tree that checkTree builds.
type node struct {
	leaf     bool
	sequence bool // the items have indices
	items    map[string]*node
}

// add adds the path of a leaf.
func (n *node) add(path []key) *tensor.FormatError {
	for _, k := range path {
		if n.leaf {
			return tensor.Bad("leaf is below another leaf")
		}
		if n.items == nil {
			n.items, n.sequence = map[string]*node{}, k.index
		}
		if n.sequence != k.index {
			return tensor.Bad("node has both sequence indices and dict keys")
		}
		next := n.items[k.text]
		if next == nil {
			next = &node{}
			n.items[k.text] = next
		}
		n = next
	}
	if n.leaf || n.items != nil {
		return tensor.Bad("leaf comes twice or has leaves below it")
	}
	n.leaf = true
	return nil
}

// checkSequences checks that indices are 0, 1, … without gaps.
func (n *node) checkSequences(name string) error {
	for text, item := range n.items {
		if i, err := strconv.Atoi(text); n.sequence && (err != nil || i < 0 || i >= len(n.items) || strconv.Itoa(i) != text) {
			return tensor.Bad("index %.40q in a sequence of %d items", text, len(n.items)).Of(name)
		}
		if err := item.checkSequences(strings.TrimPrefix(name+"."+text, ".")); err != nil {
			return err
		}
	}
	return nil
}

// treeLeaves returns the leaves of the tree in a "checkpoint" file, after checkTree.
func treeLeaves(root *flax.Node) ([]*leaf, error) {
	var leaves []*leaf
	var walk func(n *flax.Node, path []key)
	walk = func(n *flax.Node, path []key) {
		if len(n.Items) == 0 {
			l := &leaf{path: append([]key(nil), path...)}
			l.setName()
			l.fromNode(n)
			leaves = append(leaves, l)
		}
		for i := range n.Items {
			k := key{text: n.Items[i].Key}
			if n.Kind == flax.List {
				k = key{text: strconv.Itoa(i), index: true}
			}
			walk(&n.Items[i], append(path, k))
		}
	}
	walk(root, nil)
	return leaves, checkTree(leaves)
}

// fromNode sets the kind and the array of a leaf in the "checkpoint" file.
func (l *leaf) fromNode(n *flax.Node) {
	switch n.Kind {
	case flax.Array:
		l.kind, l.aggregated, l.value = arrayLeaf, true, n.Array
	case flax.Nil:
		l.kind = noneLeaf
	case flax.Text, flax.Bytes:
		l.kind = textLeaf
		if name, ok := n.Placeholder(); ok {
			l.kind, l.array = arrayLeaf, name
		}
	case flax.List, flax.Map:
		l.kind = emptyLeaf
	default:
		l.kind = scalarLeaf
	}
}

// skipped counts the leaves that are not arrays.
func skipped(leaves []*leaf) (s flax.Skipped) {
	for _, l := range leaves {
		switch l.kind {
		case scalarLeaf:
			s.Scalars++
		case textLeaf:
			s.Texts++
		case noneLeaf:
			s.Nones++
		case emptyLeaf:
			s.Empties++
		}
	}
	return s
}
