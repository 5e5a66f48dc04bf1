package remote

import (
	"cmp"
	"io"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// span is a planned range of a file.
type span struct {
	node     *Node
	off, end int64
	next     int64 // the first byte that was not asked for
	pos      int64 // behind the last byte that was read
	touched  bool  // a reader is in it
	joined   bool  // of several extents
	used     int64 // pool.clock at the last read
}

const (
	// joinGap is the largest gap, in bytes, that is fetched to join two extents into one request.
	joinGap = 4 << 10

	// joinSize is the size, in bytes, up to which an extent is joined with its neighbour. Larger ones may
	// have readers of their own.
	joinSize = 256 << 10
)

// plan appends extents to what will be read.
func (p *Pool) plan(extents []tensor.Extent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var last *span
	for _, e := range smallFirst(extents) {
		f, ok := e.Store.(*File)
		if !ok || f.node.pool != p || e.Length <= 0 || e.Offset < 0 || e.Offset >= f.node.size {
			continue
		}
		end := min(e.Offset+e.Length, f.node.size)
		near := last != nil && last.node == f.node && e.Offset >= last.end && e.Offset-last.end <= joinGap
		if near && (min(last.end-last.off, e.Length) <= joinSize && last.end-last.off > smallSize || end-last.off <= smallSize) {
			f.node.forget(last.end, end, last)
			last.end, last.joined = end, true
			continue
		}
		last = &span{node: f.node, off: e.Offset, end: end, next: e.Offset, pos: e.Offset}
		f.node.forget(last.off, end, nil)
		f.node.addSpan(last)
		p.queue = append(p.queue, last)
	}
	p.pump()
}

// smallFirst returns extents with the small ones first, by where they lie, as long as there is memory for them: neighbours among them
// are fetched together, and readers that come to them at the end wait for none. Extents of files that are read from their beginning to
// their end stay in their order.
func smallFirst(extents []tensor.Extent) []tensor.Extent {
	var small, large []tensor.Extent
	left := int64(smallMemory / 2)
	for _, e := range extents {
		if tensor.IsSequential(e.Store) {
			return extents
		}
		if e.Length <= smallSize && e.Length <= left {
			left -= e.Length
			small = append(small, e)
		} else {
			large = append(large, e)
		}
	}
	files := map[io.ReaderAt]int{} // in the order in which they appear
	for _, e := range small {
		if _, ok := files[e.Store]; !ok {
			files[e.Store] = len(files)
		}
	}
	slices.SortStableFunc(small, func(a, b tensor.Extent) int {
		return cmp.Or(cmp.Compare(files[a.Store], files[b.Store]), cmp.Compare(a.Offset, b.Offset))
	})
	return append(small, large...)
}

// forget removes earlier plans for a range, except one.
func (n *Node) forget(off, end int64, except *span) {
	n.spans = slices.DeleteFunc(n.spans, func(s *span) bool {
		overlaps := s != except && s.off < end && off < s.end
		if overlaps {
			n.pool.retire(s)
		}
		return overlaps
	})
}

// retire removes a span from the lists of what is to be fetched.
func (p *Pool) retire(s *span) {
	isSpan := func(x *span) bool { return x == s }
	p.queue = slices.DeleteFunc(p.queue, isSpan)
	p.reading = slices.DeleteFunc(p.reading, isSpan)
}

func (n *Node) addSpan(s *span) {
	i, _ := slices.BinarySearchFunc(n.spans, s.off, func(s *span, off int64) int { return cmp.Compare(s.off, off) })
	n.spans = slices.Insert(n.spans, i, s)
}

// spanAt returns the span that a byte lies in, nil for none.
func (n *Node) spanAt(off int64) *span {
	i, found := slices.BinarySearchFunc(n.spans, off, func(s *span, off int64) int {
		switch {
		case s.end <= off:
			return -1
		case s.off > off:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return n.spans[i]
}

// claim moves a span from the queue to those that are being fetched.
func (s *span) claim() {
	p := s.node.pool
	if i := slices.Index(p.queue, s); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
		p.reading = append(p.reading, s)
	}
	s.touched, s.used = true, p.clock
}

// passed records that a reader has read a range.
func (n *Node) passed(off, length int64) {
	s := n.spanAt(off)
	if s == nil {
		return
	}
	s.claim()
	s.pos, s.used = max(s.pos, off+length), n.pool.clock
	if s.pos >= s.end {
		n.pool.retire(s)
		if i := slices.Index(n.spans, s); i >= 0 && s.next >= s.end {
			n.spans = slices.Delete(n.spans, i, i+1)
		}
	}
}

// pump starts requests for what is planned, as far as memory and connections allow, in the order in which readers will need
// it.
func (p *Pool) pump() {
	for p.inFlight < p.mostInFlight() && p.ctx.Err() == nil {
		s := p.mostUrgent()
		if s == nil || !p.extend(s) && !p.abandon() {
			return
		}
	}
}

// abandonAfter is the number of reads elsewhere after which a span that was begun counts as given up, as
// by a comparison that ends at the first difference.
const abandonAfter = 4096

// abandon ends the reading ahead of a span that was given up, and drops what was fetched of it. It
// returns false if there is none.
func (p *Pool) abandon() bool {
	dropped := false
	for _, c := range slices.Clone(p.chunks) { // of earlier plans
		if c.answer != nil && c.users == 0 && c.node.spanAt(c.begin()) == nil {
			c.answer = nil
			c.hide()
			c.cancel()
		}
	}
	for _, s := range p.reading {
		if !s.touched || p.clock-s.used < abandonAfter {
			continue
		}
		p.retire(s)
		for _, c := range slices.Clone(s.node.chunks) {
			if c.off >= s.off && c.end() <= s.end && c.done && c.users == 0 {
				c.drop()
				dropped = true
			}
		}
		s.node.spans = slices.DeleteFunc(s.node.spans, func(x *span) bool { return x == s })
		return dropped
	}
	return false
}

// mostUrgent returns the span that will be the first to lack bytes: among the spans with bytes that have not been requested, the
// one whose reader arrives there first. It is nil if all bytes have been requested. It assumes that all readers are equally fast, and
// that each reads to the end of its span and goes on with the next span that has no reader.
func (p *Pool) mostUrgent() (found *span) {
	var ends []int64 // bytes until each reader is free
	for _, s := range p.reading {
		if s.touched {
			ends = append(ends, s.end-s.pos)
		}
	}
	need := int64(math.MaxInt64)
	consider := func(s *span, from int64) {
		if n := from + s.next - s.pos; s.next < s.end && n < need {
			found, need = s, n
		}
	}
	follow := func(s *span) (from int64) { // the byte of its reader at which it will be begun
		if len(ends) == 0 {
			ends = append(ends, 0)
		}
		first := 0
		for i := range ends {
			if ends[i] < ends[first] {
				first = i
			}
		}
		from = ends[first]
		ends[first] += s.end - s.pos
		return from
	}
	for _, s := range p.reading {
		if s.touched {
			consider(s, 0)
		}
	}
	for _, s := range p.reading {
		if !s.touched {
			consider(s, follow(s))
		}
	}
	if len(p.queue) > 0 && follow(p.queue[0]) < need {
		found = p.queue[0]
		p.queue = p.queue[1:]
		p.reading = append(p.reading, found)
	}
	return found
}

// extend starts the next request of a span. It returns false if there is no memory.
func (p *Pool) extend(s *span) bool {
	n := s.node
	if c := n.find(s.next); c != nil {
		s.next = min(c.end(), s.end)
		return true
	}
	size := n.gap(s.next, min(n.pieceSize(), s.end-s.next))
	if size <= smallSize && p.small+size > smallMemory {
		p.trimSmall(smallMemory-size, false)
		if p.small+size > smallMemory {
			return false
		}
	}
	c := p.start(n, s.next, size, false)
	if c == nil {
		return false
	}
	c.planned = true
	s.next = c.end()
	return true
}
