package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// direct is an object that counts the bytes that are read into some memory.
type direct struct {
	*object
	memory []byte
	into   atomic.Int64
}

func (d *direct) Open(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	r, err := d.object.Open(ctx, off, n)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(counting{r, d}), nil
}

type counting struct {
	io.Reader
	d *direct
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	first := uintptr(unsafe.Pointer(unsafe.SliceData(c.d.memory)))
	if at := uintptr(unsafe.Pointer(unsafe.SliceData(p))); at >= first && at < first+uintptr(len(c.d.memory)) {
		c.d.into.Add(int64(n))
	}
	return n, err
}

// Content that arrives faster than it is read goes to the memory of the reader, and nowhere else.
func TestReadersTakeFromAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where computing takes no time
		const size, step = 80 << 20, 256 << 10
		d := &direct{object: newObject(size), memory: make([]byte, step)}
		f := remote.NewPool(t.Context(), quick()).NewNode("test://file", size, d, nil).Open("file")
		f.Plan([]tensor.Extent{{Store: f, Offset: 0, Length: size}})
		for at := int64(0); at < size; at += step {
			if n, err := f.ReadAt(d.memory, at); n != step || err != nil || !bytes.Equal(d.memory, d.content[at:at+step]) {
				t.Fatalf("at %d: %d bytes, %v", at, n, err)
			}
		}
		if n := d.into.Load(); n < size/2 {
			t.Errorf("%d of %d MiB went to the memory of the reader", n>>20, size>>20)
		}
		if n := d.object.bytes.Load(); n != size {
			t.Errorf("%d MiB were asked for, of %d", n>>20, size>>20)
		}
	})
}

// Readers that take from answers, while others read somewhere else in the same ranges, and while connections break, get the bytes of the file.
func TestReadersInOneAnswer(t *testing.T) {
	for seed := range uint64(12) {
		chance := rand.New(rand.NewPCG(seed, 1))
		o := newObject(24<<20 + 12345)
		var mu sync.Mutex
		breaks, jump := chance.IntN(2) == 0, chance.Int64N(24<<20)
		o.broken = func(_, _, n int64) (int64, error) {
			mu.Lock()
			defer mu.Unlock()
			if breaks && chance.IntN(6) == 0 {
				return chance.Int64N(n), errors.New("reset")
			}
			return n, nil
		}
		options := quick()
		options.Attempts = 30
		f := open(t, o, options)
		size := int64(len(o.content))
		f.Plan([]tensor.Extent{{Store: f, Offset: 0, Length: 12 << 20}, {Store: f, Offset: 12 << 20, Length: size - 12<<20}})
		read := func(from, to, step int64) {
			for at := from; at < to; at += step {
				checkRead(t, f, o, at, min(step, to-at))
			}
		}
		var group sync.WaitGroup
		group.Go(func() { read(0, 12<<20, 100_000) })
		group.Go(func() { read(12<<20, size, 256<<10) })
		group.Go(func() {
			if seed%4 > 0 {
				read(jump, min(jump+3<<20, size), 64<<10)
				read(jump/2, jump/2+1<<20, 1<<20)
			}
		})
		group.Wait()
	}
}

// steady is an object that sends 100 MB/s on each connection.
type steady struct{}

func (steady) Open(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	time.Sleep(time.Millisecond)
	return io.NopCloser(io.LimitReader(steadyReader{}, n)), nil
}

type steadyReader struct{}

func (steadyReader) Read(p []byte) (int, error) {
	n := min(len(p), 100_000)
	time.Sleep(time.Duration(n) * 10)
	return n, nil
}

// Content that arrives slowly on each connection is fetched ahead on many.
func TestSlowConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1000 << 20
		f := remote.NewPool(t.Context(), remote.Options{}).NewNode("test://file", size, steady{}, nil).Open("file")
		f.Plan([]tensor.Extent{{Store: f, Offset: 0, Length: size}})
		start := time.Now()
		for at, p := 0, make([]byte, 256<<10); at < size; at += len(p) {
			if _, err := f.ReadAt(p, int64(at)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took > 1200*time.Millisecond {
			t.Errorf("%v", took)
		}
	})
}
