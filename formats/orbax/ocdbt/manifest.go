package ocdbt

import (
	"encoding/binary"
	"math"
)

// manifest is the part of a manifest that reading the newest version needs.
type manifest struct {
	numbered bool // the versions are in other files
	maxNode  int  // bytes of a decoded node
	root     ref  // of the newest version
	height   int  // of the root
	empty    bool // the newest version has no keys
}

// ref is a byte range of a file that holds a node.
type ref struct {
	dataFile
	offset, length int64
}

// missing marks, as offset and length, the root of an empty tree.
const missing = math.MaxUint64

// minNodeLimit is the smallest limit of a decoded node in bytes. A node may exceed the size in the manifest by
// a single large entry.
const minNodeLimit = 4 << 20

// parseManifest parses the body of a manifest.
func parseManifest(body []byte) (*manifest, error) {
	c := &cursor{data: body}
	m := &manifest{}
	c.bytes(16) // uuid
	kind := c.u8()
	if kind > 1 {
		c.fail("unknown kind %d of manifest", kind)
	}
	c.varint(1 << 20) // size of the largest inline value that is written
	m.maxNode = int(min(max(c.varint(missing), minNodeLimit), maxBlob))
	arityLog2 := c.u8()
	if arityLog2 < 1 || arityLog2 > 16 {
		c.fail("version tree arity 2^%d is not within 2^1 and 2^16", arityLog2)
	}
	switch compression := c.varint(1<<32 - 1); compression {
	case 0:
	case 1:
		c.bytes(4) // level
	default:
		c.fail("unknown compression %d", compression)
	}
	if m.numbered = kind == 1; m.numbered {
		return m, c.end()
	}
	paths := readPaths(c, "")
	m.readVersions(c, paths, 1<<arityLog2)
	readVersionNodes(c, paths)
	return m, c.end()
}

// readVersions reads the versions in the manifest itself. The last is the newest.
func (m *manifest) readVersions(c *cursor, paths []dataFile, most uint64) {
	n := c.count(most, "versions")
	if n == 0 {
		c.fail("no versions")
	}
	readGenerations(c, n)
	heights := c.bytes(uint64(n))
	files := column[uint32](c, n, math.MaxUint32)
	offsets := column[uint64](c, n, missing)
	lengths := column[uint64](c, n, missing)
	keys := column[uint64](c, n, missing)
	nodes := column[uint64](c, n, missing)
	values := column[uint64](c, n, missing)
	readTimes(c, n)
	for i := 0; c.err == nil && i < n; i++ {
		m.height = int(heights[i])
		if m.empty = offsets[i] == missing && lengths[i] == missing; m.empty {
			if m.height != 0 || keys[i] != 0 || nodes[i] != 0 || values[i] != 0 {
				c.fail("version %d has no root, but height %d, %d keys, and %d bytes of nodes and %d of values", i, m.height, keys[i], nodes[i], values[i])
			}
			continue
		}
		m.root = makeRef(c, paths, files[i], offsets[i], lengths[i])
	}
}

// readVersionNodes checks the references to the nodes that list older versions.
func readVersionNodes(c *cursor, paths []dataFile) {
	n := c.count(1<<20, "version nodes")
	readGenerations(c, n)
	files := column[uint32](c, n, math.MaxUint32)
	offsets := column[uint64](c, n, missing)
	lengths := column[uint64](c, n, missing)
	c.skip(n) // generations in each
	readTimes(c, n)
	for _, height := range c.bytes(uint64(n)) {
		if height == 0 {
			c.fail("version node of height 0")
		}
	}
	for i := 0; c.err == nil && i < n; i++ {
		makeRef(c, paths, files[i], offsets[i], lengths[i])
	}
}

func readGenerations(c *cursor, n int) {
	last := uint64(0)
	for i, g := range column[uint64](c, n, missing) {
		if g <= last {
			c.fail("generation %d of version %d is not greater than %d", g, i, last)
		}
		last = g
	}
}

// readTimes reads the times of commits, which ascend as the generations do.
func readTimes(c *cursor, n int) {
	times := c.bytes(8 * uint64(n))
	last := uint64(0)
	for i := 0; c.err == nil && i < n; i++ {
		t := binary.LittleEndian.Uint64(times[8*i:])
		if t < last {
			c.fail("version %d is older than the one before it", i)
		}
		last = t
	}
}

// makeRef checks a reference to a node. The size of the file is checked when it is opened.
func makeRef(c *cursor, paths []dataFile, file uint32, offset, length uint64) ref {
	if uint64(file) >= uint64(len(paths)) {
		c.fail("data file %d of %d", file, len(paths))
		return ref{}
	}
	if offset > math.MaxInt64 || length > math.MaxInt64-offset {
		c.fail("range at %d of %d bytes overflows", offset, length)
		return ref{}
	}
	return ref{dataFile: paths[file], offset: int64(offset), length: int64(length)}
}
