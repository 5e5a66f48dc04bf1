package reference

// block is one residual block (section 2.1, figure 2a): a temporal half, recurrent or attention, and
// a channel half, each on normalised input and added to the residual stream,
//
//	r = x + temporal(RMSNorm(x))
//	out = r + MLP(RMSNorm(r))
//
// It also returns the output of the temporal half, before it is added.
func (e *engine[T]) block(x []T, p *pass, i int, state *blockState[T], turn *rotation[T]) (out, temporal []T, err error) {
	normed, err := e.rmsNorm(x, i, TemporalNorm)
	if err != nil {
		return nil, nil, err
	}
	if e.config.BlockTypes[i] == Attention {
		temporal, err = e.attention(normed, p, i, state, turn)
	} else {
		temporal, err = e.recurrent(normed, p, i, state)
	}
	if err != nil {
		return nil, nil, err
	}
	residual := e.add(temporal, x)
	if normed, err = e.rmsNorm(residual, i, ChannelNorm); err != nil {
		return nil, nil, err
	}
	if out, err = e.mlp(normed, p.tokens(), i); err != nil {
		return nil, nil, err
	}
	return e.add(out, residual), temporal, nil
}

// add returns x + y.
func (e *engine[T]) add(x, y []T) []T {
	sum := make([]T, len(x))
	for i := range x {
		sum[i] = e.round(x[i] + y[i])
	}
	return sum
}
