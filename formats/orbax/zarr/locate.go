package zarr

import (
	"fmt"
	"io"
	"strings"
)

// located is where a chunk lies.
type located struct {
	key     string            // of the store, and the place in shards, for errors
	section *io.SectionReader // nil where the chunk is not stored
}

// maxIndexMemory is what a locator keeps of indices, in bytes.
const maxIndexMemory = 2*maxInner*8 + 1<<20

// locator finds chunks. It keeps the indices of the shards it has been in last; each stream has
// one of its own.
type locator struct {
	a      *Array
	shards map[string]opened
	memory int
}

// opened is a shard whose index is read.
type opened struct {
	section *io.SectionReader // nil where the shard is not stored
	index   index
}

func newLocator(a *Array) *locator { return &locator{a: a, shards: map[string]opened{}} }

// find returns where the chunk at a place in the grid lies. The key is set also with an error.
func (l *locator) find(place []int64) (located, error) {
	a := l.a
	at := make([]int64, len(place)) // the first element of the chunk
	outer := make([]int64, len(place))
	for k := range place {
		at[k] = place[k] * a.chunk[k]
		outer[k] = at[k] / a.stored[k]
		at[k] %= a.stored[k]
	}
	key := a.prefix + a.keys.key(outer)
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
			return located{key: name}, err
		}
		number := int64(0)
		for j, axis := range level.axes {
			number = number*level.grid[j] + at[axis]/level.shape[axis]
			at[axis] %= level.shape[axis]
		}
		name = fmt.Sprintf("%s inner chunk %d", name, number)
		section, ok := shard.index.section(shard.section, number)
		if !ok {
			return located{key: name}, nil
		}
		open = func() (*io.SectionReader, error) { return section, nil }
	}
	section, err := open()
	return located{name, section}, err
}

// shard returns the shard of that name, opening it where it is not kept.
func (l *locator) shard(name string, level *level, open func() (*io.SectionReader, error)) (opened, error) {
	if s, ok := l.shards[name]; ok {
		return s, nil
	}
	section, err := open()
	if err != nil {
		return opened{}, err
	}
	s := opened{section: section}
	if section != nil {
		if s.index, err = level.readIndex(section); err != nil {
			return opened{}, err
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
