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
	loader
	ctx    context.Context
	config *Config
	packed kernel.Rows[T] // x of the product that is being computed
	pieces [2][]byte      // buffers for weights: one is read while the other is multiplied
}

func newEngine[T kernel.Float](ctx context.Context, m *Model) *engine[T] {
	threads := m.Threads
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	return &engine[T]{ops: newOps[T](m.Arithmetic), workers: workers[T]{make([]kernel.Scratch[T], threads)},
		loader: loader{m.Weights}, ctx: ctx, config: &m.Config}
}

// linear returns x·W + b for n rows of x: y[r][j] = Σk x[r][k]·W[k][j] + b[j], without b if biased is
// not set. In BFloat16 the sum is taken in float32 and rounded, then the bias is added and the result
// rounded again.
func (e *engine[T]) linear(x []T, n, block int, name string, in, out int, biased bool) ([]T, error) {
	p, err := e.get(block, name+Kernel, out, in)
	if err != nil {
		return nil, err
	}
	defer p.close()
	y := make([]T, n*out)
	if err := e.multiply(y, x, n, p, in, out); err != nil {
		return nil, annotate(block, name+Kernel, err)
	}
	if !biased {
		e.finish(y, out, nil)
		return y, nil
	}
	bias, err := vector[T](e.loader, e.bf16, block, name+Bias, out)
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

// pieceBytes is the approximate size of the pieces in which a matrix is read. Two of them are in
// memory: one is read while the previous one is multiplied. Tests change it.
var pieceBytes = 8 << 20

// multiply adds x·W to y, reading W piece by piece. A piece is a number of stored rows: outputs of W,
// or inputs if p.InOut is set.
func (e *engine[T]) multiply(y, x []T, n int, p *Parameter, in, out int) error {
	e.packed.Reset(n, in, e.order)
	e.each(e.packed.Blocks(), func(block int, s *kernel.Scratch[T]) { e.packed.Pack(x, in, block, s) })
	rows, cols, unit := out, in, kernel.GroupWidth[T]()
	if p.InOut {
		rows, cols, unit = in, out, kernel.BlockTerms
	}
	size := max(pieceBytes/(cols*int(p.DType.Size()))/unit*unit, unit)
	next := e.readAhead(p, 0, min(size, rows)*cols, 0)
	for first := 0; first < rows; first += size {
		got := <-next
		if got.err != nil {
			return got.err
		}
		if err := e.ctx.Err(); err != nil {
			return err
		}
		count := min(size, rows-first)
		if after := first + count; after < rows {
			next = e.readAhead(p, after*cols, min(size, rows-after)*cols, after/size%2)
		}
		w := &kernel.Matrix{DType: p.DType, Data: got.data, Rows: count, Cols: cols, Stride: cols, InOut: p.InOut, Narrow: e.bf16}
		if p.InOut {
			e.product(y, out, n, first, w)
		} else {
			e.product(y[first:], out, n, 0, w)
		}
	}
	return nil
}

// piece is a number of rows of a matrix as they are stored, or the error of reading them.
type piece struct {
	data []byte
	err  error
}

// readAhead reads n elements in the background, into the buffer of that slot unless they are in memory.
func (e *engine[T]) readAhead(p *Parameter, first, n, slot int) <-chan piece {
	c := make(chan piece, 1)
	go func() {
		data, err := p.read(first, n, e.pieces[slot])
		if _, inMemory := p.Data.(Bytes); !inMemory && err == nil {
			e.pieces[slot] = data
		}
		c <- piece{data, err}
	}()
	return c
}

// product adds the product of the packed rows, from their term first on, and w to y on all cores.
func (e *engine[T]) product(y []T, ldy, n, first int, w *kernel.Matrix) {
	out := w.Out()
	width := kernel.TaskWidth[T](n, w, len(e.scratch))
	e.each((out+width-1)/width, func(task int, s *kernel.Scratch[T]) {
		kernel.MultiplyPacked(y, ldy, &e.packed, first, w, task*width, min((task+1)*width, out), s)
	})
}
