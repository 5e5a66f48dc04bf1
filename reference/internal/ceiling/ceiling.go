// Package ceiling measures what the processor can do at the most, for benchmarks to compare with.
package ceiling

import (
	"math"
	"runtime"
	"time"

	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

//go:generate sh -c "cd ../../kernel/avo && go run ./ceiling -out ../../internal/ceiling/ceiling_amd64.s -stubs ../../internal/ceiling/ceiling_amd64.go -pkg ceiling"

// Multiply computes with float32 in registers on threads goroutines, for about a millisecond, and
// returns the number of operations: a fused multiply-add counts as two. It returns 0 where no loop
// is written for the processor.
func Multiply(threads int) float64 {
	const rounds = 40_000
	return inParallel(threads, func(int) float64 { return multiply(rounds) })
}

// Read loads all of p on threads goroutines and returns the number of bytes: a multiple of 256 for each.
func Read(threads int, p []byte) float64 {
	share := len(p) / threads / 256 * 256
	return inParallel(threads, func(i int) float64 {
		if share == 0 {
			return 0
		}
		return read(p[i*share:][:share])
	})
}

func inParallel(threads int, f func(i int) float64) (total float64) {
	done := make([]float64, threads)
	var group task.Group
	for i := range threads {
		group.Go(func() error { done[i] = f(i); return nil })
	}
	if err := group.Wait(); err != nil {
		panic(err)
	}
	for _, n := range done {
		total += n
	}
	return total
}

// Compare runs work and ceiling in turn for a while and returns the highest rate of each, in what they
// return a second. The highest is what an undisturbed machine does.
func Compare(work, ceiling func() float64) (rate, most float64) {
	runtime.GC()
	for begin, rounds := time.Now(), 0; rounds < 10 || time.Since(begin) < 2*time.Second; rounds++ {
		rate = math.Max(rate, perSecond(work))
		most = math.Max(most, perSecond(ceiling))
	}
	return rate, most
}

func perSecond(f func() float64) float64 {
	begin := time.Now()
	n := f()
	return n / time.Since(begin).Seconds()
}
