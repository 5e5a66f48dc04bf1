package reference

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// TestWorkers: every task is done once, by goroutines that sleep in between and by those that do not, more of them
// than processors, and jobs follow one another.
func TestWorkers(t *testing.T) {
	for _, goroutines := range []int{1, 2, 3, 9} {
		for _, spins := range []int{0, 1, tokenSpins} {
			w := workers[float32]{goroutines: make([]kernel.Scratch[float32], goroutines), spins: spins}
			for round := range 200 {
				n := round % 40
				done := make([]atomic.Int32, n)
				w.each(n, func(task int, s *kernel.Scratch[float32]) {
					done[task].Add(1)
					if round%50 == 13 && task%7 == 0 {
						time.Sleep(time.Millisecond) // long enough for the others to sleep
					}
				})
				for task := range done {
					if got := done[task].Load(); got != 1 {
						t.Fatalf("%d goroutines, %d spins: task %d of %d was done %d times", goroutines, spins, task, n, got)
					}
				}
			}
			w.stop()
		}
	}
}

// TestWorkersPanic: a panic of any task is one of each, after all others are done, and the goroutines go on.
func TestWorkersPanic(t *testing.T) {
	const n = 20
	for goroutines := 2; goroutines <= 3; goroutines++ {
		w := workers[float32]{goroutines: make([]kernel.Scratch[float32], goroutines), spins: 10}
		defer w.stop()
		for bad := range n {
			var left atomic.Int32
			left.Store(n)
			got := func() (r any) {
				defer func() { r = recover() }()
				w.spans(n, func(from, to, _ int) {
					left.Add(int32(from - to))
					if from <= bad && bad < to {
						panic(fmt.Sprint("task ", bad))
					}
				})
				return nil
			}()
			if got != fmt.Sprint("task ", bad) || left.Load() != 0 {
				t.Errorf("%v, %d tasks are left", got, left.Load())
			}
		}
	}
}
