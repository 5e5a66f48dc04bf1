package explain

import (
	"fmt"
	"math"
	"slices"

	"golang.org/x/sync/semaphore"
)

const (
	maxRank     = 256      // that is looked for
	rankShare   = 4        // a rank is small if it is at most one in so many of the rows and of the columns
	minLength   = 8        // of rows and columns: a single element is of rank 1
	factorBytes = 64 << 20 // of all factors that are held at a time: 16 columns for the embedding of the 9B model
	minColumns  = 24       // of a sketch
	maxExcess   = 1.4      // of the squares of a residual, where one rounding leaves 1 and two leave 2
)

// factors limits the memory of factorizations.
var factors = semaphore.NewWeighted(factorBytes)

// lowRank queues that the difference of two matrices is of small rank, as adding a product of two thin
// ones leaves it.
//
// That holds if there is a matrix L of rank r, at most 256 and at most a quarter of the rows and of the
// columns, such that every element of B - A is that of L, up to half a unit in the last place of B, one
// unit of L (which some tools round before they add it), and 8 standard deviations of what rounding did
// to the estimate of L. In addition, the squares of the residual are on average at most twice those of
// rounding errors, and at most a third of those of the difference; and more elements were changed by more
// than rounding than twice the free numbers of a matrix of rank r in their rows and columns. r counts the singular
// values that are larger than those of a matrix of rounding errors; if the difference is hardly larger than
// a unit in the last place, r may be slightly more than the rank of what was added. L is estimated by a
// randomized range finder (Halko, Martinsson, Tropp 2011).
//
// If that fails, or the squares of the residual are too many for one rounding, A is taken for a matrix that was rounded
// too, and L for what was added to it before: a base and its merge that were both computed in float32 and stored in bfloat16.
// Elements may then also be half a unit in the last place of A off.
func (s *search) lowRank(m *arrangement) {
	dtypeA, dtypeB := s.a.tensor.DType, s.b.tensor.DType
	if !isFloat(dtypeA) || !isFloat(dtypeB) || len(m.shape) != 2 || min(m.shape[0], m.shape[1]) < minLength || len(m.steps) >= s.maxSteps {
		return
	}
	a, b := newSample(s.a, m, s.b, s.sampled).values()
	if !m.isIdentity() && !resemble(a, b) {
		return
	}
	own := numberFormats[dtypeB]
	for _, f := range roundedTypes(dtypeB, b) {
		if f != own && f.holds(a) {
			continue
		}
		rank, small := 0, true
		if m.isIdentity() {
			rank, small = s.patch.rank(s.a, s.b, f)
		}
		if !small {
			continue
		}
		steps := append(slices.Clone(m.steps), Explanation{Kind: LowRank})
		if f != own {
			steps = append(steps, f.explanation(own))
		}
		s.add(steps, func() (verdict, error) {
			shape := m.result()
			d := &difference{s: s, order: m, format: f, rows: int(shape[0]), cols: int(shape[1])}
			found, rest, err := d.findRank(rank)
			if err == nil && (found == nil || d.excess > maxExcess) && s.exact.mantissa <= f.mantissa {
				rounded := &difference{s: s, order: m, format: f, source: s.exact, rows: d.rows, cols: d.cols}
				again, others, errAgain := rounded.findRank(rank)
				if err = errAgain; again != nil {
					found, rest = again, others
				}
			}
			if err != nil || found == nil {
				return verdict{}, err
			}
			steps[len(m.steps)] = *found
			return s.judge(steps, rest), nil
		})
	}
}

// resemble reports whether a difference is small relative to what differs.
func resemble(a, b []float64) bool {
	difference, size := 0.0, 0.0
	for i := range a {
		difference += (b[i] - a[i]) * (b[i] - a[i])
		size += b[i] * b[i]
	}
	return difference < size/4
}

