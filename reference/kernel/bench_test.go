package kernel

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference/internal/ceiling"
)

// shareOut runs tasks on a goroutine for each scratch memory.
func shareOut[T Float](tasks int, scratch []Scratch[T], f func(task int, s *Scratch[T])) {
	var next atomic.Int64
	var wait sync.WaitGroup
	for i := range scratch {
		wait.Go(func() {
			for task := int(next.Add(1)) - 1; task < tasks; task = int(next.Add(1)) - 1 {
				f(task, &scratch[i])
			}
		})
	}
	wait.Wait()
}

func packInTasks[T Float](rows *Rows[T], x []T, n, in int, scratch []Scratch[T]) {
	rows.Reset(n, in, nil)
	shareOut(rows.Blocks(), scratch, func(block int, s *Scratch[T]) { rows.Pack(x, in, block, s) })
}

// inTasks multiplies in tasks of that many outputs.
func inTasks[T Float](y []T, rows *Rows[T], w *Matrix, width int, scratch []Scratch[T]) {
	shareOut((w.Out()+width-1)/width, scratch, func(task int, s *Scratch[T]) {
		MultiplyPacked(y, w.Out(), rows, 0, w, task*width, min((task+1)*width, w.Out()), s)
	})
}

// BenchmarkMultiply multiplies 128 and 512 tokens by a matrix of 2B, packing the tokens once, and reports the
// share of what fused multiply-adds in registers reach on the same cores.
func BenchmarkMultiply(b *testing.B) {
	const in, out = 2560, 1024
	data := make([]byte, in*out*4)
	for i := range data {
		data[i] = byte(i * 7 % 61)
	}
	for _, threads := range []int{1, runtime.GOMAXPROCS(0)} {
		for _, n := range []int{128, 512} {
			for _, dtype := range []tensor.DType{tensor.BF16, tensor.F16, tensor.F32} {
				for _, inOut := range []bool{false, true} {
					w := &Matrix{DType: dtype, Data: data, Rows: out, Cols: in, Stride: in, InOut: inOut}
					name := fmt.Sprintf("threads=%d/tokens=%d/%s/inout=%v", threads, n, dtype, inOut)
					b.Run(name+"/float32", func(b *testing.B) { benchmarkMultiply[float32](b, w, n, threads) })
					b.Run(name+"/pairs", func(b *testing.B) { benchmarkPairs(b, w, n, threads) })
					if dtype == tensor.BF16 {
						b.Run(name+"/float64", func(b *testing.B) { benchmarkMultiply[float64](b, w, n, threads) })
					}
				}
			}
		}
	}
}

func benchmarkMultiply[T Float](b *testing.B, w *Matrix, n, threads int) {
	x, y := make([]T, n*w.In()), make([]T, n*w.Out())
	for i := range x {
		x[i] = T(i % 13)
	}
	scratch := make([]Scratch[T], threads)
	var rows Rows[T]
	for range b.N {
	}
	rate, most := ceiling.Compare(func() float64 {
		packInTasks(&rows, x, n, w.In(), scratch)
		inTasks(y, &rows, w, TaskWidth[T](n, w, threads), scratch)
		return 2 * float64(n) * float64(w.In()) * float64(w.Out())
	}, func() float64 { return ceiling.Multiply(threads) })
	if PanelWidth[T]() == PanelWidth[float64]() {
		most /= 2
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rate/1e9, "GFLOP/s")
	b.ReportMetric(rate/most, "of-ceiling")
}

// benchmarkPairs reports how much faster than in float32 the same product is in bfloat16.
func benchmarkPairs(b *testing.B, w *Matrix, n, threads int) {
	x, y := make([]float32, n*w.In()), make([]float32, n*w.Out())
	for i := range x {
		x[i] = float32(i % 13)
	}
	scratch := make([]Scratch[float32], threads)
	product := func(rows *Rows[float32], reset func()) func() float64 {
		return func() float64 {
			reset()
			shareOut(rows.Blocks(), scratch, func(block int, s *Scratch[float32]) { rows.Pack(x, w.In(), block, s) })
			inTasks(y, rows, w, TaskWidth[float32](n, w, threads), scratch)
			return 1
		}
	}
	var plain, pairs Rows[float32]
	for range b.N {
	}
	rate, float32Rate := ceiling.Compare(product(&pairs, func() { ResetPairs(&pairs, n, w.In()) }), product(&plain, func() { plain.Reset(n, w.In(), nil) }))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rate/float32Rate, "of-float32")
}

// BenchmarkDecode multiplies one token, and a batch of four, by matrices that are together too large for the
// caches, and reports the share of what loading all of their bytes reaches on the same cores.
func BenchmarkDecode(b *testing.B) {
	const in, out, matrices = 2560, 2560, 40
	const size = in * out * 2
	data := make([]byte, matrices*size)
	for i := range data {
		data[i] = byte(i * 7 % 61)
	}
	at := 0
	next := func() []byte { at++; return data[at%matrices*size:][:size] }
	for _, threads := range []int{1, runtime.GOMAXPROCS(0)} {
		for _, n := range []int{1, 4} {
			for _, inOut := range []bool{false, true} {
				w := &Matrix{DType: tensor.BF16, Rows: out, Cols: in, Stride: in, InOut: inOut}
				b.Run(fmt.Sprintf("threads=%d/rows=%d/inout=%v", threads, n, inOut), func(b *testing.B) {
					x, y := make([]float32, n*in), make([]float32, n*out)
					scratch := make([]Scratch[float32], threads)
					var rows Rows[float32]
					packInTasks(&rows, x, n, in, scratch)
					for range b.N {
					}
					rate, most := ceiling.Compare(func() float64 {
						w.Data = next()
						inTasks(y, &rows, w, TaskWidth[float32](n, w, threads), scratch)
						return size
					}, func() float64 { return ceiling.Read(threads, next()) })
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(rate/1e9, "GB/s")
					b.ReportMetric(rate/most, "of-ceiling")
				})
			}
		}
	}
}
