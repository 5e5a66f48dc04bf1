package upload

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// upload is a publish.Upload.
type upload struct {
	sink   *sink
	o      publish.SinkOptions
	record *record
	group  *task.Group // sends parts

	mu    sync.Mutex
	err   error
	files map[string]*file   // by name
	small map[string]*memory // by name
	kept  int64              // bytes of small
	open  map[*stream]bool
	again []string // keys of files that were begun more than once
	done  bool

	claim *claim
}

func (s *sink) Begin(o publish.SinkOptions) (publish.Upload, error) {
	var random [idBytes]byte
	_, _ = rand.Read(random[:]) // never fails
	id := hex.EncodeToString(random[:])
	u := &upload{sink: s, o: o, group: &task.Group{}, files: map[string]*file{}, small: map[string]*memory{}, open: map[*stream]bool{},
		record: &record{Griffin: "1", ID: id, Last: s.key(o.Last), Scratch: s.scratch(id)}}
	u.group.SetLimit(inFlight)
	for _, name := range o.Names {
		u.record.Keys = append(u.record.Keys, s.key(name))
	}
	if o.Replace {
		old, err := s.Contents()
		if err != nil {
			return nil, err
		}
		for _, name := range old {
			if key := s.key(name); key != u.record.Last && !slices.Contains(u.record.Keys, key) {
				u.record.Keys = append(u.record.Keys, key)
			}
		}
	}
	for _, name := range slices.Concat(o.Names, o.Hidden, []string{o.Last}) {
		u.record.Sent = append(u.record.Sent, u.sentKey(name))
	}
	var err error
	if u.claim, err = s.claim(u.record, u.fail); err != nil {
		return nil, err
	}
	return u, nil
}

// text returns the record as it is stored.
func (r *record) text() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }

func (u *upload) Memory(writers int) int64 { return int64(2*writers+1+inFlight) * u.sink.part }

// start sends a part while the caller goes on. It waits while too many are being sent.
func (u *upload) start(send func() error) { u.group.Go(send) }

// fail makes all further writing fail.
func (u *upload) fail(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = err
	}
}

func (u *upload) failed() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = u.sink.pool.Context().Err()
	}
	return u.err
}

// sentKey returns the key under which a file is sent: its own, or a hidden one if there is a preview or it will have another
// name.
func (u *upload) sentKey(name string) string {
	if slices.Contains(u.o.Hidden, name) {
		return u.record.Scratch + "hidden/" + name
	}
	return u.storedKey(name)
}

// storedKey returns the key under which a file is before it appears.
func (u *upload) storedKey(name string) string {
	if u.o.Preview {
		return path.Join(u.record.Scratch, cmp.Or(name, path.Base(u.sink.at)))
	}
	return u.sink.key(name)
}

func (u *upload) Create(name string, size int64) (io.WriterAt, error) {
	if m := u.keep(name, size); m != nil {
		return m, nil
	}
	return u.begin(name, size)
}

// keep returns a small file that is kept in memory until it appears, nil if it is too large.
func (u *upload) keep(name string, size int64) *memory {
	u.mu.Lock()
	defer u.mu.Unlock()
	if size > u.sink.small || size > sentAlone && u.kept+size > mostKept {
		return nil
	}
	m := &memory{content: make([]byte, size)}
	u.small[name] = m
	u.kept += size
	return m
}

// begin begins a file that is sent in parts.
func (u *upload) begin(name string, size int64) (*file, error) {
	f := newFile(u, u.sentKey(name), size)
	tries := 0
	err := u.sink.retry(f.key, func(ctx context.Context) (err error) {
		tries++
		f.id, err = u.sink.store.Begin(ctx, f.key, u.record.Scratch+"parts/"+name)
		return err
	})
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.files[name] = f
	if tries > 1 {
		u.again = append(u.again, f.key)
	}
	return f, nil
}

// memory is a small file.
type memory struct {
	mu      sync.Mutex
	content []byte
	gotten  int
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(m.content)) {
		return 0, fmt.Errorf("%d bytes at %d of a file of %d", len(p), off, len(m.content))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gotten += len(p)
	return copy(m.content[off:], p), nil
}

