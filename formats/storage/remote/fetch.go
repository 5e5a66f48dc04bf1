package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// fetch fills a chunk and tells its readers.
func (c *chunk) fetch() {
	p := c.node.pool
	err := task.Call(func() error { return c.receive() })
	c.cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight--
	c.node.fetching--
	c.done = true
	p.waiting = slices.DeleteFunc(p.waiting, func(x *chunk) bool { return x == c })
	if err != nil {
		c.fail(c.describe(err))
	}
	if c.dropped && c.users == 0 {
		c.drop()
	}
	p.assign()
	p.pump()
	p.changed.Broadcast()
}

// receive fills a chunk. What breaks is resumed, with growing waits while nothing arrives.
func (c *chunk) receive() error {
	p := c.node.pool
	at, vain, err := 0, 0, error(nil)
	for tries := 1; at < int(c.length); tries++ {
		var n int
		n, err = c.attempt(at)
		at += n
		if err == nil {
			continue
		}
		if err == errHeld {
			select {
			case <-c.granted:
				continue
			case <-c.ctx.Done():
				return c.ctx.Err()
			}
		}
		if left := int(c.length) - at; n > 0 && n >= min(smallSize, left/4) {
			vain = 0 // it goes on, if slowly
		}
		vain++
		asked, ok := temporary(err)
		if c.ctx.Err() != nil || !ok || vain >= p.o.Attempts || tries >= 10*p.o.Attempts {
			break
		}
		wait := max(backoff(p.o.Backoff, vain), asked)
		if vain > 1 && p.o.Retrying != nil {
			p.o.Retrying(err, wait)
		}
		if err = sleep(c.ctx, wait); err != nil {
			break
		}
	}
	if at == int(c.length) {
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
func (c *chunk) describe(err error) error {
	p := c.node.pool
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
	errHeld    = errors.New("there is no memory for the answer")
)

// mostHeld is how long an answer may wait for memory. Then it is given up, and asked for again when there is memory.
const mostHeld = 5 * time.Second

// hold waits until a chunk whose answer has arrived has memory.
func (c *chunk) hold(ctx context.Context) error {
	p := c.node.pool
	p.mu.Lock()
	if c.data == nil && !slices.Contains(p.waiting, c) {
		i, _ := slices.BinarySearchFunc(p.waiting, c.number, func(c *chunk, number int64) int { return cmp.Compare(c.number, number) })
		p.waiting = slices.Insert(p.waiting, i, c)
		p.assign()
	}
	has := c.data != nil
	p.mu.Unlock()
	if has {
		return nil
	}
	limit := time.NewTimer(mostHeld)
	defer limit.Stop()
	select {
	case <-c.granted:
		return nil
	case <-limit.C:
		return errHeld
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// attempt reads the chunk from byte at of it on and returns how many bytes arrived.
func (c *chunk) attempt(at int) (n int, err error) {
	p := c.node.pool
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	watch := time.AfterFunc(p.o.Stall, func() { cancel(errStalled) })
	defer watch.Stop()
	defer func() {
		if err != nil && context.Cause(ctx) == errStalled {
			err = fmt.Errorf("%w for %v", errStalled, p.o.Stall)
		}
	}()
	asked := time.Now()
	r, err := c.node.object.Open(ctx, c.off+int64(at), c.length-int64(at))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	p.pace.answered(time.Since(asked))
	watch.Stop()
	if err := c.hold(ctx); err != nil {
		return 0, err
	}
	watch.Reset(p.o.Stall)
	for at < len(c.data) {
		got, err := r.Read(c.data[at:])
		at += got
		n += got
		watch.Reset(p.o.Stall)
		if got > 0 {
			p.mu.Lock()
			c.filled = at
			if c.users > 0 && c.lender == nil || at == len(c.data) {
				p.changed.Broadcast()
			}
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
