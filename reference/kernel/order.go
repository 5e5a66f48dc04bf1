package kernel

import "math/rand/v2"

// Order changes the order of summation in a product, to measure its effect on rounding. The terms of
// each block of BlockTerms are taken in the order of Terms. Each Split of them are summed from zero,
// and their sum is added to the element. A nil *Order is the plain order.
type Order struct {
	Terms [BlockTerms]uint16 // a permutation of the terms of a block
	Split int                // number of terms that are summed separately, a divisor of BlockTerms
}

// SeededOrder returns an order that depends only on the seed: a random permutation of the terms of a
// block, of which 32, 64, 128 or 256 are summed separately, as in the libraries that the original
// implementations use. Seed 0 gives the plain order, nil.
func SeededOrder(seed uint64) *Order {
	if seed == 0 {
		return nil
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	order := &Order{Split: 32 << rng.IntN(4)}
	for i, k := range rng.Perm(BlockTerms) {
		order.Terms[i] = uint16(k)
	}
	return order
}
