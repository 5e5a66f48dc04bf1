package reference

import (
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// workers distributes work over goroutines. Each element of a result is computed by one goroutine, so
// that no result depends on their number.
type workers[T kernel.Float] struct {
	goroutines []kernel.Scratch[T] // the buffers of each
}

// threads returns the number of goroutines.
func (w *workers[T]) threads() int { return len(w.goroutines) }

// each calls f for every task in [0, n), as many at a time as there are goroutines. It panics if f does.
func (w *workers[T]) each(n int, f func(task int, s *kernel.Scratch[T])) {
	if n <= 1 || len(w.goroutines) == 1 {
		for task := range n {
			f(task, &w.goroutines[0])
		}
		return
	}
	var next atomic.Int64
	var wait sync.WaitGroup
	var failed atomic.Pointer[any]
	for i := range min(n, len(w.goroutines)) {
		wait.Go(func() {
			debug.SetPanicOnFault(true) // see guard
			defer func() {
				if r := recover(); r != nil {
					failed.Store(&r)
				}
			}()
			for task := int(next.Add(1)) - 1; task < n; task = int(next.Add(1)) - 1 {
				f(task, &w.goroutines[i])
			}
		})
	}
	wait.Wait()
	if r := failed.Load(); r != nil {
		panic(*r)
	}
}

// grain is the number of elements of an element-wise task.
const grain = 16 << 10

// ranges divides [0, n) into ranges [from, to) of about grain elements and calls f for each. An index
// stands for width elements.
func (w *workers[T]) ranges(n, width int, f func(from, to int)) {
	size := max(grain/max(width, 1), 1)
	w.each((n+size-1)/size, func(task int, _ *kernel.Scratch[T]) {
		f(task*size, min((task+1)*size, n))
	})
}
