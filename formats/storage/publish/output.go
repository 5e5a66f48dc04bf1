package publish

import (
	"errors"
	"sync/atomic"
	"unsafe"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// minDirect is the size in bytes of the smallest write that bypasses the page cache.
const minDirect = 64 << 10

// Output writes a file of known size. It is safe for concurrent use. If the system supports it, large writes from aligned
// memory to aligned offsets bypass the page cache: a conversion writes gigabytes that it does not read again soon, and
// through the page cache they cost a copy, evict the pages of other programs, and make writers of one file wait for each
// other. For other writes, writeback begins at once.
type Output struct {
	file   *system.File
	direct *system.File // the same file, opened to bypass the page cache; nil if that failed
	broken atomic.Bool
}

// NewOutput prepares a file that is open for writing for size bytes. If the file system supports it, it reserves the
// space, so that a full disk is detected early. It does not take over the file, and does not feed its digest.
func NewOutput(to *OutputFile, size int64) (*Output, error) {
	f := to.file
	if err := reserve(f, size); err != nil {
		return nil, err
	}
	o := &Output{file: f}
	if size >= minDirect {
		o.direct = openDirect(f)
	}
	return o, nil
}

// WriteAt implements io.WriterAt. The part of p whose address and offset in the file are both multiples of storage.Align bypasses
// the page cache.
func (o *Output) WriteAt(p []byte, off int64) (int, error) {
	if o.direct == nil || len(p) < minDirect || o.broken.Load() {
		return o.buffered(p, off)
	}
	head := int(-off & (storage.Align - 1))
	body := (len(p) - head) &^ (storage.Align - 1)
	if body < minDirect || uintptr(unsafe.Pointer(&p[head]))%storage.Align != 0 {
		return o.buffered(p, off)
	}
	if _, err := o.direct.WriteAt(p[head:head+body], off+int64(head)); err != nil {
		// The file system does not support such writes after all, or the disk fails, in which case this fails too.
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

// ReadAt implements io.ReaderAt for the bytes that were written.
func (o *Output) ReadAt(p []byte, off int64) (int, error) { return o.file.ReadAt(p, off) }

// Close syncs the file. It does not close the file that was passed to NewOutput.
func (o *Output) Close() error {
	return errors.Join(o.closeDirect(), o.file.Sync())
}

func (o *Output) closeDirect() error {
	if o.direct == nil {
		return nil
	}
	return o.direct.Close()
}
