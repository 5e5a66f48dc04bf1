package orbax

import (
	"slices"
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

// keys has each key once, since those of most leaves occur in others too.
type keys map[key]*key

// add returns the key that is equal to k.
func (all keys) add(k key) *key {
	known := all[k]
	if known == nil {
		known = &k
		all[k] = known
	}
	return known
}

// leaf is a value of the tree.
type leaf struct {
	path []*key // nil after the tree was checked
	name string // the keys joined with dots, which are not escaped: different paths may have one name
	kind leafKind

	array      string         // name of the zarr array
	aggregated bool           // the array is in the file "checkpoint" instead
	value      *tensor.Tensor // that array, once read
}

func (l *leaf) setName() { l.name = nameOf(l.path) }

func nameOf(path []*key) string {
	texts := make([]string, len(path))
	for i, k := range path {
		texts[i] = k.text
	}
	return strings.Join(texts, ".")
}

// What a tree may have, so that its memory is bounded.
const (
	maxPath   = 512     // keys of a path
	maxKeys   = 2 << 20 // of all paths
	maxLeaves = tensor.MaxTensors
	maxNames  = tensor.MaxNames // bytes of the names of all leaves
)

// treeSize counts what a tree has, before it is kept.
type treeSize struct{ leaves, keys, names int }

// add adds a leaf. It returns a *tensor.FormatError with the reason TooLarge if the tree then exceeds a limit.
func (s *treeSize) add(l *leaf) error {
	s.leaves++
	s.keys += len(l.path)
	s.names += len(l.name)
	if s.leaves > maxLeaves || s.keys > maxKeys || s.names > maxNames {
		return tensor.Bad("the tree has more than %d leaves, %d keys or %d MiB of names, which is the most that griffin reads",
			maxLeaves, maxKeys, maxNames>>20).Because(tensor.TooLarge)
	}
	return nil
}

// checkTree checks that leaves are those of one tree, that there are any, and that their names differ.
func checkTree(leaves []*leaf) error {
	if err := checkNames(leaves); err != nil {
		return err
	}
	for _, l := range leaves {
		if len(l.path) == 0 {
			return tensor.Bad("leaf has no key")
		}
		if len(l.path) > maxPath {
			return tensor.Bad("path has more than %d keys", maxPath)
		}
	}
	sorted := slices.Clone(leaves)
	slices.SortFunc(sorted, func(a, b *leaf) int {
		return slices.CompareFunc(a.path, b.path, func(a, b *key) int { return strings.Compare(a.text, b.text) })
	})
	return checkNode(sorted, 0)
}

// checkNames checks that there are leaves, and that their names differ.
func checkNames(leaves []*leaf) error {
	if len(leaves) == 0 {
		return tensor.Bad("the tree is empty")
	}
	sorted := slices.SortedStableFunc(slices.Values(leaves), func(a, b *leaf) int { return strings.Compare(a.name, b.name) })
	for i, l := range sorted[1:] {
		if l.name == sorted[i].name {
			return tensor.Bad("two leaves of one name").Of(l.name)
		}
	}
	return nil
}

// checkNode checks the leaves at and below a node, which are sorted by their paths and have the first depth keys in
// common: a leaf has no leaves below it, and the indices of a sequence are 0, 1, … without gaps.
func checkNode(leaves []*leaf, depth int) error {
	if len(leaves[0].path) == depth {
		if len(leaves) > 1 {
			return tensor.Bad("leaf is below another leaf").Of(leaves[1].name)
		}
		return nil
	}
	sequence := leaves[0].path[depth].index
	var ends []int // of the leaves of each item
	for i, l := range leaves {
		if l.path[depth].index != sequence {
			return tensor.Bad("node has both sequence indices and dict keys").Of(l.name)
		}
		if i+1 == len(leaves) || leaves[i+1].path[depth].text != l.path[depth].text {
			ends = append(ends, i+1)
		}
	}
	begin := 0
	for _, end := range ends {
		item := leaves[begin:end]
		text := item[0].path[depth].text
		if sequence {
			if i, err := strconv.Atoi(text); err != nil || i < 0 || i >= len(ends) || strconv.Itoa(i) != text {
				return tensor.Bad("index %.40q in a sequence of %d items", text, len(ends)).Of(nameOf(item[0].path[:depth]))
			}
		}
		if err := checkNode(item, depth+1); err != nil {
			return err
		}
		begin = end
	}
	return nil
}

// treeLeaves returns the leaves of the tree in a "checkpoint" file.
func treeLeaves(root *flax.Node) ([]*leaf, error) {
	var (
		leaves []*leaf
		size   treeSize
	)
	err := root.Walk(func(name []byte, n *flax.Node) error {
		if n == root {
			return tensor.Bad("leaf has no key")
		}
		l := &leaf{name: string(name)}
		l.fromNode(n)
		leaves = append(leaves, l)
		return size.add(l)
	})
	if err != nil {
		return nil, err
	}
	return leaves, checkNames(leaves)
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
