package reference

import (
	"context"
	"runtime"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// engine computes one pass. Each layer is a method of it.
type engine[T kernel.Float] struct {
	ops[T]
	workers[T]
	*memory[T]
	ctx       context.Context
	config    *Config
	weights   Weights
	semantics Semantics

	// What a reader reads ahead, and which parameters those are. Without one, each is read when it is used.
	pieces   <-chan *piece
	requests []request
}

func newEngine[T kernel.Float](ctx context.Context, m *Model) *engine[T] {
	threads := m.Threads
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	memory := takeMemory[T](threads)
	return &engine[T]{ops: newOps[T](m.Arithmetic), workers: workers[T]{goroutines: memory.scratch[:threads]}, memory: memory,
		ctx: ctx, config: &m.Config, weights: m.Weights, semantics: m.Semantics}
}

// linear returns x·W + b for n rows of x: y[r][j] = Σk x[r][k]·W[k][j] + b[j], without b if biased is
// not set. In BFloat16 the sum is taken in float32 and rounded, then the bias is added and the result
// rounded again.
func (e *engine[T]) linear(x []T, n, block int, name string, in, out int, biased bool) ([]T, error) {
	y := e.take(n * out)
	if err := e.multiply(y, x, n, block, name+Kernel, in, out); err != nil {
		return nil, err
	}
	if !biased {
		e.finish(y, out, nil)
		return y, nil
	}
	bias, err := e.vector(block, name+Bias, out)
	if err != nil {
		return nil, err
	}
	e.finish(y, out, bias)
	return y, nil
}

// finish rounds the rows y of a product and adds the bias, which may be nil.
func (e *engine[T]) finish(y []T, out int, bias []T) {
	if bias == nil && !e.bf16 {
		return
	}
	e.ranges(len(y)/out, out, func(from, to int) {
		for r := from; r < to; r++ {
			row := y[r*out:][:out]
			if !e.bf16 {
				for j, b := range bias {
					row[j] += b
				}
				continue
			}
			for j := range row {
				if bias == nil {
					row[j] = e.round(row[j])
				} else {
					row[j] = e.round(e.step(row[j]) + bias[j])
				}
			}
		}
	})
}

// multiply adds x·W to y for n rows of x, piece by piece of W. A piece is a number of stored rows: outputs
// of W, or inputs if it is stored so.
func (e *engine[T]) multiply(y, x []T, n, block int, name string, in, out int) error {
	o, err := e.open(request{block, name, []int{out, in}, false})
	if err != nil {
		return err
	}
	defer o.close()
	e.packRows(x, n, in)
	return e.multiplyPieces(y, n, o, in, out)
}

// packRows packs n rows of x for a product.
func (e *engine[T]) packRows(x []T, n, in int) {
	e.packed.Reset(n, in, e.order)
	if n == 1 { // too little for several goroutines
		for block := range e.packed.Blocks() {
			e.packed.Pack(x, in, block, &e.goroutines[0])
		}
		return
	}
	e.each(e.packed.Blocks(), func(block int, s *kernel.Scratch[T]) { e.packed.Pack(x, in, block, s) })
}

// multiplyPieces adds the product of the packed rows and the next outputs of o to y, until there are out of them.
func (e *engine[T]) multiplyPieces(y []T, n int, o *operand, in, out int) error {
	rows, cols := out, in
	if o.InOut {
		rows, cols = in, out
	}
	for first := 0; first < rows; {
		p, err := o.next(e.ctx)
		if err != nil {
			return err
		}
		count := len(p.data) / int(o.DType.Size()) / cols
		w := &kernel.Matrix{DType: o.DType, Data: p.data, Rows: count, Cols: cols, Stride: cols, InOut: o.InOut, Narrow: e.bf16}
		if o.InOut {
			e.product(y, out, n, first, w)
		} else {
			e.product(y[first:], out, n, 0, w)
		}
		p.done()
		first += count
	}
	return nil
}

// product adds the product of the packed rows, from their term first on, and w to y on all cores.
func (e *engine[T]) product(y []T, ldy, n, first int, w *kernel.Matrix) {
	out := w.Out()
	width := kernel.TaskWidth[T](n, w, e.threads())
	e.spans((out+width-1)/width, func(from, to int, s *kernel.Scratch[T]) {
		kernel.MultiplyPacked(y, ldy, &e.packed, first, w, from*width, min(to*width, out), s)
	})
}
