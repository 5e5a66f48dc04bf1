package explain

import (
	"context"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sync/semaphore"
)

const (
	mostRank      = 256      // that is sought
	rankShare     = 4        // a rank is small if it is at most one in so many of the rows, and of the columns
	fewestLong    = 8        // rows and columns: a single element is of rank 1
	factorBytes   = 64 << 20 // all factors that are held at a time: of the embedding of the 9B model they have 16 columns
	fewestColumns = 24       // of a sketch
)

// factors lends the memory of factorizations.
var factors = semaphore.NewWeighted(factorBytes)

// lowRank queues that the difference of two matrices is of small rank, as adding a product of two thin
// ones leaves it.
//
// That holds where there is a matrix L of rank r, at most 256 and at most a quarter of the rows and of the
// columns, such that for every element B - A is L but for what rounding leaves: half a unit in the last
// place of B, one of L (which some tools round before they add it), and 8 standard deviations of what
// rounding did to the estimate of L. Besides, the squares of what is left may on average be no more than
// twice those of rounding, and at most a third of those of the difference. r counts the singular values that stand out from a matrix of rounding errors;
// where the difference is hardly larger than a unit in the last place, it may be a little more than the
// rank of what was added. L is estimated by a randomized range finder (Halko, Martinsson, Tropp 2011).
func (s *search) lowRank(m *arrangement) {
	if !isFloat(s.a.DType) || !isFloat(s.b.DType) || len(m.shape) != 2 || len(m.says) >= s.steps {
		return
	}
	shape := m.result()
	if min(shape[0], shape[1]) < fewestLong {
		return
	}
	a, b := takeSample(s.ca, m, s.cb, s.places).values(nil)
	if !m.plain() && !resemble(a, b) {
		return
	}
	own := numberFormats[s.b.DType]
	for _, f := range roundedTypes(s.b.DType, b) {
		if f != own && holdsMost(f, a) {
			continue
		}
		rank, hopeful := 0, true
		if m.plain() {
			rank, hopeful = s.patch.rank(s.ca, s.cb, f)
		}
		if !hopeful {
			continue
		}
		says := append(slices.Clone(m.says), Explanation{Kind: LowRank})
		at := len(says) - 1
		if f != own {
			says = append(says, rounding{f}.explain())
		}
		s.add(says, func() (verdict, error) {
			l := &lowRanking{s: s, how: m, as: f, rows: int(shape[0]), cols: int(shape[1])}
			found, out, err := l.find(s.ctx, rank)
			if err != nil || found == nil {
				return verdict{}, err
			}
			says[at] = *found
			return s.judge(says, out), nil
		})
	}
}

// resemble reports whether a difference is small beside what differs.
func resemble(a, b []float64) bool {
	difference, size := 0.0, 0.0
	for i := range a {
		difference += (b[i] - a[i]) * (b[i] - a[i])
		size += b[i] * b[i]
	}
	return difference < size/4
}

// lowRanking seeks the small rank of one difference D, of rows x cols.
type lowRanking struct {
	s          *search
	how        *arrangement
	as         *numberFormat
	rows, cols int

	energy float64 // ‖D‖²
	noise  noise   // that rounding alone would leave
}

// noise is the expected squares of rounding errors: in all, and by rows and columns their sums and the largest.
type noise struct {
	sum              float64
	rows, cols       []float64
	rowMost, colMost []float64
}

// edge is what the largest singular value of a matrix of such errors hardly exceeds (Bandeira and van
// Handel 2016).
func (n *noise) edge() float64 {
	return 1.15 * (math.Sqrt(slices.Max(n.rows)) + math.Sqrt(slices.Max(n.cols)))
}

// find returns the explanation and what it does not hold for, or nil.
func (l *lowRanking) find(ctx context.Context, guess int) (*Explanation, *outcome, error) {
	most := min(mostRank, l.rows/rankShare, l.cols/rankShare)
	room := min(factorBytes/8/(l.rows+l.cols)/2, l.rows, l.cols)
	columns := min(max(guess+guess/4+8, fewestColumns), most+16, room)
	for {
		if columns < 4 {
			return nil, nil, nil
		}
		need := int64(l.rows+l.cols) * int64(columns) * 16
		if err := factors.Acquire(ctx, need); err != nil {
			return nil, nil, err
		}
		found, out, enough, err := l.findWith(ctx, columns, most)
		factors.Release(need)
		if err != nil || enough || columns == min(most+16, room) {
			return found, out, err
		}
		columns = min(columns*3, most+16, room)
	}
}

// findWith is find with a sketch of so many columns; enough is false where there may be more ranks than
// that shows.
func (l *lowRanking) findWith(ctx context.Context, columns, most int) (found *Explanation, out *outcome, enough bool, err error) {
	q, err := l.rangeOf(ctx, randomMatrix(l.cols, columns))
	if err != nil || q == nil {
		return nil, nil, true, err
	}
	for again := false; ; again = true {
		c, err := l.project(ctx, q, columns)
		if err != nil {
			return nil, nil, true, err
		}
		spectrum := newSpectrum(c, columns, l.cols)
		if !again {
			// One power iteration: of a sketch alone, rounding is a part that counts.
			if q, err = l.rangeOf(ctx, orthonormal(transposed(c, columns, l.cols), l.cols, columns)); err != nil || q == nil {
				return nil, nil, true, err
			}
			continue
		}
		r := l.standOut(spectrum.values)
		if r >= columns-2 {
			return nil, nil, false, nil
		}
		if r == 0 || r > most {
			return nil, nil, true, nil
		}
		out, left, err := l.check(ctx, spectrum.truncate(q, l.rows, r))
		share := 1 - left/l.energy
		if err != nil || left > 2*l.noise.sum+1e-26*l.energy || share < 2./3 {
			return nil, nil, true, err
		}
		return &Explanation{Kind: LowRank, Rank: r, Energy: Number(share),
			Detail: fmt.Sprintf("rank %d, %.4g%% of the energy", r, 100*share)}, out, true, err
	}
}

// standOut returns how many singular values, whose squares are given, are larger than those of rounding
// errors and of computing with float64.
func (l *lowRanking) standOut(squares []float64) (r int) {
	edge := max(l.noise.edge(), 3e-8*math.Sqrt(squares[0]))
	for r < len(squares) && squares[r] > edge*edge {
		r++
	}
	return r
}
