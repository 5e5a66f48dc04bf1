package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

// trickling answers with bytes 7, 1 MiB each second, and not at all before an offset.
type trickling struct{ missing int64 }

func (o trickling) Open(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	if off < o.missing {
		time.Sleep(1500 * time.Millisecond)
		return nil, remote.Errorf("test://file", remote.Missing, "is gone")
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

// A large read gets its bytes in one piece of memory at once, and when it fails, nothing writes there any more.
func TestMemoryIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 12 << 20
		f := remote.NewPool(t.Context(), remote.Options{}).NewNode("test://file", size, trickling{2 << 20}, nil).Open("file")
		p := make([]byte, size)
		start := time.Now()
		n, err := f.ReadAt(p[:8<<20], 4<<20)
		if took := time.Since(start); n != 8<<20 || err != nil || took > 3*time.Second || bytes.ContainsFunc(p[:n], func(r rune) bool { return r != 7 }) {
			t.Errorf("%d bytes in %v, %v", n, took, err)
		}
		clear(p)
		var e *remote.Error
		if n, err = f.ReadAt(p, 0); n != 0 || !errors.As(err, &e) || e.Reason != remote.Missing {
			t.Errorf("%d bytes, %v", n, err)
		}
		clear(p)
		time.Sleep(time.Minute)
		if bytes.ContainsFunc(p, func(r rune) bool { return r != 0 }) {
			t.Error("something writes into the memory of a read that has failed")
		}
	})
}
