package reference

import "github.com/griffin-ckpt/griffin/reference/kernel"

// rgLRU is the real-gated linear recurrent unit (section 2.4, equations 1 to 4). All products except
// W·x are element-wise:
//
//	r_t = σ(W_a·x_t + b_a)                      the recurrence gate (AGate)
//	i_t = σ(W_x·x_t + b_x)                      the input gate
//	log a_t = −8 · r_t · softplus(a_param)      that is, a_t = a^(8·r_t) with a = σ(−a_param)
//	h_t = a_t·h_(t−1) + sqrt(1 − a_t²)·(i_t·x_t)
//
// At position 0 the state is reset and the input is not scaled: h_t = i_t·x_t. The recurrence runs in
// float32 (in float64 if the precision is Float64). state holds h of each row and is updated.
func (e *engine[T]) rgLRU(x []T, b *batch, block int, state []T) ([]T, error) {
	width := e.config.LRUWidth
	aParam, err := e.vector(block, AParam, width)
	if err != nil {
		return nil, err
	}
	e.ranges(width, mathCost, func(from, to int) {
		for c := from; c < to; c++ {
			aParam[c] = e.softplus(aParam[c])
		}
	})
	inputGate, err := e.gate(x, block, InputGate)
	if err != nil {
		return nil, err
	}
	aGate, err := e.gate(x, block, AGate)
	if err != nil {
		return nil, err
	}
	minus8, y := e.constant(-8), inputGate // y overwrites each value of the input gate after its only use
	e.ranges(width, functionCost*len(x)/width, func(from, to int) {
		a, square := make([]T, to-from), make([]T, to-from)
		for i := range len(x) / width {
			at := i*width + from
			h, x, y, aGate, aParam := state[i/b.length*width+from:][:len(a)], x[at:], y[at:], aGate[at:], aParam[from:]
			for c := range a {
				a[c] = e.step(e.step(minus8*aGate[c]) * aParam[c])
				square[c] = 2 * a[c]
			}
			expAll(a)
			expAll(square)
			for c := range a {
				in, a := e.step(x[c]*y[c]), e.step(a[c])
				if b.mask.reset[i] {
					a = 0
				} else {
					in = e.round(in * e.step(sqrt(e.step(1-e.step(square[c])))))
				}
				h[c] = T(a*h[c]) + in
				y[c] = e.round(h[c])
			}
		}
	})
	e.give(aGate)
	return y, nil
}

// gate returns σ(W·x + b) for a block-diagonal W: each head has its own channels and a matrix [in, out]
// for them.
func (e *engine[T]) gate(x []T, block int, name string) ([]T, error) {
	width, heads := e.config.LRUWidth, e.config.NumHeads
	size, n := width/heads, len(x)/width
	o, err := e.open(request{block, name + Kernel, []int{heads, size, size}, true})
	if err != nil {
		return nil, err
	}
	defer o.close()
	raw, err := o.next(e.ctx)
	if err != nil {
		return nil, err
	}
	y := e.take(len(x))
	head := size * size * int(o.DType.Size())
	e.each(heads, func(h int, s *kernel.Scratch[T]) {
		w := &kernel.Matrix{DType: o.DType, Data: raw.data[h*head:][:head], Rows: size, Cols: size, Stride: size,
			InOut: true, Narrow: e.bf16}
		kernel.Multiply(y[h*size:], width, x[h*size:], width, n, w, 0, size, e.order, s)
	})
	raw.done()
	bias, err := e.vector(block, name+Bias, width)
	if err != nil {
		return nil, err
	}
	e.ranges(n, width, func(from, to int) {
		for i := from; i < to; i++ {
			row := y[i*width:][:width]
			e.addTo(row, bias)
			e.sigmoid(row)
		}
	})
	return y, nil
}
