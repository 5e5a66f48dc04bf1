package transfer

import (
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// target is a Dest while it is being filled: a range of a file, or a sink.
type target struct {
	*moves.Dest
	index  int                 // of the Dest
	file   *publish.OutputFile // nil for a sink
	out    *publish.Output     // of the file
	offset int64               // bytes from the start of the file
	bytes  int64
	sink   io.WriteCloser // nil until the first bytes come

	moves      atomic.Int32   // not done yet
	writes     sync.WaitGroup // handed to the writers, not done yet
	overflowed atomic.Int64   // elements
	inexact    atomic.Int64   // elements

	algorithms digest.Algorithms

	mu       sync.Mutex
	hash     *digest.Hash // nil until the first bytes come, and when the target is finished: there may be very many targets
	needsCRC bool
	crc      uint32
	inOrder  int64 // bytes from the first one on that came in order; crc is of them
}

// count adds converted elements that became infinite or inexact.
func (t *target) count(overflowed, inexact int64) {
	t.overflowed.Add(overflowed)
	t.inexact.Add(inexact)
}

// feed hashes bytes that belong at offset at of the target, for its digest and that of its file. BLAKE3 takes them in any order. For SHA-256
// and CRC-32, what is filled out of order is read back by finish.
func (t *target) feed(at int64, p []byte) {
	t.hashed().Feed(at, p)
	if t.file != nil {
		t.file.Feed(t.offset+at, p)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if at == t.inOrder {
		if t.needsCRC {
			t.crc = crc32.Update(t.crc, crc32.IEEETable, p)
		}
		t.inOrder += int64(len(p))
	}
}

// hashed returns the hash of what has come.
func (t *target) hashed() *digest.Hash {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hash == nil {
		t.hash = digest.New(t.algorithms)
	}
	return t.hash
}

// missing returns the first byte that has to be read back, or the size of the target.
func (t *target) missing() int64 {
	n := t.hashed().Missing(t.bytes)
	if t.needsCRC {
		n = min(n, t.inOrder)
	}
	return n
}

// finish completes the hash of a target that is filled, and the sink.
func (e *engine) finish(t *target, scratch []byte) error {
	if t.out == nil {
		if err := e.closeSink(t); err != nil {
			return err
		}
	} else if t.missing() < t.bytes {
		t.writes.Wait()
		for at := t.missing(); at < t.bytes; at = t.missing() {
			n := min(int64(len(scratch)), t.bytes-at)
			if _, err := t.out.ReadAt(scratch[:n], t.offset+at); err != nil {
				return err
			}
			t.feed(at, scratch[:n])
		}
	}
	e.written[t.index] = tensor.Written{Digest: t.hashed().Sum(t.bytes), CRC32: t.crc, Overflowed: t.overflowed.Load(), Inexact: t.inexact.Load()}
	t.hash = nil
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
	if t.inOrder != t.bytes {
		return fmt.Errorf("%s was not filled in order", t.Name)
	}
	return t.sink.Close()
}
