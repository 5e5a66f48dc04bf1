package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// chunk is a range of a file that was fetched or is being fetched. All fields but data, which only
// grows up to filled, are guarded by the pool's mutex.
type chunk struct {
	node   *Node
	off    int64
	data   []byte          // of the size of the chunk
	buffer *storage.Buffer // that data lies in; nil for a small chunk

	planned bool // fetched ahead by a plan
	filled  int  // bytes that were fetched
	read    int  // bytes that were handed out, repetitions counted
	users   int  // readers that wait for it or copy from it
	used    int64
	done    bool  // nothing is being fetched any more
	dropped bool  // to be freed when it is done and has no users
	err     error // why filled stays short
}

func (c *chunk) size() int64 { return int64(len(c.data)) }
func (c *chunk) end() int64  { return c.off + c.size() }

// start begins to fetch a range that no chunk has, and returns its chunk. It returns nil if there is
// no memory. A demand makes room by dropping what is not in use.
func (p *Pool) start(n *Node, off, size int64, demanded bool) *chunk {
	c := &chunk{node: n, off: off, used: p.clock}
	if size <= smallSize {
		p.trimSmall(smallMemory-size, demanded)
		p.small += size
		c.data = make([]byte, size)
	} else {
		c.buffer = p.takeBuffer(demanded)
		if c.buffer == nil {
			return nil
		}
		size = min(size, bufferSize)
		c.data = c.buffer.Bytes[:size:size]
	}
	n.insert(c)
	p.inFlight++
	task.Start(func() error { p.fetch(c); return nil })
	return c
}

// takeBuffer returns a buffer, nil if there is none. Only a demand takes the last ones, and makes room.
func (p *Pool) takeBuffer(demanded bool) *storage.Buffer {
	const kept = 3 // for demands
	if last := len(p.free) - 1; last >= 0 && (demanded || p.most-p.buffers+last+1 > kept) {
		b := p.free[last]
		p.free = p.free[:last]
		return b
	}
	if p.buffers < p.most && (demanded || p.most-p.buffers > kept) {
		b, err := storage.NewBuffer(bufferSize)
		if err != nil {
			return nil
		}
		p.buffers++
		return b
	}
	if !demanded {
		return nil
	}
	c := p.leastUseful(func(c *chunk) bool { return c.buffer != nil })
	if c == nil {
		return nil
	}
	c.drop()
	return p.takeBuffer(demanded)
}

// trimSmall drops small chunks until they take at most that many bytes. Only a demand drops chunks
// that were fetched ahead and not read.
func (p *Pool) trimSmall(most int64, demanded bool) {
	for p.small > most {
		c := p.leastUseful(func(c *chunk) bool { return c.buffer == nil && (demanded || !c.awaited()) })
		if c == nil {
			return
		}
		c.drop()
	}
}

// awaited reports whether the chunk was fetched ahead by a plan and not read to its end.
func (c *chunk) awaited() bool { return c.planned && c.read < len(c.data) }

// leastUseful returns the chunk of a kind to drop first, nil if all are in use: one that is not awaited
// if there is one, and of several the one that was not used for longest.
func (p *Pool) leastUseful(kind func(*chunk) bool) (found *chunk) {
	for _, c := range p.chunks {
		if !c.done || c.users > 0 || !kind(c) {
			continue
		}
		if found == nil || found.awaited() && !c.awaited() || found.awaited() == c.awaited() && c.used < found.used {
			found = c
		}
	}
	return found
}

// release ends a use. A large chunk of which everything was read is dropped.
func (c *chunk) release() {
	c.users--
	if c.buffer != nil && c.read >= len(c.data) || c.err != nil {
		c.dropped = true
	}
	if c.dropped && c.users == 0 && c.done {
		c.drop()
		c.node.pool.pump()
	}
}

// drop removes a chunk that is done and has no users.
func (c *chunk) drop() {
	p := c.node.pool
	if i := slices.Index(c.node.chunks, c); i >= 0 {
		c.node.chunks = slices.Delete(c.node.chunks, i, i+1)
	}
	i := slices.Index(p.chunks, c)
	if i < 0 {
		return
	}
	p.chunks = slices.Delete(p.chunks, i, i+1)
	if c.buffer != nil {
		p.free = append(p.free, c.buffer)
		c.buffer = nil
	} else {
		p.small -= c.size()
	}
	p.changed.Broadcast()
}

// fetch fills a chunk and tells its readers.
func (p *Pool) fetch(c *chunk) {
	err := task.Call(func() error { return p.receive(c) })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight--
	c.done = true
	if err != nil {
		c.fail(p.describe(c, err))
	}
	if c.dropped && c.users == 0 {
		c.drop()
	}
	p.pump()
	p.changed.Broadcast()
}

