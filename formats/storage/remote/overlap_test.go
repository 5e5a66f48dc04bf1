package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// trickling is a slow server: it sends bytes of value 7, 1 MiB each second. Ranges before an offset it refuses, after a while. A stubborn one
// sends an answer to its end even if nobody wants it any more.
type trickling struct {
	missing  int64
	after    time.Duration
	stubborn bool
}

func (o trickling) Open(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	if off < o.missing {
		time.Sleep(o.after)
		return nil, remote.Errorf("test://file", remote.Missing, "is gone")
	}
	if o.stubborn {
		ctx = context.WithoutCancel(ctx)
	}
	return io.NopCloser(io.LimitReader(&trickle{ctx}, n)), nil
}

type trickle struct{ ctx context.Context }

func (r *trickle) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
	n := min(len(p), 1<<20)
	for i := range p[:n] {
		p[i] = 7
	}
	return n, nil
}

func are(p []byte, x byte) bool {
	return !bytes.ContainsFunc(p, func(r rune) bool { return r != rune(x) })
}

// What a large read asks for arrives at once. When it has failed, nothing writes into its memory any more, and no other reader is given what it holds then.
func TestLargeReads(t *testing.T) {
	for _, tt := range []trickling{
		{after: 1500 * time.Millisecond},
		{after: 1500 * time.Millisecond, stubborn: true},
		{after: 2500 * time.Millisecond}, // when all the rest has arrived
	} {
		synctest.Test(t, func(t *testing.T) {
			const size = 12 << 20
			tt.missing = 2 << 20
			f := remote.NewPool(t.Context(), remote.Options{}).NewNode("test://file", size, tt, nil).Open("file")
			p, q := make([]byte, size), make([]byte, 8<<20)
			start := time.Now()
			n, err := f.ReadAt(q, 4<<20)
			if took := time.Since(start); n != 8<<20 || err != nil || took != 2*time.Second || !are(q, 7) {
				t.Errorf("%+v: %d bytes in %v, %v", tt, n, took, err)
			}
			var e *remote.Error
			start = time.Now()
			n, err = f.ReadAt(p, 0)
			if took := time.Since(start); n != 0 || !errors.As(err, &e) || e.Reason != remote.Missing || took != tt.after {
				t.Errorf("%+v: %d bytes in %v, %v", tt, n, took, err)
			}
			clear(p)
			time.Sleep(time.Minute)
			if !are(p, 0) {
				t.Errorf("%+v: something writes into the memory of a read that has failed", tt)
			}
			clear(q)
			if n, err = f.ReadAt(q, 4<<20); n != 8<<20 || err != nil || !are(q, 7) {
				t.Errorf("%+v: again: %d bytes, %v", tt, n, err)
			}
		})
	}
}

// A reader that waits for bytes which another has asked for gets them if the other fails.
func TestReaderAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := remote.NewPool(t.Context(), remote.Options{}).NewNode("test://file", 12<<20, trickling{missing: 2 << 20, after: 1500 * time.Millisecond}, nil).Open("file")
		failed := make(chan error)
		go func() {
			_, err := f.ReadAt(make([]byte, 12<<20), 0)
			failed <- err
		}()
		synctest.Wait()
		p := make([]byte, 100)
		n, err := f.ReadAt(p, 7<<20)
		if n != len(p) || err != nil || !are(p, 7) {
			t.Errorf("%d bytes, %v", n, err)
		}
		if err := <-failed; err == nil {
			t.Error("the first read did not fail")
		}
	})
}

// slow answers with content, after times that are random.
type slow struct {
	content []byte
	most    time.Duration
}

func (o slow) Open(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	time.Sleep(rand.N(o.most))
	return io.NopCloser(&slowReader{o, ctx, o.content[off:][:n]}), nil
}

type slowReader struct {
	slow
	ctx  context.Context
	left []byte
}

func (r *slowReader) Read(p []byte) (int, error) {
	time.Sleep(rand.N(r.most))
	if len(r.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.left[:min(len(r.left), 1+rand.N(1<<20))])
	r.left = r.left[n:]
	return n, r.ctx.Err()
}

// Readers of overlapping ranges, planned or not, large and small, each get the file's bytes, in little memory; what they do with their memory then
// reaches no other.
func TestReadersTogether(t *testing.T) {
	const size = 20 << 20
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i*7>>3) ^ byte(i>>13)
	}
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			f := remote.NewPool(ctx, remote.Options{Memory: 1}).NewNode("test://file", size, slow{content, time.Second}, nil).Open("file")
			f.Plan([]tensor.Extent{{Store: f, Offset: 1 << 20, Length: 6 << 20}, {Store: f, Offset: 9 << 20, Length: 3<<20 + 5}})
			var group sync.WaitGroup
			for range 6 {
				group.Go(func() {
					for range 8 {
						p := make([]byte, []int{100, 70 << 10, 1 << 20, 2 << 20, 2<<20 + 1, 5 << 20}[rand.N(6)])
						off := rand.Int64N(size)
						n, err := f.ReadAt(p, off)
						want := content[off:min(size, off+int64(len(p)))]
						if !bytes.Equal(p[:n], want) || (err == nil) != (n == len(p)) || err != nil && err != io.EOF {
							t.Errorf("%d of %d bytes at %d, %v", n, len(p), off, err)
						}
						clear(p)
						time.Sleep(rand.N(time.Second))
					}
				})
			}
			group.Wait()
			cancel()
			time.Sleep(time.Minute) // until what was read ahead has ended
		})
	}
}
