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
	oldest := p.pace.read[p.pace.next]
	if oldest.IsZero() {
		return 0
	}
	n := time.Duration(len(p.pace.read)) * time.Duration(p.pace.latency.Load()) / max(time.Since(oldest), 1)
	return int(min(n, mostSurplus))
}
