package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

// memoryStore is a Store in memory, whose requests can fail.
type memoryStore struct {
	mu       sync.Mutex
	objects  map[string]string
	uploads  map[string]*unfinished
	requests int
	most     int // parts at a time
	sending  int
	slow     bool

	// fault, if not nil, is asked before each request. If it returns an error, that is the answer, and the request has its
	// effect only if applied is set.
	fault func(request int) (applied bool, err error)
}

type unfinished struct {
	key   string
	parts map[int]string
}

func newStore() *memoryStore {
	return &memoryStore{objects: map[string]string{}, uploads: map[string]*unfinished{}}
}

// do makes a request, unless a fault is due.
func (m *memoryStore) do(effect func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests++
	if m.fault != nil {
		if applied, err := m.fault(m.requests); err != nil {
			if applied {
				_ = effect()
			}
			return err
		}
	}
	return effect()
}

func missing(key string) error { return remote.Errorf(key, remote.Missing, "no such object") }

func (m *memoryStore) Path(key string) string { return "mem://b/" + key }

func (m *memoryStore) List(_ context.Context, prefix string) (keys []string, err error) {
	err = m.do(func() error {
		if strings.HasSuffix(prefix, "/.") { // as MinIO
			return remote.Errorf(prefix, remote.Invalid, "not a prefix")
		}
		for key := range m.objects {
			if strings.HasPrefix(key, prefix) {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		return nil
	})
	return keys, err
}

func (m *memoryStore) Get(_ context.Context, key string) (content []byte, err error) {
	err = m.do(func() error {
		text, ok := m.objects[key]
		if !ok {
			return missing(key)
		}
		content = []byte(text)
		return nil
	})
	return content, err
}

func (m *memoryStore) Put(_ context.Context, key string, content []byte) error {
	return m.do(func() error { m.objects[key] = string(content); return nil })
}

func (m *memoryStore) Copy(_ context.Context, to, from string) error {
	return m.do(func() error {
		content, ok := m.objects[from]
		if !ok {
			return missing(from)
		}
		m.objects[to] = content
		return nil
	})
}

func (m *memoryStore) Delete(_ context.Context, key string) error {
	return m.do(func() error { delete(m.objects, key); return nil })
}

func (m *memoryStore) Begin(_ context.Context, key, _ string) (id string, err error) {
	err = m.do(func() error {
		id = fmt.Sprintf("%s#%d", key, m.requests)
		m.uploads[id] = &unfinished{key, map[int]string{}}
		return nil
	})
	return id, err
}

func (m *memoryStore) SendPart(_ context.Context, key, id string, number int, content []byte) (string, error) {
	m.mu.Lock()
	m.sending++
	m.most = max(m.most, m.sending)
	m.mu.Unlock()
	if m.slow {
		time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
	}
	defer func() {
		m.mu.Lock()
		m.sending--
		m.mu.Unlock()
	}()
	return "tag", m.do(func() error {
		if m.uploads[id] == nil {
			return missing(key)
		}
		m.uploads[id].parts[number] = string(content)
		return nil
	})
}

func (m *memoryStore) Finish(_ context.Context, key, id string, tags []string) error {
	return m.do(func() error {
		u := m.uploads[id]
		if u == nil {
			return missing(key)
		}
		var b strings.Builder
		for i := range tags {
			b.WriteString(u.parts[i])
		}
		m.objects[key] = b.String()
		delete(m.uploads, id)
		return nil
	})
}

func (m *memoryStore) Abort(_ context.Context, key, id string) error {
	return m.do(func() error {
		maps.DeleteFunc(m.uploads, func(each string, u *unfinished) bool { return each == id || id == "" && u.key == key })
		return nil
	})
}

func (m *memoryStore) Source(key string) (fs.FS, string, error) {
	files := fstest.MapFS{}
	for each, content := range m.objects {
		files[each] = &fstest.MapFile{Data: []byte(content)}
	}
	return files, key, nil
}

func pool(t *testing.T) *remote.Pool {
	return remote.NewPool(t.Context(), remote.Options{Backoff: time.Microsecond, Attempts: 3})
}

// newSink returns a destination with small parts.
func newSink(t *testing.T, m *memoryStore, at string, single bool) *sink {
	s := New(pool(t), m, at, single).(*sink)
	s.part, s.small = 64, 100
	return s
}

// scenario is something that is written.
type scenario struct {
	name    string
	single  bool
	preview bool
	old     map[string]string // at the destination before
	files   map[string]string
	last    string
}

// scenarios are destinations at the key "out/7" of a bucket that holds other things.
func scenarios() []scenario {
	text := func(seed uint64, n int) string {
		b := make([]byte, n)
		r := rand.NewChaCha8([32]byte{byte(seed)})
		r.Read(b)
		return string(b)
	}
	directory := map[string]string{"model.bin": text(1, 1000), "index": text(2, 90), "tokenizer": text(3, 300), "config": text(4, 50)}
	old := map[string]string{"model.bin": text(5, 70), "config": text(6, 20), "stale": text(7, 10), "d/0": text(8, 5)}
	file := map[string]string{"": text(9, 1000), ".conversion.json": text(10, 40)}
	var all []scenario
	for _, preview := range []bool{false, true} {
		all = append(all,
			scenario{"new directory", false, preview, nil, directory, "config"},
			scenario{"replaced directory", false, preview, old, directory, "config"},
			scenario{"directory without its last file", false, preview, map[string]string{"model.bin": "x"}, directory, "config"},
			scenario{"new file", true, preview, nil, file, ""},
			scenario{"replaced file", true, preview, map[string]string{"": "old", ".conversion.json": "{}"}, file, ""})
	}
	return all
}

// others are objects of the bucket that no run may touch.
var others = map[string]string{"out/6/config": "a", "out/70": "b", "out/7x/config": "c", "out/7.txt": "d", "out/.8.griffin-upload.json": "e", "top": "f"}

// start returns a store with the old contents.
func (c *scenario) start() *memoryStore {
	m := newStore()
	maps.Copy(m.objects, others)
	for name, content := range c.old {
		m.objects[c.key(name)] = content
	}
	return m
}

func (c *scenario) key(name string) string {
	if c.single {
		return "out/7" + name
	}
	return path.Join("out/7", name)
}

// write makes a run, with a few writers that each write pieces of all files.
func (c *scenario) write(s *sink) (err error) {
	if _, err := s.Clean(); err != nil {
		return err
	}
	var names []string
	for name := range c.files {
		if name != c.last {
			names = append(names, name)
		}
	}
	u, err := s.Begin(storage.SinkOptions{Names: names, Last: c.last, Replace: c.old != nil, Preview: c.preview})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.Discard()) }()
	for _, name := range slices.Sorted(maps.Keys(c.files)) {
		content := c.files[name]
		w, err := u.Create(name, int64(len(content)))
		if err != nil {
			return err
		}
		var pieces [][2]int
		for at := 0; at < len(content); at += 37 {
			pieces = append(pieces, [2]int{at, min(at+37, len(content))})
		}
		rand.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
		var group sync.WaitGroup
		errs := make([]error, 3)
		for i := range errs {
			group.Go(func() {
				for k := i; k < len(pieces) && errs[i] == nil; k += len(errs) {
					_, errs[i] = w.WriteAt([]byte(content[pieces[k][0]:pieces[k][1]]), int64(pieces[k][0]))
				}
			})
		}
		group.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	if err := u.Wait(); err != nil {
		return err
	}
	if c.preview {
		source, name, err := u.Preview()
		if err != nil {
			return err
		}
		for each, content := range c.files {
			at := path.Join(name, each)
			if c.single {
				if each != "" {
					continue
				}
				at = name
			}
			if got, err := fs.ReadFile(source, at); err != nil || string(got) != content {
				return fmt.Errorf("preview of %s: %d bytes, %v", each, len(got), err)
			}
		}
	}
	return u.Publish()
}

// state says what is at the destination: "old", "new", "none", or "" if it is a mixture. With strict set there must be nothing
// beside it.
func (c *scenario) state(m *memoryStore, strict bool) string {
	found := maps.Clone(m.objects)
	for key, content := range others {
		if found[key] != content {
			return ""
		}
		delete(found, key)
	}
	if !strict {
		maps.DeleteFunc(found, func(key, _ string) bool { return strings.HasPrefix(key, "out/.7.griffin-") })
		if _, ok := found[c.key(c.last)]; !ok && c.old[c.last] != "" {
			return "none" // it is not usable
		}
	} else if len(m.uploads) > 0 {
		return ""
	}
	for name, files := range map[string]map[string]string{"old": c.old, "new": c.files, "none": nil} {
		want := map[string]string{}
		for each, content := range files {
			want[c.key(each)] = content
		}
		if maps.Equal(want, found) && (name != "old" || files != nil) {
			return name
		}
	}
	if !strict {
		if _, ok := found[c.key(c.last)]; !ok {
			return "none"
		}
	}
	return ""
}

func TestUpload(t *testing.T) {
	for _, c := range scenarios() {
		t.Run(fmt.Sprint(c.name, c.preview), func(t *testing.T) {
			m := c.start()
			m.slow = true
			if err := c.write(newSink(t, m, "out/7", c.single)); err != nil {
				t.Fatal(err)
			}
			if c.state(m, true) != "new" {
				t.Errorf("found %v", slices.Sorted(maps.Keys(m.objects)))
			}
			if m.most > inFlight {
				t.Errorf("%d parts at a time", m.most)
			}
		})
	}
}

// A request that fails once, or whose answer is lost, changes nothing.
func TestFaults(t *testing.T) {
	for _, c := range scenarios() {
		for _, applied := range []bool{false, true} {
			for at := 1; ; at++ {
				m := c.start()
				m.fault = func(request int) (bool, error) {
					if request == at {
						return applied, errors.New("connection reset")
					}
					return false, nil
				}
				if err := c.write(newSink(t, m, "out/7", c.single)); err != nil {
					t.Fatalf("%s: fault at request %d, applied %t: %v", c.name, at, applied, err)
				}
				if c.state(m, true) != "new" {
					t.Fatalf("%s: fault at request %d, applied %t: %v", c.name, at, applied, slices.Sorted(maps.Keys(m.objects)))
				}
				if m.requests < at {
					break
				}
			}
		}
	}
}

// Wherever a run is killed, the destination is what it was, absent, or complete, and the next run completes it. Clean removes
// the rest.
func TestKilled(t *testing.T) {
	killed := remote.Errorf("mem://b", remote.Forbidden, "killed")
	for _, c := range scenarios() {
		for _, applied := range []bool{false, true} {
			seen := map[string]int{}
			for at := 1; ; at++ {
				m := c.start()
				m.fault = func(request int) (bool, error) {
					if request >= at {
						return applied && request == at, killed
					}
					return false, nil
				}
				err := c.write(newSink(t, m, "out/7", c.single))
				m.fault = nil
				where := fmt.Sprintf("%s, preview %t, killed at request %d, applied %t", c.name, c.preview, at, applied)
				if m.requests < at {
					break
				}
				if err == nil {
					t.Fatalf("%s: no error", where)
				}
				if state := c.state(m, false); state == "" {
					t.Fatalf("%s: a mixture: %v", where, slices.Sorted(maps.Keys(m.objects)))
				}
				s := newSink(t, m, "out/7", c.single)
				left, err := s.Interrupted()
				if err != nil {
					t.Fatal(where, err)
				}
				removed, err := s.Clean()
				if err != nil || left != (len(removed) > 0) {
					t.Fatal(where, left, removed, err)
				}
				state := c.state(m, true)
				if state == "" || state == "none" && c.old != nil && at < 3 {
					t.Fatalf("%s: after Clean %q: %v", where, state, slices.Sorted(maps.Keys(m.objects)))
				}
				seen[state]++
				if err := c.write(newSink(t, m, "out/7", c.single)); err != nil || c.state(m, true) != "new" {
					t.Fatalf("%s: the next run: %v", where, err)
				}
			}
			if seen["none"] == 0 && seen["old"] == 0 || seen["new"] == 0 {
				t.Errorf("%s: %v", c.name, seen)
			}
		}
	}
}

// A run that fails otherwise leaves the destination as it was.
func TestDiscard(t *testing.T) {
	for _, c := range scenarios() {
		m := c.start()
		before := maps.Clone(m.objects)
		s := newSink(t, m, "out/7", c.single)
		name := "model.bin"
		if c.single {
			name = ".bin"
		}
		u, err := s.Begin(storage.SinkOptions{Names: []string{name}, Last: c.last, Replace: true, Preview: c.preview})
		if err != nil {
			t.Fatal(err)
		}
		w, err := u.Create(name, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.WriteAt(make([]byte, 500), 0); err != nil {
			t.Fatal(err)
		}
		if err := u.Wait(); err == nil || !strings.Contains(err.Error(), "500 of 1000 bytes") {
			t.Errorf("a file with a gap: %v", err)
		}
		if err := u.Publish(); err == nil {
			t.Error("a file with a gap is published")
		}
		if err := u.Discard(); err != nil {
			t.Error(err)
		}
		if !maps.Equal(before, m.objects) || len(m.uploads) > 0 {
			t.Errorf("left: %v", slices.Sorted(maps.Keys(m.objects)))
		}
		if err := u.Discard(); err != nil {
			t.Error(err)
		}
	}
}

// Of two runs with one destination, the earlier one ends without a trace.
func TestOtherRun(t *testing.T) {
	c := scenarios()[0]
	m := c.start()
	first, err := newSink(t, m, "out/7", false).Begin(storage.SinkOptions{Names: []string{"model.bin"}, Last: "config"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := first.Create("config", 1000)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.write(newSink(t, m, "out/7", false)); err != nil {
		t.Fatal(err)
	}
	_, err = w.WriteAt(bytes.Repeat([]byte("x"), 1000), 0)
	var e *remote.Error
	if err = errors.Join(err, first.Publish()); !errors.As(err, &e) {
		t.Error(err)
	}
	if err := first.Discard(); err != nil {
		t.Error(err)
	}
	if c.state(m, true) != "new" {
		t.Errorf("found %v", slices.Sorted(maps.Keys(m.objects)))
	}
}

// CleanBelow removes what was left in the directory, and nothing else.
func TestCleanBelow(t *testing.T) {
	c := scenarios()[0]
	m := c.start()
	delete(m.objects, "out/.8.griffin-upload.json")
	before := maps.Clone(m.objects)
	u, err := newSink(t, m, "out/7", false).Begin(storage.SinkOptions{Names: []string{"model.bin"}, Last: "config"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Create("model.bin", 1000); err != nil {
		t.Fatal(err)
	}
	removed, err := newSink(t, m, "out", false).CleanBelow()
	if err != nil || len(removed) != 1 || !maps.Equal(before, m.objects) || len(m.uploads) > 0 {
		t.Errorf("removed %v, %v; left %v, %v", removed, err, slices.Sorted(maps.Keys(m.objects)), m.uploads)
	}
}

// A record that is no record of this destination removes nothing.
func TestBadRecord(t *testing.T) {
	for _, record := range []string{
		"", "{}", `{"griffin_upload":"2"}`,
		`{"griffin_upload":"1","id":"0123456789abcdef","keys":["out/6/config"],"last":"out/7/config","scratch":"out/.7.griffin-0123456789abcdef/","publishing":true}`,
		`{"griffin_upload":"1","id":"0123456789abcdef","keys":[],"last":"out/7/config","scratch":"out/","publishing":true}`,
		`{"griffin_upload":"1","id":"0123456789abcdef","keys":[],"last":"top","scratch":"out/.7.griffin-0123456789abcdef/","publishing":true}`,
		`{"griffin_upload":"1","id":"0123456789abcdef","keys":[],"last":"out/7/config","scratch":"out/.7.griffin-","publishing":true}`,
		`{"griffin_upload":"1","id":"0123456789abcdef","keys":[],"sent":["top"],"last":"out/7/config","scratch":"out/.7.griffin-0123456789abcdef/"}`,
	} {
		c := scenarios()[1]
		m := c.start()
		m.objects["out/.7.griffin-upload.json"] = record
		before := maps.Clone(m.objects)
		var e *remote.Error
		if _, err := newSink(t, m, "out/7", false).Clean(); !errors.As(err, &e) || e.Reason != remote.Invalid || !maps.Equal(before, m.objects) {
			t.Errorf("%s: %v", record, err)
		}
	}
}
