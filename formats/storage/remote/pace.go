package remote

import (
	"sync/atomic"
	"time"
)

// pace measures how fast chunks are read and how long answers take, from which follows how many requests have to be on
// their way so that readers do not wait.
type pace struct {
	latency atomic.Int64 // nanoseconds from a request to its answer, averaged
	read    [32]time.Time
	next    int // index of read
}

// answered counts an answer. It is safe for concurrent use.
func (p *pace) answered(after time.Duration) {
	old := p.latency.Load()
	if old == 0 {
		old = int64(after)
	}
	p.latency.Store(old + (int64(after)-old)/8)
}

// count counts a large chunk that was read to its end. The caller holds the pool's mutex.
func (p *pace) count() {
	p.read[p.next] = time.Now()
	p.next = (p.next + 1) % len(p.read)
}

// mostSurplus bounds surplus.
const mostSurplus = 40

// surplus returns how many large chunks are asked for beyond those for which there are buffers: as many as readers give
// buffers back before the answers arrive. The pool's mutex is held.
func (p *Pool) surplus() int {
	oldest, count, most := p.pace.read[p.pace.next], len(p.pace.read), mostSurplus
	if oldest.IsZero() { // at the beginning: at most as many as were read, which is twice as many after each latency
		oldest, count = p.pace.read[0], p.pace.next
		most = min(most, count)
	}
	n := time.Duration(count) * time.Duration(p.pace.latency.Load()) / max(time.Since(oldest), 1)
	return int(min(n, time.Duration(most)))
}
