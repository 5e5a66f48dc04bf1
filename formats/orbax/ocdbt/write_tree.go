package ocdbt

import "io"

// builder writes the nodes of a tree by height, the leaves first.
type builder struct {
	name      string // of the data file, relative to the database
	out       io.Writer
	at        int64 // bytes written
	nodeBytes int
}

// written describes a written node for the reference to it in its parent or the manifest.
type written struct {
	first  string // smallest key
	prefix int    // bytes of the keys that the node leaves out
	height int
	file   string
	offset int64
	length int64
	statistics
}

// statistics are those of a node and all nodes below it.
type statistics struct {
	keys     uint64
	tree     uint64 // bytes of the nodes
	indirect uint64 // bytes of the values that are not inline
}

// tree writes all nodes and returns the root. There are entries, and they are sorted.
func (b *builder) tree(entries []Entry) (written, error) {
	if err := b.moveOut(entries); err != nil {
		return written{}, err
	}
	groups := group(entries, b.nodeBytes, func(e Entry) int { return len(e.Key) + len(e.Value.Inline) })
	level := make([]written, len(groups))
	for i, g := range groups {
		prefix := 0 // in the root
		if len(groups) > 1 {
			prefix = shared(g[0].Key, g[len(g)-1].Key)
		}
		if err := b.add(&level[i], newLeaf(g, prefix)); err != nil {
			return written{}, err
		}
	}
	for height := 1; len(level) > 1; height++ {
		groups := group(level, b.nodeBytes, func(w written) int { return len(w.first) })
		above := make([]written, len(groups))
		for i, g := range groups {
			prefix := 0
			if len(groups) > 1 {
				prefix = sharedBelow(g)
			}
			if err := b.add(&above[i], newInterior(g, prefix, height)); err != nil {
				return written{}, err
			}
		}
		level = above
	}
	return level[0], nil
}

// entryOverhead is the approximate size of an entry besides its key and value, in bytes.
const entryOverhead = 24

// group splits a list into the entries of nodes, about limit bytes each: not more than a node may hold, and at
// least two, so that each level of the tree has fewer nodes than the one below.
func group[T any](list []T, limit int, size func(T) int) [][]T {
	var groups [][]T
	start, filled := 0, 0
	for i, x := range list {
		n := size(x) + entryOverhead
		if filled+n > limit && i-start >= 2 && len(list)-i >= 2 || i-start == maxEntries {
			groups = append(groups, list[start:i])
			start, filled = i, 0
		}
		filled += n
	}
	return append(groups, list[start:])
}

// shared returns the length of the longest common prefix.
func shared(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// sharedBelow returns the length of the prefix that all keys below the nodes share.
func sharedBelow(nodes []written) int {
	n := nodes[0].prefix
	for _, w := range nodes[1:] {
		n = min(n, w.prefix, shared(nodes[0].first, w.first))
	}
	return n
}

// moveOut moves the inline values that are too large for a node to the data file.
func (b *builder) moveOut(entries []Entry) error {
	for i, e := range entries {
		if e.Value.File != "" || len(e.Value.Inline) <= MaxInline {
			continue
		}
		at, err := b.write(e.Value.Inline)
		if err != nil {
			return err
		}
		entries[i].Value = Value{File: b.name, Offset: at, Length: int64(len(e.Value.Inline))}
	}
	return nil
}

// add writes a node and describes it in w.
func (b *builder) add(w *written, n *newNode) error {
	blob, err := sealEnvelope(magicNode, n.encode(b.name))
	if err != nil {
		return err
	}
	w.first, w.prefix, w.height, w.statistics = n.first, n.prefix, n.height, n.statistics
	w.file, w.length = b.name, int64(len(blob))
	w.tree += uint64(len(blob))
	w.offset, err = b.write(blob)
	return err
}

func (b *builder) write(p []byte) (at int64, err error) {
	at = b.at
	n, err := b.out.Write(p)
	b.at += int64(n)
	return at, err
}
