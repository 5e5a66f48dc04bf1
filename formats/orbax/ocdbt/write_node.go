package ocdbt

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// newNode is a node before it is encoded: a leaf with entries, or an interior node with children.
type newNode struct {
	first    string // smallest key
	prefix   int    // bytes of the keys that the node leaves out
	height   int
	entries  []Entry
	children []written
	statistics
}

func newLeaf(entries []Entry, prefix int) *newNode {
	n := &newNode{first: entries[0].Key, prefix: prefix, entries: entries}
	n.keys = uint64(len(entries))
	for _, e := range entries {
		if e.Value.File != "" {
			n.indirect += uint64(e.Value.Length)
		}
	}
	return n
}

func newInterior(children []written, prefix, height int) *newNode {
	n := &newNode{first: children[0].first, prefix: prefix, height: height, children: children}
	for _, c := range children {
		n.keys += c.keys
		n.tree += c.tree
		n.indirect += c.indirect
	}
	return n
}

// encode returns the body of the node.
func (n *newNode) encode(nodeFile string) []byte {
	b := []byte{byte(n.height)}
	if n.height > 0 {
		b = appendPaths(b, []string{nodeFile})
		return n.appendChildren(n.appendKeys(b))
	}
	var names []string
	for _, e := range n.entries {
		if e.Value.File != "" {
			names = append(names, e.Value.File)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return n.appendValues(n.appendKeys(appendPaths(b, names)), names)
}

// appendKeys appends the columns of the keys, each without the prefix that it shares with the key before it.
func (n *newNode) appendKeys(b []byte) []byte {
	keys := make([]string, 0, max(len(n.entries), len(n.children)))
	for _, e := range n.entries {
		keys = append(keys, e.Key[n.prefix:])
	}
	for _, c := range n.children {
		keys = append(keys, c.first[n.prefix:])
	}
	b = appendVarint(b, len(keys))
	prefixes := make([]int, len(keys))
	for i := 1; i < len(keys); i++ {
		prefixes[i] = shared(keys[i-1], keys[i])
		b = appendVarint(b, prefixes[i])
	}
	for i, k := range keys {
		b = appendVarint(b, len(k)-prefixes[i])
	}
	for _, c := range n.children {
		b = appendVarint(b, c.prefix-n.prefix)
	}
	for i, k := range keys {
		b = append(b, k[prefixes[i]:]...)
	}
	return b
}

// appendValues appends the columns of a leaf's values.
func (n *newNode) appendValues(b []byte, names []string) []byte {
	for _, e := range n.entries {
		if e.Value.File != "" {
			b = appendVarint(b, e.Value.Length)
		} else {
			b = appendVarint(b, len(e.Value.Inline))
		}
	}
	for _, e := range n.entries {
		kind := byte(0)
		if e.Value.File != "" {
			kind = 1
		}
		b = append(b, kind)
	}
	for _, e := range n.entries {
		if e.Value.File != "" {
			file, _ := slices.BinarySearch(names, e.Value.File)
			b = appendVarint(b, file)
		}
	}
	for _, e := range n.entries {
		if e.Value.File != "" {
			b = appendVarint(b, e.Value.Offset)
		}
	}
	for _, e := range n.entries {
		b = append(b, e.Value.Inline...)
	}
	return b
}

// appendChildren appends the columns of the children, which are in the only file of the table.
func (n *newNode) appendChildren(b []byte) []byte {
	for range n.children {
		b = appendVarint(b, 0)
	}
	columns := []func(written) uint64{
		func(c written) uint64 { return uint64(c.offset) },
		func(c written) uint64 { return uint64(c.length) },
		func(c written) uint64 { return c.keys },
		func(c written) uint64 { return c.tree },
		func(c written) uint64 { return c.indirect },
	}
	for _, column := range columns {
		for _, c := range n.children {
			b = binary.AppendUvarint(b, column(c))
		}
	}
	return b
}

// appendPaths appends a data file table of sorted names without base paths.
func appendPaths(b []byte, names []string) []byte {
	b = appendVarint(b, len(names))
	prefixes := make([]int, len(names))
	for i := 1; i < len(names); i++ {
		prefixes[i] = shared(names[i-1], names[i])
		b = appendVarint(b, prefixes[i])
	}
	for i, name := range names {
		b = appendVarint(b, len(name)-prefixes[i])
	}
	for range names {
		b = appendVarint(b, 0)
	}
	var text strings.Builder
	for i, name := range names {
		text.WriteString(name[prefixes[i]:])
	}
	return append(b, text.String()...)
}

func appendVarint[T int | int64](b []byte, n T) []byte { return binary.AppendUvarint(b, uint64(n)) }

// encoder compresses manifests and nodes. Its EncodeAll is safe for concurrent use.
var encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
})

// sealEnvelope compresses a body and adds the envelope that openEnvelope removes.
func sealEnvelope(magic uint32, body []byte) ([]byte, error) {
	zstd, err := encoder()
	if err != nil {
		return nil, err
	}
	b := binary.BigEndian.AppendUint32(nil, magic)
	b = append(b, make([]byte, 8)...) // length
	b = append(b, 0, 1)               // format version, compression
	b = zstd.EncodeAll(body, b)
	binary.LittleEndian.PutUint64(b[4:], uint64(len(b)+4))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}
