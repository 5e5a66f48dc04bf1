package kernel

import "math/rand/v2"

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
