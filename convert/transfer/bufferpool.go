package transfer

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

// bufferPool lends memory for matrices, a fixed amount at most.
type bufferPool struct {
	mu      sync.Mutex
	freed   sync.Cond // after free has grown
	total   int64     // bytes
	waiting int       // reservations
	free    int64     // bytes; may be negative, see reserve
	idle    []*buffer // given back, and kept for the next matrix of their size or less: the system clears fresh memory. Not part of free
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
	if p.free < want {
		if err := p.dropIdle(); err != nil {
			return 0, err
		}
	}
	enough := min(max(want/4, least), p.total)
	p.waiting++
	defer func() { p.waiting-- }()
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

// dropIdle frees the memory that is kept. p.mu is locked.
func (p *bufferPool) dropIdle() error {
	var all []error
	for _, b := range p.idle {
		all = append(all, b.Free())
		p.free += b.size
	}
	p.idle = nil
	return errors.Join(all...)
}

// close frees the memory that is kept.
func (p *bufferPool) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropIdle()
}

// kept returns a buffer of so many bytes or more that was given back, nil if there is none.
func (p *bufferPool) kept(want int64) *buffer {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.idle, func(b *buffer) bool { return b.size >= want })
	if i < 0 {
		return nil
	}
	b := p.idle[i]
	p.idle = slices.Delete(p.idle, i, i+1)
	return b
}

// take reserves memory and allocates it.
func (p *bufferPool) take(ctx context.Context, want, least int64) (*buffer, error) {
	if b := p.kept(max(want, least)); b != nil {
		return b, nil
	}
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

// giveBack returns the memory, which the pool keeps unless others wait for some.
func (b *buffer) giveBack() error {
	p := b.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, b)
	if p.waiting == 0 {
		return nil
	}
	err := p.dropIdle()
	p.freed.Broadcast()
	return err
}
