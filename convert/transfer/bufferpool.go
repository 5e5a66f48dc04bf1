package transfer

import (
	"context"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

// bufferPool lends memory for matrices, a fixed amount at most.
type bufferPool struct {
	mu    sync.Mutex
	freed sync.Cond // after free has grown
	total int64     // bytes
	free  int64     // bytes; may be negative, see reserve
}

func newBufferPool(total int64) *bufferPool {
	p := &bufferPool{total: total, free: total}
	p.freed.L = &p.mu
	return p
}

// reserve returns how many bytes the caller may use until it calls release: want, or fewer if more
// than that is in use, but never less than a quarter of want or of all there is. It waits until so
// many are free. least is what the caller cannot do with less than, however little there is.
func (p *bufferPool) reserve(ctx context.Context, want, least int64) (int64, error) {
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.freed.Broadcast()
	})
	defer stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	want = max(min(want, p.total), least)
	enough := min(max(want/4, least), p.total)
	for p.free < enough {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		p.freed.Wait()
	}
	n := max(min(want, p.free), least)
	p.free -= n
	return n, nil
}

// release gives back what reserve returned.
func (p *bufferPool) release(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free += n
	p.freed.Broadcast()
}

// buffer is memory from a bufferPool.
type buffer struct {
	*storage.Buffer
	size int64
	pool *bufferPool
}

// take reserves memory and allocates it.
func (p *bufferPool) take(ctx context.Context, want, least int64) (*buffer, error) {
	n, err := p.reserve(ctx, want, least)
	if err != nil {
		return nil, err
	}
	memory, err := storage.NewBuffer(int(n))
	if err != nil {
		p.release(n)
		return nil, err
	}
	return &buffer{Buffer: memory, size: n, pool: p}, nil
}

// giveBack frees the memory.
func (b *buffer) giveBack() error {
	err := b.Free()
	b.pool.release(b.size)
	return err
}
