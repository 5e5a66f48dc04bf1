package ocdbt

const (
	maxKey   = 1<<16 - 1 // bytes of a key, and of a path
	maxPaths = 8 << 20   // bytes of all paths of a table
)

// dataFile is an entry of a data file table: a path, and the part of it that the paths in the nodes of that
// file are relative to.
type dataFile struct {
	name string // path relative to the database
	base int    // length of the base path in bytes
}

// readPaths parses a data file table. transitive is the base path of the file that holds it.
//
// Names are checked when they are used, since the entry of an empty tree has none.
func readPaths(c *cursor, transitive string) []dataFile {
	n := c.count(1<<32-1, "data files")
	prefixes := column[uint16](c, max(n-1, 0), maxKey)
	suffixes := column[uint16](c, n, maxKey)
	bases := column[uint16](c, n, maxKey)
	if c.err != nil {
		return nil
	}
	paths := make([]dataFile, 0, min(n, 1<<10))
	last := ""
	total := 0
	for i := range n {
		prefix := 0
		if i > 0 {
			prefix = int(prefixes[i-1])
		}
		if prefix > len(last) {
			c.fail("data file %d shares %d bytes with a path of %d", i, prefix, len(last))
		}
		if i > 0 && bases[i] != bases[i-1] && prefix > int(min(bases[i], bases[i-1])) {
			c.fail("data file %d shares %d bytes with a path of another base", i, prefix)
		}
		suffix := c.bytes(uint64(suffixes[i]))
		if c.err != nil {
			return nil
		}
		last = last[:prefix] + string(suffix)
		total += len(transitive) + len(last)
		switch {
		case int(bases[i]) > len(last):
			c.fail("data file %d has a base path of %d bytes, but a path of %d", i, bases[i], len(last))
		case len(transitive)+len(last) > maxKey:
			c.fail("data file %d has a path of %d bytes", i, len(transitive)+len(last))
		case total > maxPaths:
			c.fail("paths of data files take more than %d bytes", maxPaths)
		}
		if c.err != nil {
			return nil
		}
		paths = append(paths, dataFile{name: transitive + last, base: len(transitive) + int(bases[i])})
	}
	return paths
}
