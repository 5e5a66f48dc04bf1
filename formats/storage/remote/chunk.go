package remote

import (
	"context"
	"io"
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
	length int64
	large  bool            // it has a buffer of the pool, or none
	buffer *storage.Buffer // nil for a small chunk, and for a large one until it needs one
	data   []byte          // of the length; nil for a large chunk without buffer
	number int64           // counts the chunks of the pool

	ctx    context.Context // of the requests
	cancel context.CancelFunc

	// A large chunk without buffer: readers take its bytes from the answer.
	answer  io.Reader     // nil before it arrives and after it broke
	reading bool          // a reader reads from the answer
	taken   int           // bytes at the beginning that readers have taken and that no longer belong to the chunk
	spent   time.Duration // reading from answers
	broken  error         // of the answer
	woken   chan struct{} // tells the goroutine that fetches the chunk; capacity 1

	planned bool // fetched ahead by a plan
	shared  bool // not planned, or for several tensors, which may have readers of their own
	filled  int  // bytes that were fetched
	read    int  // bytes that were handed out, repetitions counted
	users   int  // readers that wait for it or copy from it
	used    int64
	done    bool  // nothing is being fetched any more
	dropped bool  // to be freed when it is done and has no users
	err     error // why filled stays short
}

// begin returns the offset of the first byte that the chunk has or will have.
func (c *chunk) begin() int64 { return c.off + int64(c.taken) }

func (c *chunk) end() int64 { return c.off + c.length }

// wake tells the goroutine that fetches the chunk that it has memory, or that its answer is used up.
func (c *chunk) wake() {
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

// isLazy reports whether readers take content from answers: it arrives at least as fast as they read, and they read it in order.
func (n *Node) isLazy() bool { return !n.sequential && !n.jumps && n.pool.pace.isFast() }

// pieceSize returns the length of large requests.
func (n *Node) pieceSize() int64 {
	if n.isLazy() {
		return lazySize
	}
	return bufferSize
}

// start begins to fetch a range that no chunk has, and returns its chunk, which may end earlier. A large one has no
// memory before its answer arrives. It returns nil if there will be none then, unless a reader demands it.
func (p *Pool) start(n *Node, off, size int64, demanded bool) *chunk {
	if n.sequential && !demanded && (n.fetching > 0 || p.large >= p.most-kept) {
		return nil
	}
	p.started++
	s := n.spanAt(off)
	shared := s == nil || s.joined
	if size = min(size, n.pieceSize()); shared {
		size = min(size, bufferSize)
	}
	c := &chunk{node: n, off: off, length: size, number: p.started, used: p.clock}
	switch {
	case size <= smallSize:
		p.trimSmall(smallMemory-size, demanded)
		p.small += size
		c.data = make([]byte, size)
	case !demanded && p.large >= p.mostAhead():
		return nil
	default:
		c.large, c.woken, c.shared = true, make(chan struct{}, 1), shared
	}
	c.ctx, c.cancel = context.WithCancel(p.ctx)
	n.insert(c)
	n.fetching++
	p.inFlight++
	task.Start(func() error { c.fetch(); return nil })
	return c
}

// kept is the number of buffers for chunks that a reader waits for.
const kept = 3

// isLazy reports whether readers take the chunk's bytes from its answer.
func (c *chunk) isLazy() bool {
	return c.taken > 0 || c.reading || c.length > bufferSize || !c.shared && c.node.isLazy()
}

// assign gives buffers to chunks whose answers have arrived: first to those that a reader waits for, then in the order in which
// they were asked for.
func (p *Pool) assign() {
	for {
		i := slices.IndexFunc(p.waiting, func(c *chunk) bool { return c.users > 0 && !c.isLazy() })
		if i < 0 {
			i = slices.IndexFunc(p.waiting, func(c *chunk) bool { return !c.isLazy() })
		}
		if i < 0 {
			return
		}
		c := p.waiting[i]
		buffer := p.takeBuffer(c.users > 0)
		if buffer == nil {
			return
		}
		c.buffer, c.data = buffer, buffer.Bytes[:c.length:c.length]
		p.waiting = slices.Delete(p.waiting, i, i+1)
		c.wake()
	}
}

// takeBuffer returns a buffer, nil if there is none. Only a demand takes the last ones, and makes room.
func (p *Pool) takeBuffer(demanded bool) *storage.Buffer {
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
	c.remove()
	return p.takeBuffer(demanded)
}

// trimSmall drops small chunks until they take at most that many bytes. Only a demand drops chunks
// that were fetched ahead and not read.
func (p *Pool) trimSmall(most int64, demanded bool) {
	for p.small > most {
		c := p.leastUseful(func(c *chunk) bool { return !c.large && (demanded || !c.awaited()) })
		if c == nil {
			return
		}
		c.drop()
	}
}

// awaited reports whether the chunk was fetched ahead by a plan and not read to its end.
func (c *chunk) awaited() bool { return c.planned && int64(c.read) < c.length }

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
	if c.large && int64(c.read) >= c.length || c.err != nil {
		c.dropped = true
	}
	if c.users > 0 || !c.done {
		return
	}
	if c.dropped {
		c.drop()
		c.node.pool.pump()
	} else {
		c.node.pool.assign() // its memory can be had now
	}
}

// drop removes a chunk that is done and has no users, and gives its memory to another.
func (c *chunk) drop() {
	c.remove()
	c.node.pool.assign()
}

// hide keeps later reads from finding a chunk.
func (c *chunk) hide() {
	if i := slices.Index(c.node.chunks, c); i >= 0 {
		c.node.chunks = slices.Delete(c.node.chunks, i, i+1)
	}
}

// remove is drop without giving the memory to another.
func (c *chunk) remove() {
	p := c.node.pool
	c.hide()
	i := slices.Index(p.chunks, c)
	if i < 0 {
		return
	}
	p.chunks = slices.Delete(p.chunks, i, i+1)
	switch {
	case !c.large:
		p.small -= c.length
	default:
		if c.buffer != nil {
			p.free = append(p.free, c.buffer)
			c.buffer = nil
		}
		if int64(c.read) >= c.length {
			p.pace.count()
		}
		p.large--
	}
	p.changed.Broadcast()
}
