package explain

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// stack returns matrices as one tensor.
func stack(matrices ...array) array {
	x := array{dtype: matrices[0].dtype, shape: append([]int64{int64(len(matrices))}, matrices[0].shape...)}
	for _, m := range matrices {
		x.values = append(x.values, m.values...)
	}
	return x
}

// Matrices that a tensor stacks are judged one by one: all of those that were changed must have been by a matrix of small rank.
func TestExplainStackedMatrices(t *testing.T) {
	rng := rand.New(rand.NewPCG(*suiteSeed, 12))
	for _, d := range []tensor.DType{tensor.F32, tensor.BF16} {
		x := func() array { return weights(rng, d, 96, 160) }
		low := func(rank int) func(array) array {
			return func(x array) array { return x.merged(rng, rank, 5e-2) }
		}
		same := func(x array) array { return x }
		noise := func(x array) array { return x.each(func(v float64) float64 { return v + 1e-2*rng.NormFloat64() }) }
		few := func(x array) array {
			x = x.clone()
			x.values[7] += 1
			return x.rounded(d)
		}
		coarse := func(x array) array { // which loses bits of low rank
			x = x.merged(rng, 2, 5e-2)
			return array{tensor.BF16, x.shape, x.values}.rounded(tensor.BF16)
		}
		lowAndFew := func(x array) array {
			y := x.merged(rng, 2, 1e-3)
			for i := 0; i < len(y.values); i += 150 {
				y.values[i] += 4 * numberFormats[d].step(y.values[i])
			}
			return y.rounded(d)
		}
		for _, tt := range []struct {
			name string
			do   []func(array) array
			want string // the beginning of the line, or its kinds
		}{
			{"all", []func(array) array{low(2), low(2)}, "low_rank (rank 2 at each of the 2 indices of axis 0, "},
			{"several ranks", []func(array) array{low(1), low(4), low(3)}, "low_rank (rank up to 4 at each of the 3 indices of axis 0, "},
			{"one", []func(array) array{same, low(3)}, "low_rank (rank 3 at index 1 of axis 0, "},
			{"two of three", []func(array) array{low(2), same, low(2)}, "low_rank (rank 2 at 2 of the 3 indices of axis 0, "},
			{"noise", []func(array) array{low(2), noise}, "other"},
			{"few elements", []func(array) array{low(2), few}, "other"},
			{"low rank and few elements", []func(array) array{lowAndFew, same}, "other"},
			{"one that is narrower", []func(array) array{low(2), coarse}, map[tensor.DType]string{tensor.F32: "other", tensor.BF16: "low_rank (rank 2 at each"}[d]},
			{"all that are narrower", []func(array) array{coarse, coarse}, "low_rank (rank 2 at each"},
		} {
			var before, after []array
			for _, do := range tt.do {
				before = append(before, x())
				after = append(after, do(before[len(before)-1]))
				after[len(after)-1].dtype = d
			}
			var pair checkpointPair
			pair.add("x", stack(before...), stack(after...))
			if got := pair.explanations(t)["x"]; !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s, %s: %s, want %s", d, tt.name, got, tt.want)
			}
		}
	}
}
