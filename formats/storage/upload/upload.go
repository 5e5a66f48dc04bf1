// Package upload writes files to an object store, in parts of which several are on their way, without a copy on the disk.
// A destination appears complete or not at all:
//
//   - Files are sent under names that do not appear, or not yet: as unfinished multipart uploads, or below a hidden
//     directory beside the destination.
//   - When all is sent, they appear one after the other. The file that makes the destination usable comes last. If a
//     destination is replaced, that file is removed first, and the others with it.
//   - A record beside the destination, .NAME.griffin-upload.json, lists all of these. It is written first and removed
//     last. If a run was killed, the next one finds it and removes what was left: everything if the last file is not
//     there, what does not belong to the destination otherwise.
//
// Two runs that write to one destination at the same time do not mix: the one that finds that the record is not its own
// ends with an error before anything appears.
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
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// Store is an object store. Its methods make one attempt, and return an *remote.Error for what the store answers; an error
// of reason remote.Missing if there is no such object.
type Store interface {
	Path(key string) string // the address, without the query
	List(ctx context.Context, prefix string) (keys []string, err error)
	Get(ctx context.Context, key string) ([]byte, error) // small objects
	Put(ctx context.Context, key string, content []byte) error
	Copy(ctx context.Context, to, from string) error
	Delete(ctx context.Context, key string) error // no error if there is none

	// Begin begins an object that is sent in parts. What is needed meanwhile may be put below the prefix scratch. The
	// object appears with Finish. Abort removes its parts instead; with no id it removes the unfinished parts of a key that
	// are not below scratch.
	Begin(ctx context.Context, key, scratch string) (id string, err error)
	SendPart(ctx context.Context, key, id string, number int, content []byte) (tag string, err error)
	Finish(ctx context.Context, key, id string, tags []string) error
	Abort(ctx context.Context, key, id string) error

	// Source opens an object or a directory as it is now.
	Source(key string) (fs.FS, string, error)
}

const (
	sendLimit   = 5 * time.Minute // for a request that sends or copies content
	cleanLimit  = 30 * time.Second
	smallFile   = 4 << 20 // files up to here are sent in one request when they appear
	idBytes     = 8
	recordMark  = ".griffin-upload.json"
	scratchMark = ".griffin-"
)

// sink is a storage.Sink.
type sink struct {
	pool   *remote.Pool
	store  Store
	at     string // key of the destination
	single bool

	part, small int64 // partSize and smallFile, except in tests
}

// New returns the destination at a key of a store: a file if single is set, otherwise a directory. Requests end with the
// pool's context.
func New(pool *remote.Pool, store Store, key string, single bool) storage.Sink {
	return &sink{pool, store, strings.Trim(key, "/"), single, partSize, smallFile}
}

// key returns the key of a file of the destination.
func (s *sink) key(name string) string {
	if s.single {
		return s.at + name
	}
	return path.Join(s.at, name)
}

// beside returns the key of something hidden beside the destination.
func (s *sink) beside(mark string) string {
	return path.Join(path.Dir(s.at), "."+path.Base("/"+s.at)+mark)
}

func (s *sink) recordKey() string { return s.beside(recordMark) }

// record says what a run has begun to write.
type record struct {
	Griffin string   `json:"griffin_upload"` // version of the record
	ID      string   `json:"id"`             // of the run
	Keys    []string `json:"keys"`           // that it writes or replaces, without Last
	Last    string   `json:"last"`
	Sent    []string `json:"sent"`    // keys under which files are sent
	Scratch string   `json:"scratch"` // prefix

	// Publishing is set before the first change of Keys and Last.
	Publishing bool `json:"publishing"`
}

// retry makes attempts at a request about a key.
func (s *sink) retry(key string, do func(ctx context.Context) error) error {
	return s.pool.Retry(s.store.Path(key), do)
}

