package reference

import (
	"runtime/debug"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// workers distributes work over goroutines. Each element of a result is computed by one goroutine, so
// that no result depends on their number.
type workers[T kernel.Float] struct {
	goroutines []kernel.Scratch[T] // the buffers of each; the first is the one that calls each
	spins      int                 // how long a goroutine waits for the others before it sleeps; see signal
	helpers    []*helper           // the other goroutines, once there was work for them
	done       signal              // the helpers have done their part
}

// threads returns the number of goroutines.
func (w *workers[T]) threads() int { return len(w.goroutines) }

// each calls f for every task in [0, n), as many at a time as there are goroutines. It panics if f does.
func (w *workers[T]) each(n int, f func(task int, s *kernel.Scratch[T])) {
	w.spans(n, func(from, to, goroutine int) {
		for task := from; task < to; task++ {
			f(task, &w.goroutines[goroutine])
		}
	})
}

// spans divides the tasks [0, n) into ranges and calls f for each. Each goroutine goes through tasks that follow one another,
// so that it finds in its cache what it has fetched ahead, and then helps the others with theirs.
func (w *workers[T]) spans(n int, f func(from, to, goroutine int)) {
	if n <= 1 || len(w.goroutines) == 1 {
		if n > 0 {
			f(0, n, 0)
		}
		return
	}
	j := &job{run: f, shares: make([]share, min(n, len(w.goroutines))), done: &w.done}
	j.left.Store(int64(n))
	for i := range j.shares {
		from, to := w.share(n, i)
		j.shares[i].next.Store(int64(from))
		j.shares[i].end = int64(to)
	}
	w.start()
	for _, h := range w.helpers[:len(j.shares)-1] {
		h.give(j)
	}
	j.work(0)
	w.done.wait(w.spins, func() bool { return j.left.Load() == 0 })
	if r := j.failed.Load(); r != nil {
		panic(*r)
	}
}

// share returns the tasks of n that a goroutine begins with.
func (w *workers[T]) share(n, goroutine int) (from, to int) {
	shares := max(min(n, len(w.goroutines)), 1)
	return min(goroutine, shares) * n / shares, min(goroutine+1, shares) * n / shares
}

// start starts the helpers, if they do not run.
func (w *workers[T]) start() {
	if w.helpers != nil {
		return
	}
	w.done.init()
	for i := range len(w.goroutines) - 1 {
		h := &helper{}
		h.given.init()
		w.helpers = append(w.helpers, h)
		go h.run(i+1, w.spins)
	}
}

// stop ends the helpers. each must not be called any more.
func (w *workers[T]) stop() {
	for _, h := range w.helpers {
		h.give(&job{})
	}
}

// job is one call of spans.
type job struct {
	run    func(from, to, goroutine int) // nil ends a helper
	shares []share
	left   atomic.Int64 // tasks that are not done
	failed atomic.Pointer[any]
	done   *signal
}

// share is the tasks of a goroutine.
type share struct {
	next atomic.Int64
	end  int64
	_    [48]byte // so that no two are in one cache line
}

// take takes a quarter of the tasks that are left: large ranges at first, and small ones when others may have to wait.
func (s *share) take() (from, to int) {
	for {
		next := s.next.Load()
		if next >= s.end {
			return 0, 0
		}
		if n := (s.end - next + 3) / 4; s.next.CompareAndSwap(next, next+n) {
			return int(next), int(next + n)
		}
	}
}

// work does the tasks of a goroutine, and then those of others.
func (j *job) work(goroutine int) {
	for i := range j.shares {
		s := &j.shares[(goroutine+i)%len(j.shares)]
		for from, to := s.take(); from < to; from, to = s.take() {
			j.do(from, to, goroutine)
		}
	}
}

func (j *job) do(from, to, goroutine int) {
	defer func() {
		if r := recover(); r != nil {
			j.failed.Store(&r)
		}
		if j.left.Add(int64(from-to)) == 0 {
			j.done.notify()
		}
	}()
	j.run(from, to, goroutine)
}

// helper is a goroutine that does parts of jobs.
type helper struct {
	job   atomic.Pointer[job] // the next one
	given signal
}

func (h *helper) give(j *job) {
	h.job.Store(j)
	h.given.notify()
}

func (h *helper) run(goroutine, spins int) {
	debug.SetPanicOnFault(true) // see guard
	for {
		h.given.wait(spins, func() bool { return h.job.Load() != nil })
		j := h.job.Swap(nil)
		if j.run == nil {
			return
		}
		j.work(goroutine)
	}
}

// signal lets one goroutine wait for what others do. It looks for that in a loop before it sleeps, because to wake a
// goroutine takes longer than many a job of a single token.
type signal struct {
	asleep atomic.Bool
	wake   chan struct{}
}

func (s *signal) init() { s.wake = make(chan struct{}, 1) }

// tokenSpins is how often a goroutine looks when a few tokens are computed: for about 20 microseconds, which is longer
// than what one goroutine computes alone between two jobs.
const tokenSpins = 1000

// wait returns once ready returns true.
func (s *signal) wait(spins int, ready func() bool) {
	for range spins {
		if ready() {
			return
		}
		kernel.Pause()
	}
	for !ready() {
		s.asleep.Store(true)
		if ready() && s.asleep.CompareAndSwap(true, false) {
			return
		}
		<-s.wake
	}
}

// notify wakes the goroutine that waits, after that for which it waits has become true.
func (s *signal) notify() {
	if s.asleep.CompareAndSwap(true, false) {
		s.wake <- struct{}{}
	}
}

// grain is the number of elements of an element-wise task.
const grain = 16 << 10

// The time that an element takes for which exp or tanh is computed, by a function of package kernel or of package math,
// compared with an addition.
const (
	functionCost = 8
	mathCost     = 64
)

// ranges divides [0, n) into ranges [from, to) of about grain elements and calls f for each. An index
// stands for width elements.
func (w *workers[T]) ranges(n, width int, f func(from, to int)) {
	size := max(grain/max(width, 1), 1)
	w.each((n+size-1)/size, func(task int, _ *kernel.Scratch[T]) {
		f(task*size, min((task+1)*size, n))
	})
}
