package upload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

const (
	partSize = 8 << 20 // bytes; stores take parts of 5 MiB and more
	mostPart = 9000    // of a file; S3 takes 10,000
	inFlight = 4       // parts that are being sent
)

// file is a file that is sent in parts. A part is sent when all its bytes are there.
type file struct {
	u    *upload
	key  string
	size int64
	step int64 // bytes of each part but the last
	id   string

	finished bool // it is an object, under key

	mu     sync.Mutex
	open   map[int]*part
	tags   []string // of the parts that were sent, "" for others
	gotten int64    // bytes
}

// part is a part that lacks bytes.
type part struct {
	buffer  *storage.Buffer
	content []byte // of the buffer
	missing int64  // bytes
}

func newFile(u *upload, key string, size int64) *file {
	f := &file{u: u, key: key, size: size, step: u.sink.part, open: map[int]*part{}}
	for f.step*mostPart < size {
		f.step *= 2
	}
	f.tags = make([]string, (size+f.step-1)/f.step)
	return f
}

// WriteAt implements io.WriterAt. It waits while too many parts are being sent. The error may be that of an earlier part.
func (f *file) WriteAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off+int64(len(p)) > f.size {
		return 0, fmt.Errorf("%d bytes at %d of a file of %d", len(p), off, f.size)
	}
	for n < len(p) {
		number := int((off + int64(n)) / f.step)
		part, err := f.part(number)
		if err != nil {
			return n, err
		}
		k := copy(part.content[off+int64(n)-int64(number)*f.step:], p[n:])
		n += k
		f.mu.Lock()
		part.missing -= int64(k)
		full := part.missing == 0
		if full {
			delete(f.open, number)
		}
		f.gotten += int64(k)
		f.mu.Unlock()
		if full {
			f.u.start(func() error { return f.send(number, part) })
		}
	}
	return n, nil
}

// part returns a part that lacks bytes.
func (f *file) part(number int) (*part, error) {
	if err := f.u.failed(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.open[number]; p != nil {
		return p, nil
	}
	if f.tags[number] != "" {
		return nil, fmt.Errorf("part %d of %s is written twice", number, f.key)
	}
	n := min(f.step, f.size-int64(number)*f.step)
	buffer, err := storage.NewBuffer(int(f.step))
	if err != nil {
		return nil, err
	}
	p := &part{buffer, buffer.Bytes[:n], n}
	f.open[number] = p
	return p, nil
}

// send sends a part that is complete.
func (f *file) send(number int, p *part) error {
	defer p.buffer.Free()
	if err := f.u.failed(); err != nil {
		return err
	}
	s := f.u.sink
	var tag string
	err := s.pool.RetryFor(s.store.Path(f.key), sendLimit, func(ctx context.Context) (err error) {
		tag, err = s.store.SendPart(ctx, f.key, f.id, number, p.content)
		return err
	})
	if err != nil {
		f.u.fail(err)
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tags[number] = tag
	return nil
}

// check fails if bytes are missing.
func (f *file) check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gotten != f.size {
		return fmt.Errorf("%d of %d bytes of %s were written", f.gotten, f.size, f.key)
	}
	return nil
}

// release frees the parts that lack bytes.
func (f *file) release() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, p := range f.open {
		errs = append(errs, p.buffer.Free())
	}
	f.open = nil
	return errors.Join(errs...)
}

// finish makes a file in parts an object, under the key under which it was sent.
func (f *file) finish() error {
	if f.finished {
		return nil
	}
	s := f.u.sink
	err := s.pool.RetryFor(s.store.Path(f.key), sendLimit, func(ctx context.Context) error {
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
	f.finished = err == nil
	return err
}

// copyTo makes a file an object, and copies it to a key.
func (f *file) copyTo(key string) error {
	if err := f.finish(); err != nil || f.key == key {
		return err
	}
	s := f.u.sink
	return s.pool.RetryFor(s.store.Path(key), sendLimit, func(ctx context.Context) error { return s.store.Copy(ctx, key, f.key) })
}
