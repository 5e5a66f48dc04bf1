package remote

import "slices"

// loan is the memory of a reader while it reads. Chunks of what it reads that have no memory yet are fetched into it.
type loan struct {
	off  int64 // in the file
	data []byte
}

const (
	minLoan = bufferSize     // bytes of the smallest read whose memory is lent
	minClip = bufferSize / 4 // bytes of a chunk that ends early because a loan does
)

func (l *loan) end() int64 { return l.off + int64(len(l.data)) }

// lend lends p, which is being filled from off on, and asks for what no chunk has of it. The caller calls takeBack before it gives p back.
func (n *Node) lend(p []byte, off int64) *loan {
	pool := n.pool
	pool.mu.Lock()
	defer pool.mu.Unlock()
	l := &loan{off, p}
	n.loans = append(n.loans, l)
	s := n.spanAt(off)
	if s != nil {
		s.claim()
	}
	for at := off; at < l.end() && n.err == nil; {
		c := n.find(at)
		if c == nil {
			if pool.inFlight >= pool.mostInFlight() || pool.ctx.Err() != nil {
				break
			}
			if c = pool.start(n, at, n.gap(at, l.end()-at), false); c == nil {
				break
			}
			if s != nil && at >= s.off && c.end() <= s.end {
				c.planned, s.next = true, max(s.next, c.end())
			}
		} else if c.large && c.data == nil && c.off >= off && c.end() <= l.end() {
			c.borrow(l)
		}
		at = c.end()
	}
	pool.pump()
	return l
}

// lenderOf returns a loan for the first of size bytes from off on, nil if there is none, and how many of them it has memory for.
func (n *Node) lenderOf(off, size int64) (*loan, int64) {
	for _, l := range n.loans {
		if most := min(size, l.end()-off); off >= l.off && most >= min(size, minClip) {
			return l, most
		}
	}
	return nil, size
}

// borrow gives a chunk memory of a reader.
func (c *chunk) borrow(l *loan) {
	p := c.node.pool
	c.lender, c.data = l, l.data[c.off-l.off:][:c.length:c.length]
	p.large--
	p.waiting = slices.DeleteFunc(p.waiting, func(x *chunk) bool { return x == c })
	close(c.granted)
}

// takeBack ends a loan: it ends what is being fetched into the memory, and waits until nothing uses it.
func (n *Node) takeBack(l *loan) {
	p := n.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	n.loans = slices.DeleteFunc(n.loans, func(x *loan) bool { return x == l })
	for _, c := range slices.Clone(p.chunks) {
		if c.lender != l {
			continue
		}
		if c.filled < len(c.data) {
			c.withdrawn = true
			c.cancel()
		}
		for c.users > 0 || c.filled < len(c.data) && !c.done {
			p.changed.Wait()
		}
		c.remove()
	}
	p.pump()
}
