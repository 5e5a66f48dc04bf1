package kernel

import "math/rand/v2"

// SeededOrder returns another order than the plain one, the same for the same seed: the terms of a
// block shuffled, and 32, 64, 128 or 256 of them summed by themselves, which is in the range of
// what the libraries under the original implementations do. Seed 0 is the plain order, nil.
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
