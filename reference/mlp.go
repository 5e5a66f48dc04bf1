package reference

// mlp is the gated MLP of a block (section 2.2, figure 2a), for n rows of x:
//
//	out = down(GELU(gate(x)) ⊙ up(x))
//
// A Variant may have another activation than GELU.
func (e *engine[T]) mlp(x []T, n, block int) ([]T, error) {
	width, expanded := e.config.Width, e.config.MLPExpandedWidth
	gate, err := e.linear(x, n, block, MLPGate, width, expanded, true)
	if err != nil {
		return nil, err
	}
	up, err := e.linear(x, n, block, MLPUp, width, expanded, true)
	if err != nil {
		return nil, err
	}
	e.ranges(len(up), functionCost, func(from, to int) { e.multiplyByActivation(e.config.variant().Activation, up[from:to], gate[from:to]) })
	e.give(gate)
	defer e.give(up)
	return e.linear(up, n, block, MLPDown, expanded, width, true)
}
