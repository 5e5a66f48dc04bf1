package storage

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Listed returns the source for a search of many files that may not exist. In the local file system it reads a directory once
// and knows then which names are not in it; a source elsewhere is returned as it is. Directories that change meanwhile may be seen
// as they were.
func Listed(source fs.FS) fs.FS {
	switch s := source.(type) {
	case local:
		s.lists = &listings{read: local{s.dir, s.opened, nil}.ReadDir}
		return s
	case confined:
		s.lists = &listings{read: confined{s.FS, s.dir, s.opened, nil}.ReadDir}
		return s
	}
	return source
}

// listings has the directories that were read. A nil *listings knows nothing.
type listings struct {
	read          func(name string) ([]fs.DirEntry, error)
	mu            sync.Mutex
	recent, older map[string]listing // by name
	entries       int                // of the recent ones, each directory being one more
}

type listing struct {
	entries []fs.DirEntry // sorted by name
	err     error
}

// maxListed is how many entries the recent directories have until they are the older ones, which are then forgotten unless they are asked for.
const maxListed = 1 << 17

// list returns what is in a directory. Callers do not change it.
func (l *listings) list(name string) ([]fs.DirEntry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, known := l.recent[name]
	if known {
		return found.entries, found.err
	}
	if found, known = l.older[name]; !known {
		found.entries, found.err = l.read(name)
	}
	if l.entries >= maxListed || l.recent == nil {
		l.older, l.recent, l.entries = l.recent, map[string]listing{}, 0
	}
	l.recent[name] = found
	l.entries += 1 + len(found.entries)
	return found.entries, found.err
}

// absent returns an error if a file is not in its directory, nil if it may be there.
func (l *listings) absent(op, name string) error {
	dir, base := path.Split(name)
	if l == nil || base == "." || !fs.ValidPath(name) {
		return nil
	}
	entries, err := l.list(path.Clean(dir))
	if err != nil {
		return nil
	}
	if _, there := slices.BinarySearchFunc(entries, base, func(e fs.DirEntry, name string) int { return strings.Compare(e.Name(), name) }); there {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: syscall.ENOENT}
}
