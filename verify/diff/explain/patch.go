package explain

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/blas/blas64"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// maxPatch is how many rows and columns a patch has at most.
const maxPatch = 512

// patch is some rows and columns of a matrix, from which it is decided whether its rank may be small.
type patch struct {
	rows, cols []int64
	width      int64 // of the matrix
}

// newPatch returns the patch of two tensors, or nil if they are not matrices of the same shape.
func newPatch(a, b *tensor.Tensor) *patch {
	shape := squeeze(b.Shape)
	if len(shape) != 2 || !slices.Equal(shape, squeeze(a.Shape)) || !isFloat(a.DType) || !isFloat(b.DType) {
		return nil
	}
	return &patch{rows: someOf(shape[0]), cols: someOf(shape[1]), width: shape[1]}
}

// someOf returns up to maxPatch of n indices, ascending.
func someOf(n int64) []int64 {
	if n <= maxPatch {
		return firstIndices(n)
	}
	rng := rand.New(rand.NewPCG(6, uint64(n)))
	chosen := map[int64]bool{}
	var some []int64
	for len(some) < maxPatch {
		if i := rng.Int64N(n); !chosen[i] {
			chosen[i] = true
			some = append(some, i)
		}
	}
	slices.Sort(some)
	return some
}

// indices returns the elements of the patch, ascending.
func (p *patch) indices() []int64 {
	if p == nil {
		return nil
	}
	all := make([]int64, 0, len(p.rows)*len(p.cols))
	for _, r := range p.rows {
		for _, c := range p.cols {
			all = append(all, r*p.width+c)
		}
	}
	return all
}

// rank estimates the rank of the difference: 0 if rounding hides it. small is false if the rank is too
// large: after as many ranks as there may be, more is left than rounding to the format explains.
func (p *patch) rank(a, b *fingerprint, f *numberFormat) (rank int, small bool) {
	if p == nil {
		return 0, false
	}
	rows, cols := len(p.rows), len(p.cols)
	d := make([]float64, 0, rows*cols)
	noise, energy := 0.0, 0.0
	for _, i := range p.indices() {
		x, y := valueOf(a.code(i)), valueOf(b.code(i))
		if math.IsNaN(y-x) || math.IsInf(y-x, 0) {
			return 0, false
		}
		noise += f.roundingVariance(y, y-x)
		energy += (y - x) * (y - x)
		d = append(d, y-x)
	}
	limit := min(maxRank+maxRank/8, rows/2, cols/2)
	rank = eliminate(d, rows, cols, limit, max(2*noise, 1e-20*energy))
	return min(rank, limit), rank <= limit
}

// eliminate projects the rows of d, rows x cols, onto the complement of its longest row, again and again,
// until the sum of squares is at most left. It returns how often, or limit + 1. That is slightly more than
// the number of singular values that would have to be removed.
func eliminate(d []float64, rows, cols, limit int, left float64) int {
	squares := make([]float64, rows) // of the rows, orthogonal to those chosen before
	total := 0.0
	for r := range rows {
		for _, x := range d[r*cols : (r+1)*cols] {
			squares[r] += x * x
		}
		total += squares[r]
	}
	basis := make([]float64, cols)
	for taken := 0; taken <= limit; taken++ {
		if total <= left {
			return taken
		}
		best := 0
		for r, s := range squares {
			if s > squares[best] {
				best = r
			}
		}
		norm := math.Sqrt(squares[best])
		for i, x := range d[best*cols : (best+1)*cols] {
			basis[i] = x / norm
		}
		total = 0
		direction := blas64.Vector{N: cols, Data: basis, Inc: 1}
		for r := range rows {
			row := blas64.Vector{N: cols, Data: d[r*cols:], Inc: 1}
			blas64.Axpy(-blas64.Dot(row, direction), direction, row)
			squares[r] = blas64.Dot(row, row)
			total += squares[r]
		}
	}
	return limit + 1
}
