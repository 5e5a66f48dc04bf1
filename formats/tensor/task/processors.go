package task

import (
	"runtime"
	"sync"
)

var overlapping struct {
	mu         sync.Mutex
	calls      int // of Overlap that have not ended
	processors int // before the first of them
}

// Processors returns how many goroutines are to compute at the same time: runtime.GOMAXPROCS, without what Overlap adds.
func Processors() int {
	overlapping.mu.Lock()
	defer overlapping.mu.Unlock()
	if overlapping.calls > 0 {
		return overlapping.processors
	}
	return runtime.GOMAXPROCS(0)
}

// mostBlocked is how many goroutines are expected in system calls that take milliseconds.
const mostBlocked = 4

// Overlap lets goroutines compute while others are in system calls that take milliseconds, such as writes that bypass the page cache,
// until end is called. Without it, no other goroutine runs in place of one that waits in the system, until Go's scheduler notices, which takes up to 10 ms.
func Overlap() (end func()) {
	o := &overlapping
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.calls == 0 {
		o.processors = runtime.GOMAXPROCS(0)
		runtime.GOMAXPROCS(o.processors + mostBlocked)
	}
	o.calls++
	return sync.OnceFunc(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.calls--; o.calls == 0 {
			runtime.GOMAXPROCS(o.processors)
		}
	})
}
