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
	for c := range aParam {
		aParam[c] = e.softplus(aParam[c])
	}
	inputGate, err := e.gate(x, block, InputGate)
	if err != nil {
		return nil, err
	}
	aGate, err := e.gate(x, block, AGate)
	if err != nil {
		return nil, err
	}
	minus8, y := e.constant(-8), inputGate // y overwrites each gate value after its only use
	e.ranges(width, len(x)/width, func(from, to int) {
		for i := range len(x) / width {
			h := state[i/b.length*width:][:width]
			for c := from; c < to; c++ {
				at := i*width + c
				logA := e.step(e.step(minus8*aGate[at]) * aParam[c])
				in := e.step(x[at] * inputGate[at])
				a := e.step(exp(logA))
				if b.mask.reset[i] {
					a = 0
				} else {
					in = e.round(in * e.step(sqrt(e.step(1-e.step(exp(2*logA))))))
				}
				h[c] = T(a*h[c]) + in
				y[at] = e.round(h[c])
			}
		}
	})
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
	y := make([]T, len(x))
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
			for c := range width {
				y[i*width+c] = e.sigmoid(e.round(e.step(y[i*width+c]) + bias[c]))
			}
		}
	})
	return y, nil
}
