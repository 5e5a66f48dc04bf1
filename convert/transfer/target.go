package transfer

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sync"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// target is a Dest that is to be filled: a range of a file, or a sink. There may be very many.
type target struct {
	*moves.Dest
	index   int32                   // of the Dest
	moves   atomic.Int32            // not done yet
	out     *output                 // nil for a sink
	offset  int64                   // bytes from the start of the file
	filling atomic.Pointer[filling] // nil until the first bytes come, and when the target is finished
}

// output is a file that targets lie in.
type output struct {
	*publish.Output
	file *publish.OutputFile
}

// size returns the bytes of the target.
func (t *target) size() int64 {
	_, bytes, _ := tensor.SizeOf(t.DType, t.Shape) // openTargets has checked it
	return bytes
}

// filling is the state of a target while it is being filled.
type filling struct {
	*target
	sink    io.WriteCloser // nil until the first bytes come
	writes  sync.WaitGroup // handed to the writers, not done yet
	inexact atomic.Int64   // elements
	hash    *digest.Hash

	mu         sync.Mutex
	overflowed int64   // elements
	largest    float64 // magnitude of an element that overflowed
	needsCRC   bool
	crc        uint32
	inOrder    int64 // bytes from the first one on that came in order; crc is of them
}

// filling returns the state of a target, from the first call to finish.
func (e *engine) filling(t *target) *filling {
	if f := t.filling.Load(); f != nil {
		return f
	}
	t.filling.CompareAndSwap(nil, &filling{target: t, hash: digest.New(e.algorithms), needsCRC: e.needsCRC})
	return t.filling.Load()
}

// convert converts elements of a move that fills the target, and counts those that became infinite or inexact.
func (f *filling) convert(m *compiledMove, dst, src []byte) {
	overflowed, inexact := m.cast(dst, src)
	f.inexact.Add(inexact)
	if overflowed == 0 {
		return
	}
	largest := largestFinite(m.Source.DType, src) / cmp.Or(m.Divide, 1) // those that do not overflow are smaller
	f.mu.Lock()
	defer f.mu.Unlock()
	f.overflowed += overflowed
	f.largest = max(f.largest, largest)
}

// largestFinite returns the largest magnitude of the finite elements of a dtype in p.
func largestFinite(d tensor.DType, p []byte) float64 {
	largest := 0.0
	values, x := tensor.ValuesOf(d), []float64{0}
	for ; len(p) > 0; p = p[d.Size():] {
		values.Decode(x, p[:d.Size()])
		if size := math.Abs(x[0]); size > largest && !math.IsInf(size, 0) {
			largest = size
		}
	}
	return largest
}

// feed hashes bytes that belong at offset at of the target. BLAKE3 takes them in any order. For SHA-256 and CRC-32, what is filled
// out of order is read back by finish.
func (f *filling) feed(at int64, p []byte) {
	f.hash.Feed(at, p)
	f.mu.Lock()
	defer f.mu.Unlock()
	if at == f.inOrder {
		if f.needsCRC {
			f.crc = crc32.Update(f.crc, crc32.IEEETable, p)
		}
		f.inOrder += int64(len(p))
	}
}

// missing returns the first byte of the target that has to be read back, or its size.
func (f *filling) missing(size int64) int64 {
	n := f.hash.Missing(size)
	if f.needsCRC {
		n = min(n, f.inOrder)
	}
	return n
}

// finish completes the hash of a target that is filled, and the sink.
func (e *engine) finish(t *target, scratch []byte) error {
	f, size := e.filling(t), t.size()
	if t.out == nil {
		if err := e.closeSink(f); err != nil {
			return err
		}
	} else if f.missing(size) < size {
		f.writes.Wait()
		for at := f.missing(size); at < size; at = f.missing(size) {
			n := min(int64(len(scratch)), size-at)
			if _, err := t.out.ReadAt(scratch[:n], t.offset+at); err != nil {
				return err
			}
			f.feed(at, scratch[:n])
			t.out.file.Feed(t.offset+at, scratch[:n])
		}
	}
	e.sums.SetDest(int(t.index), f.hash.Sum(size))
	e.written[t.index] = tensor.Written{Digest: e.sums.Ref(int(t.index)), CRC32: f.crc, Overflowed: f.overflowed, Largest: f.largest, Inexact: f.inexact.Load()}
	t.filling.Store(nil)
	return nil
}

// openSink opens the target's sink, once.
func (e *engine) openSink(f *filling) (err error) {
	if f.sink == nil {
		f.sink, err = e.sinks.Sink(int(f.index))
	}
	return err
}

func (e *engine) closeSink(f *filling) error {
	if err := e.openSink(f); err != nil { // a tensor without elements
		return err
	}
	if f.inOrder != f.size() {
		return fmt.Errorf("%s was not filled in order", f.Name)
	}
	return f.sink.Close()
}
