package diff

// pair is a tensor of A and its counterpart in B. One of them is nil where there is none.
type pair struct {
	name string // in the layout in which it is compared
	a, b *Operand

	// diff is the entry of the result. Status and Metrics are those of the comparison, which has been
	// made before anything is explained.
	diff *TensorDiff
}

// pairs are all of them, in the order of the checkpoints. Every operand of either side is in one.
type pairs struct {
	all    []*pair
	byName map[string]*pair
}
