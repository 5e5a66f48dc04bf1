package storagetest

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/fstest"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

// Store is an upload.Store in memory, whose requests can fail.
type Store struct {
	Slow bool // sending a part takes some time

	// Fault, if not nil, is asked before each request, whose method and number it gets. If it returns an error, that is the
	// answer, and the request has its effect only if applied is set. It is not called concurrently.
	Fault func(method string, request int) (applied bool, err error)

	// What follows may be used while no request is made.
	Objects    map[string]string
	Unfinished map[string]*Unfinished // by id
	Requests   int
	Most       int // parts that were sent at a time

	mu      sync.Mutex
	sending int
}

// Unfinished is an object that is being sent in parts.
type Unfinished struct {
	Key   string
	Parts map[int]string
}

// NewStore returns an empty Store.
func NewStore() *Store {
	return &Store{Objects: map[string]string{}, Unfinished: map[string]*Unfinished{}}
}

// do makes a request, unless a fault is due.
func (m *Store) do(method string, effect func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Requests++
	if m.Fault != nil {
		if applied, err := m.Fault(method, m.Requests); err != nil {
			if applied {
				_ = effect()
			}
			return err
		}
	}
	return effect()
}

func missing(key string) error { return remote.Errorf(key, remote.Missing, "no such object") }

// Path implements upload.Store.
func (m *Store) Path(key string) string { return "mem://b/" + key }

// List implements upload.Store.
func (m *Store) List(_ context.Context, prefix string) (keys []string, err error) {
	err = m.do("List", func() error {
		if strings.HasSuffix(prefix, "/.") { // as MinIO
			return remote.Errorf(prefix, remote.Invalid, "not a prefix")
		}
		for key := range m.Objects {
			if strings.HasPrefix(key, prefix) {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		return nil
	})
	return keys, err
}

// Get implements upload.Store.
func (m *Store) Get(_ context.Context, key string) (content []byte, err error) {
	err = m.do("Get", func() error {
		text, ok := m.Objects[key]
		if !ok {
			return missing(key)
		}
		content = []byte(text)
		return nil
	})
	return content, err
}

// Put implements upload.Store.
func (m *Store) Put(_ context.Context, key string, content []byte) error {
	return m.do("Put", func() error { m.Objects[key] = string(content); return nil })
}

// PutNew implements upload.Store.
func (m *Store) PutNew(_ context.Context, key string, content []byte) error {
	return m.do("PutNew", func() error {
		if _, ok := m.Objects[key]; ok {
			return remote.Errorf(key, remote.Changed, "the object exists")
		}
		m.Objects[key] = string(content)
		return nil
	})
}

// Copy implements upload.Store.
func (m *Store) Copy(_ context.Context, to, from string) error {
	return m.do("Copy", func() error {
		content, ok := m.Objects[from]
		if !ok {
			return missing(from)
		}
		m.Objects[to] = content
		return nil
	})
}

// Delete implements upload.Store.
func (m *Store) Delete(_ context.Context, key string) error {
	return m.do("Delete", func() error { delete(m.Objects, key); return nil })
}

// Begin implements upload.Store.
func (m *Store) Begin(_ context.Context, key, _ string) (id string, err error) {
	err = m.do("Begin", func() error {
		id = fmt.Sprintf("%s#%d", key, m.Requests)
		m.Unfinished[id] = &Unfinished{key, map[int]string{}}
		return nil
	})
	return id, err
}

// SendPart implements upload.Store.
func (m *Store) SendPart(_ context.Context, key, id string, number int, content []byte) (string, error) {
	m.mu.Lock()
	m.sending++
	m.Most = max(m.Most, m.sending)
	m.mu.Unlock()
	if m.Slow {
		time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
	}
	defer func() {
		m.mu.Lock()
		m.sending--
		m.mu.Unlock()
	}()
	return "tag", m.do("SendPart", func() error {
		if m.Unfinished[id] == nil {
			return missing(key)
		}
		m.Unfinished[id].Parts[number] = string(content)
		return nil
	})
}

// Finish implements upload.Store.
func (m *Store) Finish(_ context.Context, key, id string, tags []string) error {
	return m.do("Finish", func() error {
		u := m.Unfinished[id]
		if u == nil {
			return missing(key)
		}
		var b strings.Builder
		for i := range tags {
			b.WriteString(u.Parts[i])
		}
		m.Objects[key] = b.String()
		delete(m.Unfinished, id)
		return nil
	})
}

// Abort implements upload.Store.
func (m *Store) Abort(_ context.Context, key, id string) error {
	return m.do("Abort", func() error {
		maps.DeleteFunc(m.Unfinished, func(each string, u *Unfinished) bool { return each == id || id == "" && u.Key == key })
		return nil
	})
}

// Source implements upload.Store.
func (m *Store) Source(key string) (fs.FS, string, error) {
	files := fstest.MapFS{}
	m.mu.Lock()
	defer m.mu.Unlock()
	for each, content := range m.Objects {
		files[each] = &fstest.MapFile{Data: []byte(content)}
	}
	return files, key, nil
}
