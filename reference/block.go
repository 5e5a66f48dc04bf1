package reference

// block is residual block i (section 2.1, figure 2a): temporal mixing, recurrent or attention, and then
// an MLP, each of them applied to normalised input and added to the residual stream,
//
//	r = x + temporal(RMSNorm(x))
//	out = r + MLP(RMSNorm(r))
//
// It also returns the output of the temporal mixing.
func (e *engine[T]) block(x []T, b *batch, i int, state *blockState[T], rope *rotation[T]) (out, temporal []T, err error) {
	defer e.dropVectors()
	normed, err := e.rmsNorm(x, i, TemporalNorm)
	if err != nil {
		return nil, nil, err
	}
	if e.config.BlockTypes[i] == Attention {
		temporal, err = e.attention(normed, b, i, state, rope)
	} else {
		temporal, err = e.recurrent(normed, b, i, state)
	}
	if err != nil {
		return nil, nil, err
	}
	e.give(normed)
	residual := e.add(temporal, x)
	if normed, err = e.rmsNorm(residual, i, ChannelNorm); err != nil {
		return nil, nil, err
	}
	channels, err := e.mlp(normed, b.tokens(), i)
	if err != nil {
		return nil, nil, err
	}
	out = e.add(channels, residual)
	e.give(normed, channels, residual)
	return out, temporal, nil
}

// add returns x + y.
func (e *engine[T]) add(x, y []T) []T {
	sum := e.take(len(x))
	e.ranges(len(x), 1, func(from, to int) {
		sum, x, y := sum[from:to], x[from:to], y[from:to]
		for i := range sum {
			sum[i] = e.round(x[i] + y[i])
		}
	})
	return sum
}
