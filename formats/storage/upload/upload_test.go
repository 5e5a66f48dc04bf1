package upload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/storage/storagetest"
)

func TestMain(m *testing.M) { // what shows that runs are alive is removed with the directory
	dir, err := os.MkdirTemp("", "griffin-test-")
	if err != nil {
		log.Fatal(err)
	}
	os.Setenv("TMPDIR", dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func pool(t *testing.T) *remote.Pool {
	return remote.NewPool(t.Context(), remote.Options{Backoff: time.Microsecond, Attempts: 3})
}

// newSink returns a destination with small parts.
func newSink(t *testing.T, m *storagetest.Store, at string, single bool) *sink {
	s := New(pool(t), m, at, single).(*sink)
	s.part, s.small, s.renew = 64, 100, 4*time.Millisecond
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
	streams bool // all but the last file are streams that are renamed
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
			scenario{"new directory", false, preview, nil, directory, "config", false},
			scenario{"replaced directory", false, preview, old, directory, "config", false},
			scenario{"directory without its last file", false, preview, map[string]string{"model.bin": "x"}, directory, "config", false},
			scenario{"new directory of streams", false, preview, nil, directory, "config", true},
			scenario{"replaced directory by streams", false, preview, old, directory, "config", true},
			scenario{"new file", true, preview, nil, file, "", false},
			scenario{"replaced file", true, preview, map[string]string{"": "old", ".conversion.json": "{}"}, file, "", false})
	}
	return all
}

// others are objects of the bucket that no run may touch.
var others = map[string]string{"out/6/config": "a", "out/70": "b", "out/7x/config": "c", "out/7.txt": "d", "out/.8.griffin-upload.json": "e", "top": "f"}

// start returns a store with the old contents.
func (c *scenario) start() *storagetest.Store {
	m := storagetest.NewStore()
	maps.Copy(m.Objects, others)
	for name, content := range c.old {
		m.Objects[c.key(name)] = content
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
	o := publish.SinkOptions{Names: names, Last: c.last, Replace: c.old != nil, Preview: c.preview}
	if c.streams {
		o.Names, o.Hidden = nil, []string{"spool"}
		for i := range names {
			o.Hidden = append(o.Hidden, fmt.Sprint("hidden", i))
		}
	}
	u, err := s.Begin(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.Discard()) }()
	if c.streams {
		if err := c.stream(u); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.files)) {
		content := c.files[name]
		if c.streams && name != c.last {
			continue
		}
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

// stream writes all files but the last one as streams under other names. They are first collected in a file that is taken again.
func (c *scenario) stream(u publish.Upload) error {
	spool, err := u.Stream("spool", 10_000)
	if err != nil {
		return err
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(c.files)), func(name string) bool { return name == c.last })
	for _, name := range names {
		if _, err := io.WriteString(spool, c.files[name]); err != nil {
			return err
		}
	}
	if err := spool.Close(); err != nil {
		return err
	}
	return u.Take("spool", func(content io.ReaderAt) error {
		at := int64(0)
		for i, name := range names {
			w, err := u.Stream(fmt.Sprint("hidden", i), 5_000)
			if err != nil {
				return err
			}
			n := int64(len(c.files[name]))
			if _, err := io.CopyBuffer(w, struct{ io.Reader }{io.NewSectionReader(content, at, n)}, make([]byte, 37)); err != nil {
				return err
			}
			if err := errors.Join(w.Close(), u.Rename(fmt.Sprint("hidden", i), name)); err != nil {
				return err
			}
			at += n
		}
		return nil
	})
}

