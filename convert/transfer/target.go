package transfer

import (
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// target is a Dest while it is being filled: a range of a file, or a sink.
type target struct {
	*moves.Dest
	index  int             // of the Dest
	out    *storage.Output // nil for a sink
	offset int64           // bytes from the start of the file
	bytes  int64
	sink   io.WriteCloser // nil until the first bytes come

	moves      atomic.Int32   // not done yet
	writes     sync.WaitGroup // handed to the writers, not done yet
	overflowed atomic.Int64   // elements
	inexact    atomic.Int64   // elements

	mu       sync.Mutex
	hash     hash.Hash
	needsCRC bool
	crc      uint32
	hashed   int64 // bytes
}

// count adds converted elements that became infinite or inexact.
func (t *target) count(overflowed, inexact int64) {
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
		if t.needsCRC {
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
	e.written[t.index] = tensor.Written{Digest: tensor.Sum(t.hash.Sum(nil)), CRC32: t.crc, Overflowed: t.overflowed.Load(), Inexact: t.inexact.Load()}
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
