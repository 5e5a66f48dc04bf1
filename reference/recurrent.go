package reference

// recurrent is the temporal mixing of a recurrent block (section 2.3, figure 2b): a branch with the
// recurrence, multiplied by a gate branch,
//
//	y = GELU(linear_y(x)) ⊙ RG-LRU(Conv1D(linear_x(x)))
//	out = linear_out(y)
//
// A Variant may have another activation than GELU.
func (e *engine[T]) recurrent(x []T, b *batch, block int, state *blockState[T]) ([]T, error) {
	width, lru, n := e.config.Width, e.config.LRUWidth, b.tokens()
	gate, err := e.linear(x, n, block, LinearY, width, lru, true)
	if err != nil {
		return nil, err
	}
	in, err := e.linear(x, n, block, LinearX, width, lru, true)
	if err != nil {
		return nil, err
	}
	convolved, err := e.conv1D(in, b, block, state.tail)
	if err != nil {
		return nil, err
	}
	e.give(in)
	if in, err = e.rgLRU(convolved, b, block, state.h); err != nil {
		return nil, err
	}
	e.ranges(len(in), functionCost, func(from, to int) { e.multiplyByActivation(e.config.variant().Activation, in[from:to], gate[from:to]) })
	e.give(convolved, gate)
	defer e.give(in)
	return e.linear(in, n, block, LinearOut, lru, width, true)
}
