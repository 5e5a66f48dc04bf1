package explain

import (
	"context"
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// maxStacked is how many matrices a tensor may stack: the blocks of a gate of the 9B model.
const maxStacked = 16

// stacked explains a tensor that stacks matrices along its first axis, which other layouts hold apart: those of an MLP that were
// changed by matrices of small rank, or were not changed. It returns nothing if that does not hold for all of them.
func stacked(ctx context.Context, a, b *tensor.Tensor) ([]Explanation, error) {
	if len(b.Shape) != 3 || b.Shape[0] < 2 || b.Shape[0] > maxStacked || !slices.Equal(a.Shape, b.Shape) || !isFloat(a.DType) || !isFloat(b.DType) {
		return nil, nil
	}
	var all []Explanation
	ranks := make([]int, b.Shape[0])
	for i := range ranks {
		var parts [2]*tensor.Tensor
		for k, t := range []*tensor.Tensor{a, b} {
			var err error
			if parts[k], err = tensor.Viewed(t, tensor.RowMajor(t.Shape...).Index(0, int64(i))); err != nil {
				return nil, err
			}
		}
		steps, same, err := onlyLowRank(ctx, parts[0], parts[1])
		switch {
		case err != nil:
			return nil, err
		case same:
			continue
		case steps == nil || all != nil && chain(all[1:]).String() != chain(steps[1:]).String():
			return nil, nil
		case all == nil:
			all = steps
		}
		ranks[i] = steps[0].Rank
		all[0].Energy = min(all[0].Energy, steps[0].Energy)
	}
	if all != nil {
		all[0].Rank, all[0].Ranks = slices.Max(ranks), ranks
		all[0].Detail = fmt.Sprintf("%s, %.4g%% of the energy", all[0].RankWords(), 100*all[0].Energy)
	}
	return all, nil
}

// onlyLowRank explains a matrix by LowRank, and the rounding that may follow it. same reports that it was not changed. A few elements that were
// changed would also be of low rank, and are not taken for it.
func onlyLowRank(ctx context.Context, a, b *tensor.Tensor) (steps []Explanation, same bool, err error) {
	s, err := newSearch(ctx, a, b, nil, 2)
	if err != nil {
		return nil, false, err
	}
	m := identity(a.Shape)
	rest, err := s.check([]*claim{{order: m}})
	if err != nil || rest[0].n <= a.Elements()/sparseShare {
		return nil, err == nil && rest[0].n == 0, err
	}
	s.lowRank(m)
	steps, err = tryAll(s)
	if slices.ContainsFunc(steps, func(e Explanation) bool { return e.Kind == Sparse }) {
		steps = nil // its elements would be those of the matrix
	}
	return steps, false, err
}
