package explain

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// A tensor is pruned if eight elements or more became zero and all others are as they were, apart from the signs of zeros, in one shape and dtype.
func TestExplainPruned(t *testing.T) {
	rng := rand.New(rand.NewPCG(24, 1))
	x := random(rng, tensor.F32, []int64{6, 8})
	long := random(rng, tensor.F32, []int64{pieceElements/2 + 4, 8})
	first := func(n int) func(int) bool { return func(i int) bool { return i >= n } }
	signed := evenZeros(x, math.Copysign(0, -1))
	prunedToo := evenZeros(x, 0).pruned(func(i int) bool { return i%4 != 1 })
	large := random(rng, tensor.F32, []int64{1000})
	other := large.clone()
	for i := 0; i < 1000; i += 2 {
		large.values[i], other.values[i] = math.Copysign(0, -1), 0
	}
	zero := slices.IndexFunc(notSampled(1000, 1000-len(sampleOf(1000))), func(i int64) bool { return i%2 == 0 })
	other.values[notSampled(1000, zero+1)[zero]] = 5
	whole := array{tensor.F32, []int64{1000}, make([]float64, 1000)}
	for i := range whole.values {
		whole.values[i] = float64(i * i % 7)
	}
	negative := func(v float64) float64 {
		if v == 0 || v != v {
			return math.Copysign(v, -1)
		}
		return v
	}
	wholeToo, nans := whole.each(negative), whole.clone()
	wholeToo.values[1], wholeToo.values[3], nans.values[5] = 9, 9, math.NaN()
	ints := random(rng, tensor.I32, []int64{6, 8})
	narrow := x.rounded(tensor.BF16)
	wide := array{tensor.F32, narrow.shape, narrow.values}
	for _, tt := range []struct {
		name string
		a, b array
		want string
	}{
		{"2:4", x, x.pruned(func(i int) bool { return i%4 < 2 }), "pruned (2:4 "},
		{"2:4 of many", long, long.pruned(func(i int) bool { return i%4 < 2 }), "pruned (2:4 "},
		{"1:4", x, x.pruned(func(i int) bool { return i%4 == 3 }), "pruned (1:4 "},
		{"without a pattern", x, x.pruned(first(12)), "pruned ((elements were set to zero"},
		{"eight elements", x, x.pruned(first(8)), "pruned ("},
		{"seven elements", x, x.pruned(first(7)), "other"},
		{"beside zeros of another sign", signed, prunedToo, "pruned ("},
		{"zeros of another sign", signed, evenZeros(x, 0), "zero_signs"},
		{"zeros of another sign, and one that became a number", large, other, "zero_signs, then sparse (1 of 1000 elements: [2])"},
		{"zeros of another sign among small integers, and few that changed", whole, wholeToo, "zero_signs, then sparse (2 of 1000 elements: [1], [3])"},
		{"zeros of another sign among small integers, in another type", whole, wholeToo.rounded(tensor.BF16), "zero_signs, then sparse (2 of 1000 elements: [1], [3])"},
		{"zeros of another sign, and NaN with other bits", nans, nans.each(negative), "other"},
		{"in another shape", x, x.pruned(first(12)).reshaped(48), "other"},
		{"of integers", ints, ints.pruned(first(12)), "other"},
		{"of another type", wide, narrow.pruned(first(12)), "pruned ("},
	} {
		got := explained(t, pairOf("x", tt.a, tt.b))
		if got == "" {
			got = "other"
		}
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %s, not %s", tt.name, got, tt.want)
		}
	}
}

// Of several explanations the first is taken, with all elements compared.
func TestFirstExplanation(t *testing.T) {
	rng := rand.New(rand.NewPCG(24, 2))
	x := random(rng, tensor.F32, []int64{20, 30})
	vector := random(rng, tensor.F32, []int64{1000})
	changed := vector.clone()
	for _, i := range notSampled(1000, 20) {
		changed.values[i]++
	}
	point := array{tensor.F32, []int64{3, 3}, []float64{1, 2, 3, 4, 5, 4, 3, 2, 1}} // as it is upside down
	fill := func(v float64, n int64) array {
		return random(rng, tensor.F32, []int64{n}).each(func(float64) float64 { return v })
	}
	for _, tt := range []struct {
		name string
		a, b array
		want string
	}{
		{"reversed along either axis", point, reverse(1)(rng, point), "reversed (along axis 0)"},
		{"rolled", x, roll(0)(rng, x), "block_permuted (axis 0: indices rolled by 1)"},
		{"transposed", x, transposeOf(x), "transposed"},
		{"transposed, and changed", x, transposeOf(x).touched(rng, 3), "transposed, then sparse (3 of 600 elements"},
		{"2% changed, none of the sample", vector, changed, "other"},
		{"eight elements of one value", random(rng, tensor.F32, []int64{8}), fill(0.25, 8), "zeroed, then added (0.25)"},
		{"seven elements of one value", random(rng, tensor.F32, []int64{7}), fill(0.25, 7), "other"},
		{"rounded", x, x.rounded(tensor.BF16), "rounded (to bfloat16)"},
		{"cut", x, array{tensor.F32, x.shape, cut(rng, x).values}, "truncated (to bfloat16)"},
		{"scaled and rounded", x, through(tensor.BF16)(rng, scale(0.7)(rng, x)), "scaled (by 0.7), then rounded (to bfloat16)"},
		{"added", x, plus(0.5)(rng, x), "added (0.5)"},
	} {
		if got := explained(t, pairOf("x", tt.a, tt.b)); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %s, not %s", tt.name, got, tt.want)
		}
	}
}
