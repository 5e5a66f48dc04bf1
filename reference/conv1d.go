package reference

// conv1D is the causal convolution of each channel over time (section 2.4, "Conv1D"), of four taps or as many as
// a Variant has:
//
//	y_t = Σ s=0…3 x_(t−s) · w[3−s] + b
//
// Tokens that the mask hides, those before the start of the row or document, count as zero. tail holds
// the last inputs of each row, as many as there are taps but one, oldest first, and is updated.
func (e *engine[T]) conv1D(x []T, b *batch, block int, tail []T) ([]T, error) {
	width, convTaps := e.config.LRUWidth, e.config.ConvTaps()
	w, err := e.convKernel(block, width)
	if err != nil {
		return nil, err
	}
	bias, err := e.vector(block, Conv1D+Bias, width)
	if err != nil {
		return nil, err
	}
	earlier := func(i, shift int) []T { // the input shift tokens before token i
		t, r := i%b.length-shift, i/b.length
		if t < 0 {
			return tail[(r*(convTaps-1)+convTaps-1+t)*width:][:width]
		}
		return x[(r*b.length+t)*width:][:width]
	}
	y := e.take(len(x))
	e.ranges(len(x)/width, width, func(from, to int) {
		for i := from; i < to; i++ {
			out := y[i*width:][:width]
			for shift := range b.mask.taps[i] + 1 {
				in, taps := earlier(i, shift), w[convTaps-1-shift]
				e.addProduct(out, in, taps)
			}
			e.addTo(out, bias)
		}
	})
	updateTail(tail, x, b.length, convTaps-1, width)
	return y, nil
}

// convKernel returns the taps of all channels as [taps][width].
func (e *engine[T]) convKernel(block, width int) ([][]T, error) {
	convTaps := e.config.ConvTaps()
	w := make([][]T, convTaps)
	all, p, err := e.elements(block, Conv1D+Kernel, width, convTaps)
	if err != nil {
		return w, err
	}
	step, next := convTaps, 1
	if p.InOut {
		step, next = 1, width
	}
	for tap := range w {
		w[tap] = e.memory.vector(width)
		for c := range width {
			w[tap][c] = all[c*step+tap*next]
		}
	}
	return w, nil
}

// updateTail replaces the last kept inputs of each row, given the inputs x of a pass.
func updateTail[T any](tail, x []T, length, kept, width int) {
	keep := kept * width
	if keep == 0 {
		return
	}
	for r := range len(tail) / keep {
		t, in := tail[r*keep:][:keep], x[r*length*width:][:length*width]
		if len(in) >= keep {
			copy(t, in[len(in)-keep:])
			continue
		}
		copy(t, t[len(in):])
		copy(t[keep-len(in):], in)
	}
}