func (u *upload) Wait() error {
	err := u.group.Wait()
	if err == nil {
		err = u.failed()
	}
	if err != nil {
		return err
	}
	for _, f := range u.files {
		if err := f.check(); err != nil {
			return err
		}
	}
	for name, m := range u.small {
		if m.gotten != len(m.content) {
			return fmt.Errorf("%d of %d bytes of %s were written", m.gotten, len(m.content), u.sink.key(name))
		}
	}
	return nil
}

func (u *upload) put(key string, content []byte) error {
	s := u.sink
	return s.pool.RetryFor(s.store.Path(key), sendLimit, func(ctx context.Context) error { return s.store.Put(ctx, key, content) })
}

func (u *upload) Preview() (fs.FS, string, error) {
	var store []func() error
	for name, f := range u.files {
		store = append(store, func() error {
			key := u.storedKey(name)
			err := f.copyTo(key)
			f.key = key
			return err
		})
	}
	for name, m := range u.small {
		store = append(store, func() error { return u.put(u.storedKey(name), m.content) })
	}
	if err := atOnce(store); err != nil {
		return nil, "", err
	}
	at := strings.TrimSuffix(u.record.Scratch, "/")
	if u.sink.single {
		at = path.Join(at, path.Base(u.sink.at))
	}
	return u.sink.store.Source(at)
}

func (u *upload) Publish() error {
	if err := u.Wait(); err != nil {
		return err
	}
	s := u.sink
	err := u.claim.update(func(r *record) {
		r.Publishing = true
		for _, name := range u.names() {
			if key := s.key(name); !slices.Contains(r.Keys, key) { // of a file that was renamed
				r.Keys = append(r.Keys, key)
			}
		}
	})
	if err != nil {
		return err
	}
	if u.o.Replace {
		if err := s.delete(u.record.Last); err != nil {
			return err
		}
		if err := s.delete(u.record.Keys...); err != nil {
			return err
		}
	}
	var appear []func() error
	for _, name := range u.names() {
		appear = append(appear, func() error { return u.appear(name) })
	}
	if err := atOnce(appear); err != nil {
		return err
	}
	if err := u.appear(u.o.Last); err != nil {
		return err
	}
	u.done = true
	u.claim.end()
	u.record.Sent = u.again // no others are unfinished
	_, err = s.undo(u.record)
	err = errors.Join(err, u.claim.leave(err != nil))
	if err != nil {
		return &publish.PublishedError{Path: s.store.Path(s.at), Err: err}
	}
	return nil
}

// names returns the names of all files but the last, sorted.
func (u *upload) names() []string {
	var names []string
	for name := range u.files {
		names = append(names, name)
	}
	for name := range u.small {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.DeleteFunc(names, func(name string) bool { return name == u.o.Last })
}

// appear makes a file appear at the destination.
func (u *upload) appear(name string) error {
	s := u.sink
	key := s.key(name)
	if m := u.small[name]; m != nil {
		return u.put(key, m.content)
	}
	f := u.files[name]
	if f == nil {
		return fmt.Errorf("%s was not written", key)
	}
	return f.copyTo(key)
}

func (u *upload) Discard() error {
	if u.done {
		return nil
	}
	u.done = true
	u.fail(errDiscarded)
	u.claim.end()
	_ = u.group.Wait() // reported by the writers
	var errs []error
	for _, f := range u.files {
		errs = append(errs, f.release())
	}
	for open := range u.open {
		errs = append(errs, open.release())
	}
	detached, cancel := remote.Detach(u.sink.pool, cleanLimit) // also after an interruption
	defer cancel()
	s := *u.sink
	s.pool = detached
	var aborts []func() error
	for _, f := range u.files {
		aborts = append(aborts, func() error {
			return s.retry(f.key, func(ctx context.Context) error { return s.store.Abort(ctx, f.key, f.id) })
		})
	}
	errs = append(errs, atOnce(aborts))
	r, err := s.readRecord()
	switch {
	case err != nil:
	case r != nil && r.ID == u.record.ID:
		_, err = s.undo(r)
	default: // another run has its record there
		var own []string
		if own, err = s.list(u.record.Scratch); err == nil {
			err = s.delete(own...)
		}
	}
	return errors.Join(append(errs, err, u.claim.leave(err != nil))...)
}

var errDiscarded = errors.New("the upload was discarded")
