package diff

import (
	"context"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

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

	explained explained // what explanations have in common
}

// view returns the operand in another order: element i of the result, in row-major order, is the one
// that v shows, of the operand's own row-major elements. See Operand for what reading it costs.
func (o *Operand) view(v tensor.View) (*Operand, error) {
	t, err := convert.Viewed(o.Tensor, v)
	if err != nil {
		return nil, err
	}
	return &Operand{Tensor: t, Stored: o.Stored}, nil
}

// explainer finds what was done to A's tensor of a pair to make B's. It is called for pairs of status
// Differs, of status DType if values differ, and of status Shape if both have as many elements, from several
// goroutines, after all pairs have been compared. nil says that there is nothing to say (as for a pair that was not compared).
type explainer func(ctx context.Context, p *pair, all *pairs) (*Explanation, error)

var _ explainer = explain
