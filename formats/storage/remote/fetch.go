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
			if err = c.awaitReader(); err != nil {
				break
			}
			continue
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
	c.hide()
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

// offer waits until a chunk whose answer has arrived has memory, or readers have taken all bytes from the answer. It returns how many
// they have taken.
func (c *chunk) offer(ctx context.Context, answer io.Reader) (n int, err error) {
	p := c.node.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.data != nil {
		return 0, nil
	}
	before := c.taken
	c.answer, c.broken = answer, nil
	if !slices.Contains(p.waiting, c) {
		i, _ := slices.BinarySearchFunc(p.waiting, c.number, func(c *chunk, number int64) int { return cmp.Compare(c.number, number) })
		p.waiting = slices.Insert(p.waiting, i, c)
	}
	p.assign()
	p.changed.Broadcast()
	limit := time.NewTimer(mostHeld)
	defer limit.Stop()
	for err == nil && c.data == nil && c.broken == nil && int64(c.taken) < c.length {
		taken := c.taken
		p.mu.Unlock()
		expired := false
		select {
		case <-c.woken:
		case <-limit.C:
			expired = true
			limit.Reset(mostHeld)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		p.mu.Lock()
		if expired && c.taken == taken && !c.reading {
			err = errHeld
		}
	}
	for c.reading {
		p.changed.Wait()
	}
	c.answer = nil
	if c.broken != nil {
		err = c.broken
	}
	return c.taken - before, err
}

// take reads bytes from the answer of a chunk into b, and returns how many. It releases the pool's mutex meanwhile.
func (c *chunk) take(b []byte) (n int) {
	p, answer, start := c.node.pool, c.answer, time.Now()
	var err error
	c.reading = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		c.reading = false
		c.taken += n
		c.filled = c.taken
		c.spent += time.Since(start)
		if err == io.EOF {
			err = errShort
		}
		switch {
		case int64(c.taken) == c.length:
			p.pace.received(c.length, c.spent)
			c.hide() // it has no bytes any more
		case err == nil:
			p.changed.Broadcast()
			return
		default:
			c.broken = err
		}
		c.answer = nil
		c.wake()
		p.changed.Broadcast()
	}()
	for n < len(b) && err == nil {
		var got int
		got, err = answer.Read(b[n:])
		n += got
	}
	return n
}

// awaitReader waits until a chunk whose answer was given up has memory, or readers go on.
func (c *chunk) awaitReader() error {
	p := c.node.pool
	defer context.AfterFunc(c.ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.changed.Broadcast()
	})()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle++
	defer func() { p.idle-- }()
	for clock := p.clock; c.data == nil && c.users == 0 && p.clock == clock && c.ctx.Err() == nil; {
		p.changed.Wait()
	}
	return c.ctx.Err()
}

// watched is an answer. The watch runs while something is read from it.
type watched struct {
	io.Reader
	watch *time.Timer
	stall time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	w.watch.Reset(w.stall)
	defer w.watch.Stop()
	return w.Reader.Read(p)
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
	answer := &watched{r, watch, p.o.Stall}
	if n, err := c.offer(ctx, answer); n > 0 || err != nil {
		return n, err
	}
	first, spent := at, time.Duration(0)
	for at < len(c.data) {
		start := time.Now()
		got, err := answer.Read(c.data[at:])
		spent += time.Since(start)
		at += got
		n += got
		if got > 0 {
			p.mu.Lock()
			c.filled = at
			if c.users > 0 || at == len(c.data) {
				p.changed.Broadcast()
			}
			if at == len(c.data) {
				p.pace.received(int64(at-first), spent)
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