// difference is D = B - A, rows x cols, in an order of A's elements, whose small rank is looked for.
type difference struct {
	s          *search
	order      *arrangement
	format     *numberFormat // to which B's elements were rounded
	source     *numberFormat // to which A's elements were rounded, if the product was added to what they were before; nil if it was added to A's
	rows, cols int

	energy float64 // ‖D‖²
	noise  noise   // that rounding alone would leave
	excess float64 // squares of the residual of the last estimate, by those that rounding errors leave
}

// noise is the expected squares of rounding errors: their sum, and by row and by column their sum and the
// largest.
type noise struct {
	sum            float64
	rows, cols     []float64
	maxRow, maxCol []float64
}

// edge is what the largest singular value of a matrix of such errors hardly exceeds (Bandeira and van
// Handel 2016).
func (n *noise) edge() float64 {
	return 1.15 * (math.Sqrt(slices.Max(n.rows)) + math.Sqrt(slices.Max(n.cols)))
}

// findRank returns the explanation and the elements for which it does not hold, or nil. guess is the
// rank that is tried first.
func (d *difference) findRank(guess int) (*Explanation, *mismatches, error) {
	limit := min(maxRank, d.rows/rankShare, d.cols/rankShare)
	room := min(factorBytes/8/(d.rows+d.cols)/2, d.rows, d.cols)
	columns := min(max(guess+guess/4+8, minColumns), limit+16, room)
	for {
		if columns < 4 {
			return nil, nil, nil
		}
		need := int64(d.rows+d.cols) * int64(columns) * 16
		if err := factors.Acquire(d.s.ctx, need); err != nil {
			return nil, nil, err
		}
		found, rest, enough, err := d.findRankWith(columns, limit)
		factors.Release(need)
		if err != nil || enough || columns == min(limit+16, room) {
			return found, rest, err
		}
		columns = min(columns*3, limit+16, room)
	}
}

// findRankWith is findRank with a sketch of so many columns. enough is false if the rank may be larger than
// the sketch can show.
func (d *difference) findRankWith(columns, limit int) (found *Explanation, rest *mismatches, enough bool, err error) {
	basis, err := d.rangeOf(randomMatrix(d.cols, columns))
	if err != nil || basis == nil {
		return nil, nil, true, err
	}
	projected, err := d.project(basis, columns)
	if err != nil {
		return nil, nil, true, err
	}
	// One power iteration: in a sketch alone, rounding is not negligible.
	basis, err = d.rangeOf(orthonormal(transposed(projected, columns, d.cols), d.cols, columns))
	if err != nil || basis == nil {
		return nil, nil, true, err
	}
	if projected, err = d.project(basis, columns); err != nil {
		return nil, nil, true, err
	}
	spectrum := newSpectrum(projected, columns, d.cols)
	rank := d.significant(spectrum.values)
	if rank >= columns-2 {
		return nil, nil, false, nil
	}
	if rank == 0 || rank > limit {
		return nil, nil, true, nil
	}
	rest, all, left, err := d.compare(spectrum.truncate(basis, d.rows, rank))
	share := 1 - left/d.energy
	d.excess = left / d.noise.sum / (1 - float64(rank)/float64(d.rows)) / (1 - float64(rank)/float64(d.cols)) // the estimate takes a part of the errors
	if d.source != nil && d.excess > maxExcess {
		return nil, nil, true, err
	}
	if err != nil || left > 2*d.noise.sum+1e-26*d.energy || share < 2./3 || !all.shows(rank, rest.n) {
		return nil, nil, true, err
	}
	return &Explanation{Kind: LowRank, Rank: rank, Energy: Number(share),
		Detail: fmt.Sprintf("rank %d, %.4g%% of the energy", rank, 100*share)}, rest, true, nil
}

// significant returns how many singular values, whose squares are given, are larger than those of rounding
// errors and of computing in float64.
func (d *difference) significant(squares []float64) (rank int) {
	edge := max(d.noise.edge(), 3e-8*math.Sqrt(squares[0]))
	for rank < len(squares) && squares[rank] > edge*edge {
		rank++
	}
	return rank
}
