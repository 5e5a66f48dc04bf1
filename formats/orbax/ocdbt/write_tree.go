package ocdbt

import "io"

// builder writes the nodes of a tree, those of each height after those below.
type builder struct {
	name      string // of the data file, from the top of the database
	out       io.Writer
	at        int64 // bytes written
	nodeBytes int
}

// written is a node that is written, as the node above it or the manifest refers to it.
type written struct {
	first  string // key of all in the node
	prefix int    // bytes of it that the keys in the node leave out
	height int
	file   string
	offset int64
	length int64
	statistics
}

// statistics tell of a node and all below it.
type statistics struct {
	keys     uint64
	tree     uint64 // bytes of the nodes
	indirect uint64 // bytes of the values that are not inline
}

// tree writes all nodes and returns the root. There is at least one entry, and they are sorted.
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

// entryOverhead is about what an entry takes in a node beside its key and value, in bytes.
const entryOverhead = 24

// group cuts a list into runs of about limit bytes, at most as many as a node may hold, and at
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

// sharedBelow returns how much of the first key all keys below the nodes begin with.
func sharedBelow(nodes []written) int {
	n := nodes[0].prefix
	for _, w := range nodes[1:] {
		n = min(n, w.prefix, shared(nodes[0].first, w.first))
	}
	return n
}

// moveOut writes the inline values that are too large for a node to the data file.
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

// add writes a node, w.
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
