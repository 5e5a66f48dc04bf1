package reference

import (
	"context"
	"runtime"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// engine is what every layer computes with.
type engine[T kernel.Float] struct {
	numbers[T]
	workers[T]
	source
	ctx    context.Context
	config *Config
	pieces [2][]byte // weights being read, and being multiplied
}

func newEngine[T kernel.Float](ctx context.Context, m *Model) *engine[T] {
	threads := m.Threads
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	return &engine[T]{numbers: newNumbers[T](m.Arithmetic), workers: workers[T]{make([]kernel.Scratch[T], threads)},
		source: source{m.Weights}, ctx: ctx, config: &m.Config}
}

// linear returns x·W + b for n rows of x: y[r][j] = Σk x[r][k]·W[k][j] + b[j]. In BFloat16 the sum
// is taken in float32 and rounded, then the bias is added and rounded.
func (e *engine[T]) linear(x []T, n, block int, name string, in, out int, biased bool) ([]T, error) {
	p, err := e.get(block, name+Kernel, out, in)
	if err != nil {
		return nil, err
	}
	defer p.done()
	y := make([]T, n*out)
	if err := e.multiply(y, x, n, p, in, out); err != nil {
		return nil, named(block, name+Kernel, err)
	}
	if !biased {
		e.finish(y, out, nil)
		return y, nil
	}
	bias, err := vector[T](e.source, e.bf16, block, name+Bias, out)
	if err != nil {
		return nil, err
	}
	e.finish(y, out, bias)
	return y, nil
}

// finish rounds a product and adds the bias, if there is one.
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

// pieceBytes is about how much of a matrix is in memory at a time (twice: one piece is read while
// the one before it is multiplied).
var pieceBytes = 8 << 20 // a variable for tests

// multiply adds x·W to y, reading W piece by piece: rows of outputs, or rows of inputs, whichever
// way it is stored.
func (e *engine[T]) multiply(y, x []T, n int, p *Parameter, in, out int) error {
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
		here := min(size, rows-first)
		after := first + here
		if after < rows {
			next = e.readAhead(p, after*cols, min(size, rows-after)*cols, after/size%2)
		}
		w := &kernel.Matrix{DType: p.DType, Data: got.data, Rows: here, Cols: cols, Stride: cols, InOut: p.InOut, Narrow: e.bf16}
		if p.InOut {
			e.product(y, out, x[first:], in, n, w)
		} else {
			e.product(y[first:], out, x, in, n, w)
		}
	}
	return nil
}

// piece is some rows of a matrix, as they are stored.
type piece struct {
	data []byte
	err  error
}

// readAhead reads n elements while something else goes on.
func (e *engine[T]) readAhead(p *Parameter, first, n, slot int) <-chan piece {
	c := make(chan piece, 1)
	go func() {
		data, err := p.read(first, n, e.pieces[slot])
		if _, mapped := p.Data.(Bytes); !mapped && err == nil {
			e.pieces[slot] = data
		}
		c <- piece{data, err}
	}()
	return c
}

// product adds x·w to y on all cores.
func (e *engine[T]) product(y []T, ldy int, x []T, ldx, n int, w *kernel.Matrix) {
	width, out := kernel.GroupWidth[T](), w.Out()
	e.each((out+width-1)/width, func(task int, s *kernel.Scratch[T]) {
		kernel.Multiply(y, ldy, x, ldx, n, w, task*width, min((task+1)*width, out), e.order, s)
	})
}
