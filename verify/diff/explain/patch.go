package explain

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/blas/blas64"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// patchSide is the most rows, and columns, of a patch.
const patchSide = 512

// patch is some rows and some columns of a matrix: enough to see whether its rank is worth asking for.
type patch struct {
	rows, cols []int64
	width      int64 // of the matrix
}

// newPatch returns the patch of two tensors, or nil if they are no matrices of one shape.
func newPatch(a, b *tensor.Tensor) *patch {
	shape := squeezed(b.Shape)
	if len(shape) != 2 || !slices.Equal(shape, squeezed(a.Shape)) || !isFloat(a.DType) || !isFloat(b.DType) {
		return nil
	}
	return &patch{rows: someOf(shape[0]), cols: someOf(shape[1]), width: shape[1]}
}

// someOf returns up to patchSide of n indices, ascending.
func someOf(n int64) []int64 {
	if n <= patchSide {
		return allOf(n)
	}
	rng := rand.New(rand.NewPCG(6, uint64(n)))
	chosen := map[int64]bool{}
	var some []int64
	for len(some) < patchSide {
		if i := rng.Int64N(n); !chosen[i] {
			chosen[i] = true
			some = append(some, i)
		}
	}
	slices.Sort(some)
	return some
}

// allOf returns the numbers below n.
func allOf(n int64) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = int64(i)
	}
	return all
}

// places returns the elements of the patch.
func (p *patch) places() []int64 {
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

// rank estimates the rank of the difference, 0 where rounding hides it. hopeful is false where it is not
// small: after as many ranks as there may be, more is left than rounding to the type accounts for.
func (p *patch) rank(a, b *census, f *numberFormat) (rank int, hopeful bool) {
	if p == nil {
		return 0, false
	}
	rows, cols := len(p.rows), len(p.cols)
	d := make([]float64, 0, rows*cols)
	noise, energy := 0.0, 0.0
	for _, place := range p.places() {
		x, y := math.Float64frombits(a.code(place)), math.Float64frombits(b.code(place))
		if math.IsNaN(y-x) || math.IsInf(y-x, 0) {
			return 0, false
		}
		noise += f.rounded(y, y-x)
		energy += (y - x) * (y - x)
		d = append(d, y-x)
	}
	most := min(mostRank+mostRank/8, rows/2, cols/2)
	rank = eliminate(d, rows, cols, most, max(2*noise, 1e-20*energy))
	return min(rank, most), rank <= most
}

// eliminate subtracts from d, rows x cols, one rank after another, each that of the element that is largest
// in a row of large ones, until the sum of squares is at most left. It returns how many that took, or
// most + 1. It takes a few more than there are singular values to be taken away.
func eliminate(d []float64, rows, cols, most int, left float64) int {
	squares := make([]float64, rows) // of the rows, orthogonal to those chosen before
	total := 0.0
	for r := range rows {
		for _, x := range d[r*cols : (r+1)*cols] {
			squares[r] += x * x
		}
		total += squares[r]
	}
	basis := make([]float64, cols)
	for taken := 0; taken <= most; taken++ {
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
	return most + 1
}
