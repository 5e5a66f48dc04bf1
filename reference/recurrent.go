package reference

// recurrent is the temporal half of a recurrent block (section 2.3, figure 2b): two branches, of
// which one remembers and the other gates it,
//
//	y = GELU(linear_y(x)) ⊙ RG-LRU(Conv1D(linear_x(x)))
//	out = linear_out(y)
func (e *engine[T]) recurrent(x []T, p *pass, block int, state *blockState[T]) ([]T, error) {
	width, lru, n := e.config.Width, e.config.LRUWidth, p.tokens()
	gate, err := e.linear(x, n, block, LinearY, width, lru, true)
	if err != nil {
		return nil, err
	}
	in, err := e.linear(x, n, block, LinearX, width, lru, true)
	if err != nil {
		return nil, err
	}
	if in, err = e.conv1D(in, p, block, state.tail); err != nil {
		return nil, err
	}
	if in, err = e.rgLRU(in, p, block, state.h); err != nil {
		return nil, err
	}
	e.ranges(len(in), 1, func(from, to int) {
		for i := from; i < to; i++ {
			in[i] = e.round(in[i] * e.gelu(gate[i]))
		}
	})
	return e.linear(in, n, block, LinearOut, lru, width, true)
}
