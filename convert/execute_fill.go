package convert

import (
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// target is a Dest with its place, while it is being filled: a range of a file, or a sink.
type target struct {
	*Dest
	index  int             // of the Dest
	out    *storage.Output // nil for a sink
	offset int64           // bytes from the start of the file
	bytes  int64
	sink   io.WriteCloser // nil until the first bytes come

	moves      atomic.Int32   // not done yet
	writes     sync.WaitGroup // handed to the writers, not done yet
	overflowed atomic.Int64
	inexact    atomic.Int64

	mu     sync.Mutex
	hash   hash.Hash
	sum    bool // whether crc is computed
	crc    uint32
	hashed int64 // bytes
}

// lost counts elements that are not what they were.
func (t *target) lost(overflowed, inexact int64) {
	t.overflowed.Add(overflowed)
	t.inexact.Add(inexact)
}

// feed hashes bytes that belong at offset at of the target, if all before them are hashed. What is
// filled out of order is read back and hashed by finish.
func (t *target) feed(at int64, p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at == t.hashed {
		t.hash.Write(p)
		if t.sum {
			t.crc = crc32.Update(t.crc, crc32.IEEETable, p)
		}
		t.hashed += int64(len(p))
	}
}

// finish completes the hash of a target that is filled, and the sink.
func (e *engine) finish(t *target, scratch []byte) error {
	if t.out == nil {
		if err := e.closeSink(t); err != nil {
			return err
		}
	} else if t.hashed < t.bytes {
		t.writes.Wait()
		for t.hashed < t.bytes {
			n := min(int64(len(scratch)), t.bytes-t.hashed)
			if _, err := t.out.ReadAt(scratch[:n], t.offset+t.hashed); err != nil {
				return err
			}
			t.feed(t.hashed, scratch[:n])
		}
	}
	e.written[t.index] = Written{Digest: tensor.Sum(t.hash.Sum(nil)), CRC32: t.crc, Overflowed: t.overflowed.Load(), Inexact: t.inexact.Load()}
	return nil
}

// openSink opens the target's sink, once.
func (e *engine) openSink(t *target) (err error) {
	if t.sink == nil {
		t.sink, err = e.sinks.Sink(t.index)
	}
	return err
}

func (e *engine) closeSink(t *target) error {
	if err := e.openSink(t); err != nil { // a tensor without elements
		return err
	}
	if t.hashed != t.bytes {
		return fmt.Errorf("%s was not filled in order", t.Name)
	}
	return t.sink.Close()
}

// panel is a buffer on its way to a file. Its memory and its place in the file are aligned alike.
type panel struct {
	target *target
	buffer *storage.Buffer
	place  int64 // in the file, of the buffer's first byte
	lo, hi int   // what is to be written
}

// filler fills consecutive bytes of a target: bytes are put into space, counted by advance and
// written by the engine's writers, in panels that begin and end at multiples of storage.Align but
// for the first and the last.
type filler struct {
	e  *engine
	t  *target
	at int64 // within the target, of the next byte
	panel
}

func (e *engine) fill(t *target, at int64) *filler { return &filler{e: e, t: t, at: at} }

// space returns room for the next want bytes. That is at most a band or a step, so that a fresh
// panel always has it.
func (f *filler) space(want int64) ([]byte, error) {
	if f.buffer != nil && int64(len(f.buffer.Bytes)-f.hi) >= want {
		return f.buffer.Bytes[f.hi:], nil
	}
	if f.t.out == nil && f.buffer != nil {
		err := f.drain()
		return f.buffer.Bytes, err
	}
	fresh, err := f.e.takeBuffer()
	if err != nil {
		return nil, err
	}
	next := panel{target: f.t, buffer: fresh}
	if f.t.out == nil {
		// A sink has no places.
	} else if f.buffer == nil {
		next.place = (f.t.offset + f.at) &^ (storage.Align - 1)
		next.lo = int(f.t.offset + f.at - next.place)
		next.hi = next.lo
	} else {
		// The last bytes, too few for a write of their own, move on to the next panel. The panel is
		// full but for less than a band, so that the cut lies behind its beginning.
		cut := f.hi &^ (storage.Align - 1)
		next.place = f.place + int64(cut)
		next.hi = copy(fresh.Bytes, f.buffer.Bytes[cut:f.hi])
		f.hi = cut
		f.e.write(f.panel)
	}
	f.panel = next
	return f.buffer.Bytes[f.hi:], nil
}

// advance counts n bytes of space as filled.
func (f *filler) advance(n int) {
	f.t.feed(f.at, f.buffer.Bytes[f.hi:f.hi+n])
	f.hi += n
	f.at += int64(n)
}

// drain gives a sink what the panel holds.
func (f *filler) drain() error {
	if err := f.e.openSink(f.t); err != nil {
		return err
	}
	n, err := f.t.sink.Write(f.buffer.Bytes[:f.hi])
	f.e.count(int64(n))
	f.hi = 0
	return err
}

// flush writes what is left, unless there was an error.
func (f *filler) flush(err error) error {
	if f.buffer == nil {
		return err
	}
	if f.t.out == nil {
		if err == nil {
			err = f.drain()
		}
		f.e.buffers <- f.buffer
	} else {
		f.e.write(f.panel)
	}
	f.buffer = nil
	return err
}

// takeBuffer waits for a panel's memory.
func (e *engine) takeBuffer() (*storage.Buffer, error) {
	select {
	case b := <-e.buffers:
		return b, nil
	case <-e.ctx.Done():
		return nil, e.ctx.Err()
	}
}

// write hands a panel to the writers.
func (e *engine) write(p panel) {
	p.target.writes.Add(1)
	e.panels <- p
}

// writer writes panels until there are no more. After a failure it only returns their memory.
func (e *engine) writer() {
	for p := range e.panels {
		if e.ctx.Err() == nil && p.lo < p.hi {
			if _, err := p.target.out.WriteAt(p.buffer.Bytes[p.lo:p.hi], p.place+int64(p.lo)); err != nil {
				e.fail(err)
			}
			e.count(int64(p.hi - p.lo))
		}
		p.target.writes.Done()
		e.buffers <- p.buffer
	}
}

// skip reads n bytes of r and forgets them.
func skip(r io.Reader, n int64, scratch []byte) error {
	for n > 0 {
		k := min(n, int64(len(scratch)))
		if _, err := io.ReadFull(r, scratch[:k]); err != nil {
			return short(err)
		}
		n -= k
	}
	return nil
}

// readFull fills p from a tensor's stream, which ends early only if the reader is at fault or the
// input broken.
func readFull(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	return short(err)
}

func short(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return tensor.Bad("the elements end early")
	}
	return err
}
