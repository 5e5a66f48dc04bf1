package remote_test

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// zeros is an object that answers after a while, at any rate.
type zeros struct{ latency time.Duration }

func (z zeros) Open(_ context.Context, _, n int64) (io.ReadCloser, error) {
	time.Sleep(z.latency)
	return io.NopCloser(io.LimitReader(zeroReader{}, n)), nil
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { return len(p), nil }

// readPlanned returns how long two readers take for planned tensors, each reading 1 GB/s in pieces of at most step bytes, and pausing between
// tensors. Every other tensor is read in pieces of 256 KiB.
func readPlanned(t *testing.T, latency time.Duration, sizes []int64, step int) (took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		total := int64(0)
		for _, n := range sizes {
			total += n
		}
		f := remote.NewPool(t.Context(), remote.Options{}).NewNode("test://file", total, zeros{latency}, nil).Open("file")
		queue := make(chan tensor.Extent, len(sizes))
		var plan []tensor.Extent
		at := int64(0)
		for _, n := range sizes {
			plan = append(plan, tensor.Extent{Store: f, Offset: at, Length: n})
			queue <- plan[len(plan)-1]
			at += n
		}
		close(queue)
		start := time.Now()
		f.Plan(plan)
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() {
				memory := make([]byte, step)
				for e := range queue {
					buffer := memory
					if e.Offset>>20%2 == 0 {
						buffer = memory[:256<<10]
					}
					for at := int64(0); at < e.Length; at += int64(len(buffer)) {
						n := min(int64(len(buffer)), e.Length-at)
						if _, err := f.ReadAt(buffer[:n], e.Offset+at); err != nil {
							t.Error(err)
							return
						}
						time.Sleep(time.Duration(n)) // 1 GB/s
					}
					time.Sleep(5 * time.Millisecond)
				}
			})
		}
		group.Wait()
		took = time.Since(start)
	})
	return took
}

// A latency of 50 ms costs little, although what arrives in that time exceeds the memory.
func TestLatency(t *testing.T) {
	var sizes []int64
	for range 26 {
		sizes = append(sizes, 39<<20, 13<<20, 13<<20, 13<<20, 39<<20, 2<<20, 5<<10)
	}
	for _, step := range []int{256 << 10, 4 << 20} {
		near, far := readPlanned(t, 100*time.Microsecond, sizes, step), readPlanned(t, 50*time.Millisecond, sizes, step)
		t.Logf("%v with 0.1 ms, %v with 50 ms, in pieces of %d KiB", near, far, step>>10)
		if far > near*12/10 {
			t.Errorf("%v with 50 ms of latency, %v without, in pieces of %d KiB", far, near, step>>10)
		}
	}
}

// impatient is zeros whose answers break after 10 seconds.
type impatient struct {
	zeros
	moved *atomic.Int64 // bytes that the server sent, read or not: the system buffers up to 2 MiB of an answer
}

func (i impatient) Open(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	r, err := i.zeros.Open(ctx, off, n)
	return &breaking{r, time.Now().Add(10 * time.Second), n, i.moved}, err
}

type breaking struct {
	io.Reader
	end   time.Time
	left  int64
	moved *atomic.Int64
}

func (b *breaking) Close() error {
	b.moved.Add(min(b.left, 2<<20))
	return nil
}

func (b *breaking) Read(p []byte) (int, error) {
	if time.Now().After(b.end) {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.Reader.Read(p)
	b.left -= int64(n)
	b.moved.Add(int64(n))
	return n, err
}

// A reader that pauses for minutes finds answers given up that there was no memory for, and is not kept from the rest. Little is
// moved twice.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 600 << 20
		var moved atomic.Int64
		f := remote.NewPool(t.Context(), remote.Options{}).NewNode("test://file", size, impatient{zeros{50 * time.Millisecond}, &moved}, nil).Open("file")
		f.Plan([]tensor.Extent{{Store: f, Offset: 0, Length: size}})
		buffer := make([]byte, 1<<20)
		for at := int64(0); at < size; at += int64(len(buffer)) {
			if at%(200<<20) == 0 {
				time.Sleep(5 * time.Minute)
			}
			if _, err := f.ReadAt(buffer, at); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		again := moved.Load() - size
		if again < 0 || again > 160<<20 {
			t.Errorf("%d MiB were moved twice", again>>20)
		}
		t.Logf("%d MiB were moved twice", again>>20)
	})
}

// The requests on their way increase within a few latencies of the beginning.
func TestBeginning(t *testing.T) {
	sizes := []int64{39 << 20, 39 << 20, 39 << 20}
	near, far := readPlanned(t, 100*time.Microsecond, sizes, 256<<10), readPlanned(t, 50*time.Millisecond, sizes, 256<<10)
	t.Logf("%v with 0.1 ms, %v with 50 ms", near, far)
	if far-near > 80*time.Millisecond {
		t.Errorf("%v with 50 ms of latency, %v without", far, near)
	}
}
