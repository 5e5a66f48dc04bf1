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
// Two runs that write to one destination at the same time do not mix. The record is also a lock: its run renews it while it
// is alive, and another run is refused meanwhile. A run that finds that the record is not its own any more ends with an error
// before anything appears.
package upload

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
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

	// PutNew is Put for an object that does not exist. If it does, the error has the reason remote.Changed. A store that cannot
	// know replaces it.
	PutNew(ctx context.Context, key string, content []byte) error

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
	smallFile   = 4 << 20  // files up to here are sent in one request when they appear
	mostKept    = 12 << 20 // bytes of them together; what exceeds it is sent in parts
	sentAlone   = 4 << 10  // bytes up to which a file does not count
	atATime     = 16       // requests that do not send parts
	idBytes     = 8
	recordMark  = ".griffin-upload.json"
	scratchMark = ".griffin-"
)

// sink is a publish.Sink.
type sink struct {
	pool   *remote.Pool
	store  Store
	at     string // key of the destination
	single bool

	part, small int64         // partSize and smallFile, except in tests
	renew       time.Duration // renewAfter, except in tests
}

// New returns the destination at a key of a store: a file if single is set, otherwise a directory. Requests end with the
// pool's context.
func New(pool *remote.Pool, store Store, key string, single bool) publish.Sink {
	return &sink{pool, store, strings.Trim(key, "/"), single, partSize, smallFile, renewAfter}
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

	// Renewed is counted up while the run is alive.
	Renewed int `json:"renewed"`
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

// atOnce calls functions, several at a time, and returns the first error. After an error it calls no more.
func atOnce(all []func() error) error {
	group, ctx := task.WithContext(context.Background())
	group.SetLimit(atATime)
	for _, do := range all {
		group.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			return do()
		})
	}
	return group.Wait()
}

// delete removes objects. Objects that do not exist are no error.
func (s *sink) delete(keys ...string) error {
	var all []func() error
	for _, key := range keys {
		all = append(all, func() error {
			return s.retry(key, func(ctx context.Context) error { return s.store.Delete(ctx, key) })
		})
	}
	return atOnce(all)
}

func (s *sink) Clean() ([]string, error) {
	r, err := s.readRecord()
	if r == nil || err != nil {
		return nil, err
	}
	if err := s.checkEnded(r); err != nil {
		return nil, err
	}
	removed, err := s.undo(r)
	if err != nil {
		return nil, err
	}
	return removed, publish.Forget(r.ID)
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
		if err != nil && !errors.As(err, new(*publish.BusyError)) {
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
	var aborts []func() error
	for _, key := range r.Sent {
		aborts = append(aborts, func() error {
			return s.retry(key, func(ctx context.Context) error { return s.store.Abort(ctx, key, "") })
		})
	}
	if err := atOnce(aborts); err != nil {
		return nil, err
	}
	if err := s.delete(doomed...); err != nil {
		return nil, err
	}
	if err := s.delete(s.recordKey()); err != nil {
		return nil, err
	}
	for _, key := range append(doomed, s.recordKey()) {
		removed = append(removed, s.store.Path(key))
	}
	return removed, nil
}