// state says what is at the destination: "old", "new", "none", or "" if it is a mixture. With strict set there must be nothing
// beside it.
func (c *scenario) state(m *storagetest.Store, strict bool) string {
	found := maps.Clone(m.Objects)
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
	} else if len(m.Unfinished) > 0 {
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
			m.Slow = true
			if err := c.write(newSink(t, m, "out/7", c.single)); err != nil {
				t.Fatal(err)
			}
			if c.state(m, true) != "new" {
				t.Errorf("found %v", slices.Sorted(maps.Keys(m.Objects)))
			}
			if m.Most > inFlight {
				t.Errorf("%d parts at a time", m.Most)
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
				m.Fault = func(_ string, request int) (bool, error) {
					if request == at {
						return applied, errors.New("connection reset")
					}
					return false, nil
				}
				if err := c.write(newSink(t, m, "out/7", c.single)); err != nil {
					t.Fatalf("%s: fault at request %d, applied %t: %v", c.name, at, applied, err)
				}
				if c.state(m, true) != "new" {
					t.Fatalf("%s: fault at request %d, applied %t: %v", c.name, at, applied, slices.Sorted(maps.Keys(m.Objects)))
				}
				if m.Requests < at {
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
				m.Fault = func(_ string, request int) (bool, error) {
					if request >= at {
						return applied && request == at, killed
					}
					return false, nil
				}
				err := c.write(newSink(t, m, "out/7", c.single))
				m.Fault = nil
				where := fmt.Sprintf("%s, preview %t, killed at request %d, applied %t", c.name, c.preview, at, applied)
				if m.Requests < at {
					break
				}
				if err == nil {
					t.Fatalf("%s: no error", where)
				}
				if state := c.state(m, false); state == "" {
					t.Fatalf("%s: a mixture: %v", where, slices.Sorted(maps.Keys(m.Objects)))
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
					t.Fatalf("%s: after Clean %q: %v", where, state, slices.Sorted(maps.Keys(m.Objects)))
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
		before := maps.Clone(m.Objects)
		s := newSink(t, m, "out/7", c.single)
		name := "model.bin"
		if c.single {
			name = ".bin"
		}
		u, err := s.Begin(publish.SinkOptions{Names: []string{name}, Last: c.last, Replace: true, Preview: c.preview})
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
		if !maps.Equal(before, m.Objects) || len(m.Unfinished) > 0 {
			t.Errorf("left: %v", slices.Sorted(maps.Keys(m.Objects)))
		}
		if err := u.Discard(); err != nil {
			t.Error(err)
		}
	}
}

// While a run is alive, another one is refused, whether it is on the same machine or not. When it has ended, another one
// removes what it has left.
func TestOtherRun(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		c := scenarios()[0]
		m := c.start()
		foreign := m.Objects["out/.8.griffin-upload.json"]
		delete(m.Objects, "out/.8.griffin-upload.json")
		first, err := newSink(t, m, "out/7", false).Begin(publish.SinkOptions{Names: []string{"model.bin"}, Last: "config"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := first.Create("config", 1000); err != nil {
			t.Fatal(err)
		}
		if elsewhere { // what shows that it is alive here is not to be seen there
			if err := publish.Forget(first.(*upload).record.ID); err != nil {
				t.Fatal(err)
			}
		}
		var busy *publish.BusyError
		if _, err := newSink(t, m, "out/7", false).Clean(); !errors.As(err, &busy) {
			t.Errorf("cleaning: %v", err)
		}
		if removed, err := newSink(t, m, "out", false).CleanBelow(); err != nil || len(removed) > 0 {
			t.Errorf("cleaning the directory above: %v, %v", removed, err)
		}
		if _, err := newSink(t, m, "out/7", false).Begin(publish.SinkOptions{Last: "config"}); !errors.As(err, &busy) {
			t.Errorf("beginning: %v", err)
		}
		kill(first)
		var waits []string
		next := newSink(t, m, "out/7", false)
		next.pool = remote.NewPool(t.Context(), remote.Options{Notice: func(address, text string) { waits = append(waits, address+": "+text) }})
		if elsewhere {
			if err := publish.Forget(first.(*upload).record.ID); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.write(next); err != nil {
			t.Errorf("after the first run: %v", err)
		}
		if all := strings.Join(waits, "; "); elsewhere != (len(waits) == 1 && strings.Contains(all, "/out/.7.griffin-upload.json: another run") && strings.Contains(all, "for up to 16ms")) {
			t.Errorf("it is alive elsewhere %t: waits %q", elsewhere, all)
		}
		m.Objects["out/.8.griffin-upload.json"] = foreign
		if c.state(m, true) != "new" {
			t.Errorf("found %v", slices.Sorted(maps.Keys(m.Objects)))
		}
	}
}

// A run whose record has become that of another one ends before anything appears.
func TestLostRecord(t *testing.T) {
	for _, renewed := range []bool{false, true} {
		c := scenarios()[0]
		m := c.start()
		sink := newSink(t, m, "out/7", false)
		if !renewed {
			sink.renew = time.Hour
		}
		first, err := sink.Begin(publish.SinkOptions{Names: []string{"model.bin"}, Last: "config"})
		if err != nil {
			t.Fatal(err)
		}
		w, err := first.Create("config", 1000)
		if err != nil {
			t.Fatal(err)
		}
		_ = m.Delete(t.Context(), "out/.7.griffin-upload.json")
		if err := c.write(newSink(t, m, "out/7", false)); err != nil {
			t.Fatal(err)
		}
		if renewed {
			<-first.(*upload).claim.renewed // it is the first to know
			first.(*upload).claim.stop = nil
		}
		_, err = w.WriteAt(bytes.Repeat([]byte("x"), 1000), 0)
		if err = errors.Join(err, first.Publish()); !errors.As(err, new(*publish.BusyError)) && !errors.Is(err, fs.ErrNotExist) { // the parts were removed with the other run's
			t.Error(err)
		}
		if err := first.Discard(); err != nil {
			t.Error(err)
		}
		if c.state(m, true) != "new" {
			t.Errorf("found %v", slices.Sorted(maps.Keys(m.Objects)))
		}
	}
}

// kill ends a run as the end of its process does.
func kill(u publish.Upload) {
	u.(*upload).claim.end()
	_ = u.(*upload).claim.leave(true)
}

// CleanBelow removes what was left in the directory, and nothing else.
func TestCleanBelow(t *testing.T) {
	c := scenarios()[0]
	m := c.start()
	delete(m.Objects, "out/.8.griffin-upload.json")
	before := maps.Clone(m.Objects)
	u, err := newSink(t, m, "out/7", false).Begin(publish.SinkOptions{Names: []string{"model.bin"}, Last: "config"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Create("model.bin", 1000); err != nil {
		t.Fatal(err)
	}
	kill(u)
	removed, err := newSink(t, m, "out", false).CleanBelow()
	if err != nil || len(removed) != 1 || !maps.Equal(before, m.Objects) || len(m.Unfinished) > 0 {
		t.Errorf("removed %v, %v; left %v, %v", removed, err, slices.Sorted(maps.Keys(m.Objects)), m.Unfinished)
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
		m.Objects["out/.7.griffin-upload.json"] = record
		before := maps.Clone(m.Objects)
		var e *remote.Error
		if _, err := newSink(t, m, "out/7", false).Clean(); !errors.As(err, &e) || e.Reason != remote.Invalid || !maps.Equal(before, m.Objects) {
			t.Errorf("%s: %v", record, err)
		}
	}
}
