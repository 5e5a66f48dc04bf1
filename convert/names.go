package convert

// TensorName returns the full name, in the checkpoint's own layout, of the tensor that holds what
// package reference calls a parameter of a block (reference.Outer: of the model itself); "" if there is
// none.
func (m *Model) TensorName(block int, name string) string {
	r := rulesByName[name]
	if r == nil || (r.scope == once) != (block < 0) || block >= len(m.blocks) {
		return ""
	}
	p := parameter{r, -1}
	if block >= 0 {
		p.block = m.blocks[block]
	}
	found := m.found[p.name(m.Layout)]
	if len(found) == 0 {
		return ""
	}
	return found[0].Name
}

// HeadName returns the full name of the tensor that logits are computed with, if it is not the
// embedding; otherwise "".
func (m *Model) HeadName(c *Config) string {
	if h := m.OwnHead(c); h != nil {
		return h.Tensor.Name
	}
	return ""
}
