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
	next    int           // index of read
	arrival time.Duration // of bufferSize bytes on one connection, without the latency, averaged; 0 if unknown
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

// received counts so many bytes of an answer, and how long reading them took. The caller holds the pool's mutex.
func (p *pace) received(bytes int64, took time.Duration) {
	if bytes < bufferSize/2 {
		return
	}
	took = min(took*bufferSize/time.Duration(bytes), 2*fastest) // longer ones say more of other work on the processors
	if p.arrival == 0 {
		p.arrival = fastest
	}
	p.arrival = max(p.arrival+(took-p.arrival)/8, 1)
}

// isFast reports whether content arrives faster than readers read it. The pool's mutex is held.
func (p *pace) isFast() bool { return p.arrival > 0 && p.arrival < fastest }

// mostAhead returns how many large chunks may be asked for or held. The pool's mutex is held.
func (p *Pool) mostAhead() int {
	most := p.most - kept
	if p.pace.isFast() {
		most = min(most, fewest)
	}
	return most + p.surplus()
}

const (
	fewest = 4 // large chunks of a server that sends as fast as readers read

	mostSurplus  = 40 // bounds surplus
	firstSurplus = 25 // bounds surplus while it is not known how fast readers are

	fastest = 2 * time.Millisecond // in which readers read a large chunk
)

// surplus returns how many large chunks are asked for beyond those for which there are buffers: as many as readers give
// buffers back before the answers arrive. The pool's mutex is held.
func (p *Pool) surplus() int {
	oldest, count := p.pace.read[p.pace.next], len(p.pace.read)
	if oldest.IsZero() { // at the beginning: readers may be as fast as any
		return int(min(p.pace.latency.Load()/int64(fastest), firstSurplus))
	}
	n := time.Duration(count) * time.Duration(p.pace.latency.Load()) / max(time.Since(oldest), 1)
	return int(min(n, mostSurplus))
}

// mostInFlight returns how many requests may be on their way that nothing waits for. A near server answers a few as fast as many, and
// each connection takes time.
func (p *Pool) mostInFlight() int {
	const fewest, perRequest = 16, 100 * time.Microsecond
	latency := time.Duration(p.pace.latency.Load())
	if latency == 0 {
		return p.o.InFlight
	}
	return max(min(int(latency/perRequest), p.o.InFlight), min(fewest, p.o.InFlight))
}