// receive fills a chunk. What breaks is resumed, with growing waits while nothing arrives.
func (p *Pool) receive(c *chunk) error {
	at, vain, err := 0, 0, error(nil)
	for tries := 1; at < len(c.data); tries++ {
		var n int
		n, err = p.attempt(c, at)
		at += n
		if err == nil {
			continue
		}
		if left := len(c.data) - at; n > 0 && n >= min(smallSize, left/4) {
			vain = 0 // it goes on, if slowly
		}
		vain++
		asked, ok := temporary(err)
		if p.ctx.Err() != nil || !ok || vain >= p.o.Attempts || tries >= 10*p.o.Attempts {
			break
		}
		wait := max(backoff(p.o.Backoff, vain), asked)
		if vain > 1 && p.o.Retrying != nil {
			p.o.Retrying(err, wait)
		}
		if err = sleep(p.ctx, wait); err != nil {
			break
		}
	}
	if at == len(c.data) {
		err = nil
	}
	return err
}

// fail records why a chunk stays short. It is dropped with its last user, so that a later read tries
// again.
func (c *chunk) fail(err error) {
	c.err = err
	c.dropped = true
	var e *Error
	if errors.As(err, &e) && e.Reason == Changed {
		c.node.err = err // what was read before and what would be read now do not belong together
	}
	// Later reads do not find it.
	if i := slices.Index(c.node.chunks, c); i >= 0 {
		c.node.chunks = slices.Delete(c.node.chunks, i, i+1)
	}
}

// describe makes an *Error of any other error, but for the end of the context.
func (p *Pool) describe(c *chunk, err error) error {
	if ended := p.ctx.Err(); ended != nil {
		return ended
	}
	if errors.As(err, new(*Error)) || errors.As(err, new(*task.PanicError)) {
		return err
	}
	return Errorf(c.node.address, Unreachable, "bytes %d to %d do not arrive: %w", c.off+int64(c.filled), c.end()-1, err)
}

var (
	errStalled = errors.New("the connection is silent")
	errShort   = errors.New("the answer ends early")
)

// attempt reads the chunk from byte at of it on and returns how many bytes arrived.
func (p *Pool) attempt(c *chunk, at int) (n int, err error) {
	ctx, cancel := context.WithCancelCause(p.ctx)
	defer cancel(nil)
	watch := time.AfterFunc(p.o.Stall, func() { cancel(errStalled) })
	defer watch.Stop()
	defer func() {
		if err != nil && context.Cause(ctx) == errStalled {
			err = fmt.Errorf("%w for %v", errStalled, p.o.Stall)
		}
	}()
	r, err := c.node.object.Open(ctx, c.off+int64(at), c.size()-int64(at))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	for at < len(c.data) {
		got, err := r.Read(c.data[at:])
		at += got
		n += got
		watch.Reset(p.o.Stall)
		if got > 0 {
			p.mu.Lock()
			c.filled = at
			p.changed.Broadcast()
			p.mu.Unlock()
		}
		if at == len(c.data) {
			break
		}
		if err == io.EOF {
			return n, errShort
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Retry calls do until it succeeds, fails for good, or has failed as often as the Pool's requests may.
// Sources use it for requests that are not for a file's content. Errors other than an *Error come from
// connections to the address.
func (p *Pool) Retry(address string, do func(ctx context.Context) error) error {
	return p.RetryFor(address, p.o.Stall, do)
}

// RetryFor is Retry for requests that take up to a limit each, such as those that send content.
func (p *Pool) RetryFor(address string, limit time.Duration, do func(ctx context.Context) error) error {
	for tries := 1; ; tries++ {
		ctx, cancel := context.WithTimeoutCause(p.ctx, limit, errStalled)
		err := do(ctx)
		if err != nil && !errors.As(err, new(*Error)) {
			if context.Cause(ctx) == errStalled {
				err = errStalled
			}
			err = Errorf(address, Unreachable, "the answer does not arrive: %w", err)
		}
		cancel()
		if ended := p.ctx.Err(); ended != nil && err != nil {
			return ended
		}
		asked, ok := temporary(err)
		if err == nil || !ok || tries >= p.o.Attempts {
			return err
		}
		wait := max(backoff(p.o.Backoff, tries), asked)
		if tries > 1 && p.o.Retrying != nil {
			p.o.Retrying(err, wait)
		}
		if err := sleep(p.ctx, wait); err != nil {
			return err
		}
	}
}

// backoff returns the wait after a number of failures in a row, with up to a quarter of it by chance.
func backoff(first time.Duration, failures int) time.Duration {
	wait := min(first<<min(max(failures-1, 0), 16), mostBackoff)
	return wait + rand.N(wait/4+1)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
