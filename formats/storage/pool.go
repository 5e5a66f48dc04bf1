package storage

import (
	"errors"
	"io"
	"io/fs"
	"sync"
)

// Pool reads many files of a source and keeps only some of them open. It is safe for use by several
// goroutines.
type Pool struct {
	source fs.FS
	most   int

	mu    sync.Mutex
	open  map[string]*pooled
	clock int64 // counts uses
}

// pooled is an open file of a pool.
type pooled struct {
	File
	readers int   // that read it at the moment
	used    int64 // when it was read last
}

// NewPool returns a pool that keeps at most so many files open, and more only while more are read at
// once.
func NewPool(source fs.FS, most int) *Pool {
	return &Pool{source: source, most: most, open: map[string]*pooled{}}
}

// File returns a file of the pool, which is opened when it is read.
func (p *Pool) File(name string) io.ReaderAt { return poolFile{p, name} }

// Path returns what users call a file of the pool.
func (p *Pool) Path(name string) string { return Path(p.source, name) }

type poolFile struct {
	pool *Pool
	name string
}

// ReadAt implements io.ReaderAt.
func (f poolFile) ReadAt(b []byte, off int64) (int, error) {
	file, err := f.pool.acquire(f.name)
	if err != nil {
		return 0, err
	}
	defer f.pool.release(file)
	return file.ReadAt(b, off)
}

func (p *Pool) acquire(name string) (*pooled, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		return nil, &fs.PathError{Op: "read", Path: Path(p.source, name), Err: fs.ErrClosed}
	}
	f := p.open[name]
	if f == nil {
		if err := p.evict(); err != nil {
			return nil, err
		}
		file, _, err := Open(p.source, name)
		if err != nil {
			return nil, err
		}
		f = &pooled{File: file}
		p.open[name] = f
	}
	p.clock++
	f.readers, f.used = f.readers+1, p.clock
	return f, nil
}

// evict closes the file that was not read for longest, if there is no room for another.
func (p *Pool) evict() error {
	if len(p.open) < p.most {
		return nil
	}
	oldest := ""
	for name, f := range p.open {
		if f.readers == 0 && (oldest == "" || f.used < p.open[oldest].used) {
			oldest = name
		}
	}
	if oldest == "" {
		return nil
	}
	f := p.open[oldest]
	delete(p.open, oldest)
	return f.Close()
}

func (p *Pool) release(f *pooled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.readers--
}

// Close closes the files. Nothing can be read afterwards.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, f := range p.open {
		errs = append(errs, f.Close())
	}
	p.open = nil
	return errors.Join(errs...)
}
