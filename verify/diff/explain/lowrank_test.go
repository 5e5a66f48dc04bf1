package explain

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// weights returns a matrix of values as in a model.
func weights(rng *rand.Rand, d tensor.DType, rows, cols int64) array {
	x := random(rng, tensor.F64, []int64{rows, cols})
	return array{d, x.shape, x.each(func(v float64) float64 { return 0.02 * v }).values}.rounded(d)
}

// merged returns x plus a product of thin matrices, whose elements are about of a size, rounded once.
func (x array) merged(rng *rand.Rand, rank int, size float64) array {
	x = x.clone()
	rows, cols := int(x.shape[0]), int(x.shape[1])
	left, right := randomOf(rng, rows*rank), randomOf(rng, rank*cols)
	for i := range x.values {
		sum := 0.0
		for k := range rank {
			sum += left[i/cols*rank+k] * right[k*cols+i%cols]
		}
		x.values[i] += size * sum
	}
	return x.rounded(x.dtype)
}

func randomOf(rng *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}

func TestExplainLowRank(t *testing.T) {
	rng := rand.New(rand.NewPCG(*suiteSeed, 6))
	for _, d := range []tensor.DType{tensor.F64, tensor.F32, tensor.F16, tensor.BF16} {
		for _, shape := range [][2]int64{{48, 64}, {160, 96}, {64, 300}, {300, 64}} {
			for _, rank := range []int{1, 4, 8} {
				for _, size := range []float64{1e-3, 5e-2} {
					if rank > int(min(shape[0], shape[1]))/rankShare {
						continue
					}
					x := weights(rng, d, shape[0], shape[1])
					name := fmt.Sprintf("%s %v rank %d, %g", d, shape, rank, size)
					var pair checkpointPair
					pair.add("x", x, x.merged(rng, rank, size))
					got := pair.explanations(t)["x"]
					if !strings.HasPrefix(got, fmt.Sprintf("low_rank (rank %d,", rank)) {
						t.Errorf("%s: %s", name, got)
					}
				}
			}
		}
	}
}

// The rank of what was added to a matrix of a wider dtype is found whether the sum was rounded once, or the matrix before it as well, and also if
// that matrix is known only as it was rounded.
func TestExplainLowRankOfRounded(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 77))
		x := weights(rng, tensor.F32, 64, 64).each(func(v float64) float64 { return 6 * v }).rounded(tensor.F32)
		once := x.merged(rng, 4, 1e-2).as(tensor.BF16)
		twice := x.as(tensor.BF16).merged(rng, 4, 1e-2)
		var pair checkpointPair
		pair.add("once", x, once)
		pair.add("twice", x, twice)
		pair.add("both", x.as(tensor.BF16), once)
		pair.add("stacked", stack(x, x), stack(once, once))
		for name, got := range pair.explanations(t) {
			if kindsOf(got) != "low_rank" || !strings.Contains(got, "(rank 4") {
				t.Errorf("%d, %s: %s", seed, name, got)
			}
		}
	}
}

// as returns x rounded to another dtype, and stored in it.
func (x array) as(d tensor.DType) array {
	x = x.rounded(d)
	x.dtype = d
	return x
}

// A few elements that differ by more than rounding are reported.
func TestExplainLowRankSparse(t *testing.T) {
	rng := rand.New(rand.NewPCG(*suiteSeed, 11))
	for _, d := range []tensor.DType{tensor.F32, tensor.BF16} {
		x := weights(rng, d, 320, 400)
		y := x.merged(rng, 2, 1e-3)
		left := 40
		for _, i := range rng.Perm(len(y.values)) {
			if size := math.Abs(y.values[i]); left > 0 && size > 1./64 && size < 1./32 {
				y.values[i] += 4 * numberFormats[d].step(y.values[i])
				left--
			}
		}
		var pair checkpointPair
		pair.add("x", x, y.rounded(d))
		if got := pair.explanations(t)["x"]; kindsOf(got) != "low_rank, then sparse" || !strings.Contains(got, "rank 2,") || !strings.Contains(got, "40 of") {
			t.Errorf("%s: %s", d, got)
		}
	}
}

// Few elements are of low rank only if they are more than twice the free numbers of a matrix of the rank in their rows and columns.
func TestFewElementsOfLowRank(t *testing.T) {
	for _, tt := range []struct {
		rows, cols []int64
		n          int64
		rank       int
		without    int64
		want       bool
	}{
		{[]int64{1}, []int64{0, 1, 2, 3}, 4, 1, 0, false},             // a row
		{[]int64{1, 2, 3, 4, 5}, []int64{0, 1, 2, 3}, 17, 1, 0, true}, // five alike: 8 free numbers
		{[]int64{1, 2, 3, 4, 5}, []int64{0, 1, 2, 3}, 16, 1, 0, false},
		{[]int64{1, 2, 3, 4, 5}, []int64{0, 1, 2, 3}, 17, 1, 1, false},
		{[]int64{1, 2, 3, 4, 5}, []int64{0, 1, 2, 3}, 20, 2, 0, false},
		{[]int64{1, 2, 3, 4, 5}, []int64{0, 1, 2, 3}, 20, 9, 0, false},
	} {
		x := &changed{n: tt.n, rows: make([]bool, 9), cols: make([]bool, 9)}
		for _, r := range tt.rows {
			x.rows[r] = true
		}
		for _, c := range tt.cols {
			x.cols[c] = true
		}
		if got := x.shows(tt.rank, tt.without); got != tt.want {
			t.Errorf("%+v: %t", tt, got)
		}
	}
	rng := rand.New(rand.NewPCG(31, 1))
	for range 200 { // last bits that two ways of rounding leave
		x := weights(rng, tensor.F32, 16, 8)
		once, twice := x.rounded(tensor.BF16), x.rounded(tensor.F16).rounded(tensor.BF16)
		if got := explained(t, pairOf("w", once, twice)); strings.Contains(got, string(LowRank)) {
			t.Errorf("last bits: %s", got)
		}
	}
}

// Noise of any size, and a rank that is not small, are not of low rank.
func TestExplainNotLowRank(t *testing.T) {
	rng := rand.New(rand.NewPCG(*suiteSeed, 7))
	for _, d := range []tensor.DType{tensor.F64, tensor.F32, tensor.F16, tensor.BF16} {
		for _, shape := range [][2]int64{{48, 64}, {160, 96}, {16, 20}} {
			for _, size := range []float64{1e-5, 1e-4, 1e-3, 1e-2, 1} {
				x := weights(rng, d, shape[0], shape[1])
				var pair checkpointPair
				noise := x.each(func(v float64) float64 { return v + size*rng.NormFloat64() })
				pair.add("x", x, noise)
				pair.add("y", x, x.merged(rng, int(shape[0]/2), size))
				for name, got := range pair.explanations(t) {
					if strings.Contains(got, string(LowRank)) {
						t.Errorf("%s %v noise of %g: %s: %s", d, shape, size, name, got)
					}
				}
			}
		}
	}
}
