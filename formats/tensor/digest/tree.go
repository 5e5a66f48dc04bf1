package digest

import (
	"maps"
	"math/bits"
	"slices"
	"sync"

	"lukechampine.com/blake3/guts"
)

// blockBytes is the size of a block: as many chunks of BLAKE3 as are hashed at once.
const blockBytes = guts.MaxSIMD * guts.ChunkSize

// tree is the hash tree of BLAKE3 over blocks, as far as it is known. Bytes may come in any order: a block is hashed as
// soon as it is complete, and two subtrees are joined as soon as both are known. See section 2.1 of the BLAKE3 paper.
type tree struct {
	mu       sync.Mutex
	known    spans
	subtrees map[int64]subtree // by the number of the first block; nil for none
	parts    map[int64]*part   // incomplete blocks by number; nil for none
	held     int64             // bytes of the parts
	most     int64             // that they may hold, apart from those at the beginning of what is missing; 0 for any number
}

// part is an incomplete block. It holds as many bytes as reach to the last known one, roughly: a model may have very many
// tensors of a few bytes.
type part struct {
	bytes  []byte
	filled int // bytes that are known
}

// add adds bytes from offset at of the block on.
func (p *part) add(at int64, bytes []byte) (grownBy int64) {
	before := len(p.bytes)
	if end := int(at) + len(bytes); end > len(p.bytes) {
		grown := make([]byte, min(max(end, 2*len(p.bytes)), blockBytes))
		copy(grown, p.bytes)
		p.bytes = grown
	}
	p.filled += copy(p.bytes[at:], bytes)
	return int64(len(p.bytes) - before)
}

// hash returns the subtree over the first n bytes. They must be known.
func (p *part) hash(n int, block int64) guts.Node {
	if len(p.bytes) == blockBytes {
		return hashBlock((*[blockBytes]byte)(p.bytes), n, block)
	}
	var padded [blockBytes]byte
	copy(padded[:], p.bytes)
	return hashBlock(&padded, n, block)
}

// subtree is a complete subtree of 2^level blocks. Its node is not compressed yet, since that of the root of the whole tree
// is compressed in another way.
type subtree struct {
	level uint8
	node  guts.Node
}

func (t *tree) clone() *tree {
	c := &tree{known: t.known.clone(), held: t.held, most: t.most, subtrees: maps.Clone(t.subtrees)}
	for block, p := range t.parts {
		c.setPart(block, &part{slices.Clone(p.bytes), p.filled})
	}
	return c
}

// feed adds the bytes from offset at on, without those that are known.
func (t *tree) feed(at int64, p []byte) {
	t.mu.Lock()
	first, end := t.wanted(at, at+int64(len(p)))
	fresh := t.known.add(first, end)
	t.mu.Unlock()
	for _, s := range fresh {
		t.addBytes(s.from, p[s.from-at:s.to-at])
	}
}

// wanted returns the part of a range that is hashed: all of it or, if the parts hold too much, only whole blocks. What is left out stays
// missing. t.mu is locked.
func (t *tree) wanted(from, to int64) (int64, int64) {
	if t.most == 0 || t.held < t.most || from <= t.known.prefix() {
		return from, to
	}
	return (from + blockBytes - 1) / blockBytes * blockBytes, to / blockBytes * blockBytes
}

// addBytes adds bytes that were not known.
func (t *tree) addBytes(at int64, p []byte) {
	if skip := at % blockBytes; skip > 0 && len(p) > 0 {
		n := min(int64(len(p)), blockBytes-skip)
		t.addPart(at/blockBytes, skip, p[:n])
		at, p = at+n, p[n:]
	}
	first, whole := at/blockBytes, int64(len(p))/blockBytes
	for whole > 0 {
		// The largest subtree that begins here and is known.
		level := min(bits.TrailingZeros64(uint64(first)), bits.Len64(uint64(whole))-1)
		n := int64(1) << level
		node := hashBlocks(p[:n*blockBytes], first)
		t.mu.Lock()
		t.insert(first, subtree{uint8(level), node})
		t.mu.Unlock()
		first, whole, p = first+n, whole-n, p[n*blockBytes:]
	}
	if len(p) > 0 {
		t.addPart(first, 0, p)
	}
}

// addPart adds bytes of one block.
func (t *tree) addPart(block, at int64, p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.parts[block]
	if b == nil {
		b = &part{}
		t.setPart(block, b)
	}
	t.held += b.add(at, p)
	if b.filled == blockBytes {
		t.held -= int64(len(b.bytes))
		delete(t.parts, block)
		t.insert(block, subtree{0, b.hash(blockBytes, block)})
	}
}

func (t *tree) setPart(block int64, p *part) {
	if t.parts == nil {
		t.parts = map[int64]*part{}
	}
	t.parts[block] = p
}

// hashBlocks returns the subtree over 2^n blocks that begin at a multiple of their number.
func hashBlocks(p []byte, first int64) guts.Node {
	if len(p) == blockBytes {
		return hashBlock((*[blockBytes]byte)(p), blockBytes, first)
	}
	half := len(p) / 2
	return parent(hashBlocks(p[:half], first), hashBlocks(p[half:], first+int64(half)/blockBytes))
}

func hashBlock(p *[blockBytes]byte, n int, block int64) guts.Node {
	return guts.CompressBuffer(p, n, &guts.IV, uint64(block)*guts.MaxSIMD, 0)
}

func parent(left, right guts.Node) guts.Node {
	return guts.ParentNode(guts.ChainingValue(left), guts.ChainingValue(right), &guts.IV, 0)
}

// insert adds a subtree and joins it with its neighbours. t.mu is locked.
func (t *tree) insert(first int64, s subtree) {
	for {
		width := int64(1) << s.level
		left, right := first, first+width
		if first&width != 0 {
			left, right = first-width, first
		}
		other := left + right - first
		n, ok := t.subtrees[other]
		if !ok || n.level != s.level {
			if t.subtrees == nil {
				t.subtrees = map[int64]subtree{}
			}
			t.subtrees[first] = s
			return
		}
		delete(t.subtrees, other)
		if other == left {
			s.node = parent(n.node, s.node)
		} else {
			s.node = parent(s.node, n.node)
		}
		first, s.level = left, s.level+1
	}
}

// sum returns the digest of the first size bytes, which are known.
func (t *tree) sum(size int64) [32]byte {
	blocks := max((size+blockBytes-1)/blockBytes, 1)
	root := t.join(0, blocks, size)
	root.Flags |= guts.FlagRoot
	words := guts.WordsToBytes(guts.CompressNode(root))
	return [32]byte(words[:32])
}

// join returns the subtree over n blocks: on the left the largest power of two, as BLAKE3 defines it.
func (t *tree) join(first, n, size int64) guts.Node {
	if s, ok := t.subtrees[first]; ok && int64(1)<<s.level == n {
		return s.node
	}
	if n == 1 { // the last block
		last := t.parts[first]
		if last == nil { // no bytes at all
			last = &part{}
		}
		return last.hash(int(size-first*blockBytes), first)
	}
	left := int64(1) << (bits.Len64(uint64(n-1)) - 1)
	return parent(t.join(first, left, size), t.join(first+left, n-left, size))
}
