package zarr

import (
	"fmt"
	"io"
	"strings"
)

// chunkSource is where a chunk is stored.
type chunkSource struct {
	key     string            // in the store, and numbers in shards, for errors
	section *io.SectionReader // nil if the chunk is not stored
}

// maxIndexMemory is the size of the indices that a locator keeps, in bytes.
const maxIndexMemory = 2*maxInner*8 + 1<<20

// locator finds chunks. It keeps the indices of the shards that it has used last. Each stream has its own.
type locator struct {
	a      *Array
	shards map[string]openShard
	memory int
}

// openShard is a shard with its index.
type openShard struct {
	section *io.SectionReader // nil if the shard is not stored
	index   index
}

func newLocator(a *Array) *locator { return &locator{a: a, shards: map[string]openShard{}} }

// find returns where the chunk of a cell is stored. The key is set also if there is an error.
func (l *locator) find(cell []int64) (chunkSource, error) {
	a := l.a
	at := make([]int64, len(cell)) // the first element of the chunk
	outer := make([]int64, len(cell))
	for k := range cell {
		at[k] = cell[k] * a.chunk[k]
		outer[k] = at[k] / a.stored[k]
		at[k] %= a.stored[k]
	}
	key := below(a.name) + a.keys.key(outer)
	open := func() (*io.SectionReader, error) {
		section, ok, err := a.store.Section(key)
		if !ok {
			section = nil
		}
		return section, err
	}
	name := key
	for i := range a.levels {
		level := &a.levels[i]
		shard, err := l.shard(name, level, open)
		if err != nil || shard.section == nil {
			return chunkSource{key: name}, err
		}
		number := int64(0)
		for j, axis := range level.axes {
			number = number*level.grid[j] + at[axis]/level.shape[axis]
			at[axis] %= level.shape[axis]
		}
		name = fmt.Sprintf("%s inner chunk %d", name, number)
		section, ok := shard.index.section(shard.section, number)
		if !ok {
			return chunkSource{key: name}, nil
		}
		open = func() (*io.SectionReader, error) { return section, nil }
	}
	section, err := open()
	return chunkSource{name, section}, err
}

// shard returns the shard of that name. It opens the shard unless it is kept.
func (l *locator) shard(name string, level *level, open func() (*io.SectionReader, error)) (openShard, error) {
	if s, ok := l.shards[name]; ok {
		return s, nil
	}
	section, err := open()
	if err != nil {
		return openShard{}, err
	}
	s := openShard{section: section}
	if section != nil {
		if s.index, err = level.readIndex(section); err != nil {
			return openShard{}, err
		}
	}
	cost := 16*len(s.index) + len(name) + 200
	if l.memory += cost; l.memory > maxIndexMemory {
		clear(l.shards)
		l.memory = cost
	}
	l.shards[strings.Clone(name)] = s
	return s, nil
}
