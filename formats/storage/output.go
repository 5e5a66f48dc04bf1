package storage

import (
	"errors"
	"os"
	"sync/atomic"
	"unsafe"
)

// Align is the alignment, in bytes of the file and of memory, of writes that go past the page
// cache.
const Align = 4096

// minDirect is the smallest aligned piece worth a write of its own past the page cache.
const minDirect = 64 << 10

// Output fills a file whose size is known, from several goroutines at once. Large writes from
// memory that is aligned as the file is go straight to the disk where the system can do that: a
// conversion writes more than it will read again soon, and pushing gigabytes through the page
// cache costs a copy, evicts what others use, and makes writers to one file wait for each other.
// Everything else goes the usual way, its writeback begun at once.
type Output struct {
	file   *os.File
	direct *os.File // the same file, opened to bypass the page cache; nil where that fails
	broken atomic.Bool
}

// NewOutput prepares a file, open for writing, to receive size bytes. It reserves the space where
// the file system can, so that a full disk is noticed before the work. The caller keeps f.
func NewOutput(f *os.File, size int64) (*Output, error) {
	if err := reserve(f, size); err != nil {
		return nil, err
	}
	o := &Output{file: f}
	if size >= minDirect {
		o.direct = openDirect(f)
	}
	return o, nil
}

// WriteAt implements io.WriterAt. It writes past the page cache the part of p whose place in
// memory and in the file are both multiples of Align.
func (o *Output) WriteAt(p []byte, off int64) (int, error) {
	if o.direct == nil || len(p) < minDirect || o.broken.Load() {
		return o.buffered(p, off)
	}
	head := int(-off & (Align - 1))
	body := (len(p) - head) &^ (Align - 1)
	if body < minDirect || uintptr(unsafe.Pointer(&p[head]))%Align != 0 {
		return o.buffered(p, off)
	}
	if _, err := o.direct.WriteAt(p[head:head+body], off+int64(head)); err != nil {
		// The file system refuses such writes after all, or the disk fails, which the usual way says too.
		o.broken.Store(true)
		return o.buffered(p, off)
	}
	if _, err := o.file.WriteAt(p[:head], off); err != nil {
		return 0, err
	}
	if _, err := o.file.WriteAt(p[head+body:], off+int64(head+body)); err != nil {
		return head + body, err
	}
	return len(p), nil
}

func (o *Output) buffered(p []byte, off int64) (int, error) {
	n, err := o.file.WriteAt(p, off)
	if err == nil && n >= minDirect {
		beginWriteback(o.file, off, int64(n))
	}
	return n, err
}

// ReadAt reads back what was written.
func (o *Output) ReadAt(p []byte, off int64) (int, error) { return o.file.ReadAt(p, off) }

// Close makes the file durable. It does not close the file that NewOutput was given.
func (o *Output) Close() error {
	return errors.Join(o.closeDirect(), o.file.Sync())
}

func (o *Output) closeDirect() error {
	if o.direct == nil {
		return nil
	}
	return o.direct.Close()
}
