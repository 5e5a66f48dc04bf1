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
	ctx        context.Context
	config     *Config
	weights    Weights
	semantics  Semantics
	blockTerms int // see Arithmetic.blockTerms

	// The parameters that the rest of a pass uses, and what a reader reads of them ahead. Without one, each is read when it
	// is used.
	requests []request
	pieces   <-chan *piece
}

func newEngine[T kernel.Float](ctx context.Context, m *Model) *engine[T] {
	threads := m.Threads
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	memory := takeMemory[T](threads)
	return &engine[T]{ops: newOps[T](m.Arithmetic), workers: workers[T]{goroutines: memory.scratch[:threads]}, memory: memory,
		ctx: ctx, config: &m.Config, weights: m.Weights, semantics: m.Semantics, blockTerms: m.Arithmetic.blockTerms()}
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
			if bias != nil {
				e.addTo(row, bias)
				continue
			}
			for j := range row {
				row[j] = e.round(row[j])
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
	if rows, ok := any(&e.packed).(*kernel.Rows[float32]); ok && e.fast {
		kernel.ResetPairs(rows, n, in)
	} else {
		e.packed.Reset(n, in, e.order)
	}
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
	next := e.nextMatrix()
	for first := 0; first < rows; {
		p, err := o.next(e.ctx)
		if err != nil {
			return err
		}
		count := len(p.data) / int(o.DType.Size()) / cols
		w := &kernel.Matrix{DType: o.DType, Data: p.data, Rows: count, Cols: cols, Stride: cols, InOut: o.InOut, Narrow: e.bf16}
		ahead := next
		if len(o.rest) > 0 {
			ahead = &kernel.Matrix{DType: o.DType, Data: o.rest, Rows: len(o.rest) / int(o.DType.Size()) / cols, Cols: cols, Stride: cols, InOut: o.InOut}
		}
		if o.InOut {
			e.product(y, out, n, first, w, ahead)
		} else {
			e.product(y[first:], out, n, 0, w, ahead)
		}
		p.done()
		first += count
	}
	return nil
}

// product adds the product of the packed rows, from their term first on, and w to y on all cores. next, if not nil, is what they
// are going to multiply then.
func (e *engine[T]) product(y []T, ldy, n, first int, w, next *kernel.Matrix) {
	out := w.Out()
	width := kernel.TaskWidth[T](n, w, e.threads())
	tasks := (out + width - 1) / width
	e.spans(tasks, func(from, to, goroutine int) {
		s := &e.goroutines[goroutine]
		if _, end := e.share(tasks, goroutine); next != nil && to == end {
			pairs := (next.Rows + width - 1) / width
			row, _ := e.share(pairs, goroutine)
			s.Ahead = next.Data[min(row*width*next.Stride*int(next.DType.Size()), len(next.Data)):]
		}
		kernel.MultiplyPacked(y, ldy, &e.packed, first, w, from*width, min(to*width, out), s)
		s.Ahead = nil
	})
}

// nextMatrix returns the matrix that the pass uses next, if a few tokens are computed and it is in memory as [out, in].
func (e *engine[T]) nextMatrix() *kernel.Matrix {
	if e.spins == 0 {
		return nil
	}
	for _, r := range e.requests {
		if r.whole {
			continue
		}
		p, err := e.weights.Parameter(r.block, r.name)
		if err != nil {
			return nil // that is reported when it is used
		}
		defer p.close()
		data, ok := p.Data.(Bytes)
		if !ok || p.InOut {
			return nil
		}
		return &kernel.Matrix{DType: p.DType, Data: data, Rows: r.shape[0], Cols: r.shape[1], Stride: r.shape[1]}
	}
	return nil
}