// readRecord returns the record of a run that has not ended, nil if there is none.
func (s *sink) readRecord() (*record, error) {
	var text []byte
	err := s.retry(s.recordKey(), func(ctx context.Context) (err error) {
		text, err = s.store.Get(ctx, s.recordKey())
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil || !s.isValid(&r) {
		return nil, remote.Errorf(s.store.Path(s.recordKey()), remote.Invalid, "is not a record of an upload to this destination")
	}
	return &r, nil
}

// isValid reports whether a record names nothing but the destination and what is hidden beside it.
func (s *sink) isValid(r *record) bool {
	id, err := hex.DecodeString(r.ID)
	if err != nil || len(id) != idBytes || r.Griffin != "1" || r.Scratch != s.scratch(r.ID) || !s.owns(r.Last) {
		return false
	}
	foreign := func(key string) bool { return !s.owns(key) }
	return !slices.ContainsFunc(r.Keys, foreign) && !slices.ContainsFunc(r.Sent, func(key string) bool {
		return foreign(key) && !strings.HasPrefix(key, r.Scratch)
	})
}

// scratch returns the prefix of what a run hides beside the destination.
func (s *sink) scratch(id string) string { return s.beside(scratchMark+id) + "/" }

// owns reports whether a key is of the destination, a file or a directory.
func (s *sink) owns(key string) bool {
	return s.at == "" || key == s.at || strings.HasPrefix(key, s.at+"/") || strings.HasPrefix(key, s.at+".")
}

func (s *sink) Interrupted() (bool, error) {
	r, err := s.readRecord()
	return r != nil, err
}

func (s *sink) list(prefix string) (keys []string, err error) {
	err = s.retry(prefix, func(ctx context.Context) (err error) {
		keys, err = s.store.List(ctx, prefix)
		return err
	})
	return keys, err
}

func (s *sink) Contents() ([]string, error) {
	prefix := s.at + "/"
	if s.single || s.at == "" {
		prefix = s.at
	}
	keys, err := s.list(prefix)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, key := range keys {
		name := strings.TrimPrefix(key, prefix)
		if s.single && key != s.at {
			continue // another file whose name begins in the same way
		}
		if s.at == "" && (strings.HasPrefix(key, s.beside(scratchMark)) || key == s.recordKey()) {
			continue
		}
		names = append(names, name)
	}
	return names, nil
}

func (s *sink) Source() (fs.FS, string, error) { return s.store.Source(s.at) }

// delete removes objects. Objects that do not exist are no error.
func (s *sink) delete(keys ...string) error {
	for _, key := range keys {
		if err := s.retry(key, func(ctx context.Context) error { return s.store.Delete(ctx, key) }); err != nil {
			return err
		}
	}
	return nil
}

func (s *sink) Clean() ([]string, error) {
	r, err := s.readRecord()
	if r == nil || err != nil {
		return nil, err
	}
	return s.undo(r)
}

func (s *sink) CleanBelow() (removed []string, err error) {
	prefix := strings.TrimPrefix(s.at+"/", "/")
	keys, err := s.list(prefix) // MinIO refuses a prefix that ends in "/."
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		name, ok := strings.CutSuffix(strings.TrimPrefix(key, prefix+"."), recordMark)
		if !ok || name == "" || strings.Contains(name, "/") {
			continue
		}
		below := *s
		below.at = prefix + name
		some, err := below.Clean()
		removed = append(removed, some...)
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// undo removes what a run has left, its record last.
func (s *sink) undo(r *record) (removed []string, err error) {
	there, err := s.list(r.Last)
	if err != nil {
		return nil, err
	}
	scratch, err := s.list(r.Scratch)
	if err != nil {
		return nil, err
	}
	doomed := scratch
	if r.Publishing && !slices.Contains(there, r.Last) {
		all, err := s.list(s.at)
		if err != nil {
			return nil, err
		}
		for _, key := range all {
			if slices.Contains(r.Keys, key) {
				doomed = append(doomed, key)
			}
		}
	}
	for _, key := range r.Sent {
		if err := s.retry(key, func(ctx context.Context) error { return s.store.Abort(ctx, key, "") }); err != nil {
			return nil, err
		}
	}
	if err := s.delete(append(doomed, s.recordKey())...); err != nil {
		return nil, err
	}
	for _, key := range append(doomed, s.recordKey()) {
		removed = append(removed, s.store.Path(key))
	}
	return removed, nil
}

// upload is a storage.Upload.
type upload struct {
	sink   *sink
	o      storage.SinkOptions
	record *record
	group  *task.Group // sends parts

	mu    sync.Mutex
	err   error
	files map[string]*file   // by name
	small map[string]*memory // by name
	done  bool
}

func (s *sink) Begin(o storage.SinkOptions) (storage.Upload, error) {
	var random [idBytes]byte
	_, _ = rand.Read(random[:]) // never fails
	id := hex.EncodeToString(random[:])
	u := &upload{sink: s, o: o, group: &task.Group{}, files: map[string]*file{}, small: map[string]*memory{},
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
	for _, name := range append(slices.Clone(o.Names), o.Last) {
		u.record.Sent = append(u.record.Sent, u.sentKey(name))
	}
	return u, u.writeRecord()
}

func (u *upload) writeRecord() error {
	text, err := json.MarshalIndent(u.record, "", "  ")
	if err != nil {
		return err
	}
	return u.put(u.sink.recordKey(), text)
}

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

// sentKey returns the key under which a file is sent: its own, or if there is a preview a hidden one.
func (u *upload) sentKey(name string) string {
	if u.o.Preview {
		return path.Join(u.record.Scratch, cmp.Or(name, path.Base(u.sink.at)))
	}
	return u.sink.key(name)
}

func (u *upload) Create(name string, size int64) (io.WriterAt, error) {
	if size <= u.sink.small {
		m := &memory{content: make([]byte, size)}
		u.mu.Lock()
		defer u.mu.Unlock()
		u.small[name] = m
		return m, nil
	}
	f := newFile(u, u.sentKey(name), size)
	err := u.sink.retry(f.key, func(ctx context.Context) (err error) {
		f.id, err = u.sink.store.Begin(ctx, f.key, u.record.Scratch+"parts/"+name)
		return err
	})
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.files[name] = f
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

// finish makes a file in parts appear under the key under which it was sent.
func (u *upload) finish(f *file) error {
	s := u.sink
	return s.pool.RetryFor(s.store.Path(f.key), sendLimit, func(ctx context.Context) error {
		err := s.store.Finish(ctx, f.key, f.id, f.tags)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// There is no such upload: it was aborted, or an earlier attempt succeeded although its answer was lost.
		keys, listing := s.store.List(ctx, f.key)
		if listing != nil || slices.Contains(keys, f.key) {
			return listing
		}
		return err
	})
}

func (u *upload) put(key string, content []byte) error {
	s := u.sink
	return s.pool.RetryFor(s.store.Path(key), sendLimit, func(ctx context.Context) error { return s.store.Put(ctx, key, content) })
}

func (u *upload) Preview() (fs.FS, string, error) {
	for _, f := range u.files {
		if err := u.finish(f); err != nil {
			return nil, "", err
		}
	}
	for name, m := range u.small {
		if err := u.put(u.sentKey(name), m.content); err != nil {
			return nil, "", err
		}
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
	r, err := s.readRecord()
	if err != nil {
		return err
	}
	if r == nil || r.ID != u.record.ID {
		u.done = true // what is left belongs to the other run
		return remote.Errorf(s.store.Path(s.at), remote.Changed, "another run has begun to write to it")
	}
	u.record.Publishing = true
	if err := u.writeRecord(); err != nil {
		return err
	}
	if u.o.Replace {
		if err := s.delete(append([]string{u.record.Last}, u.record.Keys...)...); err != nil {
			return err
		}
	}
	for _, name := range append(u.names(), u.o.Last) {
		if err := u.appear(name); err != nil {
			return err
		}
	}
	u.done = true
	if _, err := s.undo(u.record); err != nil {
		return &storage.PublishedError{Path: s.store.Path(s.at), Err: err}
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
	switch {
	case f == nil:
		return fmt.Errorf("%s was not written", key)
	case f.key == key:
		return u.finish(f)
	}
	return s.pool.RetryFor(s.store.Path(key), sendLimit, func(ctx context.Context) error { return s.store.Copy(ctx, key, f.key) })
}

func (u *upload) Discard() error {
	if u.done {
		return nil
	}
	u.done = true
	u.fail(errDiscarded)
	_ = u.group.Wait() // reported by the writers
	var errs []error
	for _, f := range u.files {
		errs = append(errs, f.release())
	}
	detached, cancel := remote.Detach(u.sink.pool, cleanLimit) // also after an interruption
	defer cancel()
	s := *u.sink
	s.pool = detached
	for _, f := range u.files {
		errs = append(errs, s.retry(f.key, func(ctx context.Context) error { return s.store.Abort(ctx, f.key, f.id) }))
	}
	r, err := s.readRecord()
	if err == nil && r != nil && r.ID == u.record.ID {
		_, err = s.undo(r)
	}
	return errors.Join(append(errs, err)...)
}

var errDiscarded = errors.New("the upload was discarded")
