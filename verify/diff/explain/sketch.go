package explain

import (
	"context"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack/lapack64"
	"gonum.org/v1/gonum/mat"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// blockElements of a difference are held at a time, but whole rows.
const blockElements = 512 << 10

// eachBlock reads the difference D, in blocks of whole rows, with what B has there. It reports false
// where D is not finite.
func (l *lowRanking) eachBlock(ctx context.Context, f func(row, rows int, d, b []float64)) (finite bool, err error) {
	high := min(max(blockElements/l.cols, 4), l.rows)
	d, b := make([]float64, 0, high*l.cols), make([]float64, high*l.cols)
	wide := make([]float64, pieceElements)
	decodeA, decodeB := tensor.ValuesOf(l.s.a.DType).Decode, tensor.ValuesOf(l.s.b.DType).Decode
	sizeA, sizeB := int(l.s.a.DType.Size()), int(l.s.b.DType.Size())
	row := 0
	err = eachPair(ctx, l.s.a, l.how, l.s.b, func(_ int64, p, q []byte) error {
		for len(q) > 0 {
			n := min(len(q)/sizeB, cap(d)-len(d))
			from := len(d)
			d = d[:from+n]
			decodeA(wide[:n], p[:n*sizeA])
			decodeB(b[from:from+n], q[:n*sizeB])
			sum := 0.0
			for i, x := range b[from : from+n] {
				d[from+i] = x - wide[i]
				sum += d[from+i] * 0
			}
			if sum != 0 { // NaN
				return errGivenUp
			}
			p, q = p[n*sizeA:], q[n*sizeB:]
			if rows := len(d) / l.cols; len(d) == cap(d) || row+rows == l.rows && len(d)%l.cols == 0 {
				f(row, rows, d, b[:len(d)])
				row += rows
				d = d[:0]
			}
		}
		return nil
	})
	if err == errGivenUp {
		return false, nil
	}
	return true, err
}

// rangeOf returns an orthonormal basis, rows x columns, of the range of D times w, cols x columns; nil
// where D is not finite. It measures D on the way.
func (l *lowRanking) rangeOf(ctx context.Context, w []float64) ([]float64, error) {
	columns := len(w) / l.cols
	y := make([]float64, l.rows*columns)
	right := kernel.Dense(w, l.cols, columns, columns, true)
	var scratch kernel.Scratch[float64]
	l.energy = 0
	l.noise = noise{rows: make([]float64, l.rows), cols: make([]float64, l.cols),
		rowMost: make([]float64, l.rows), colMost: make([]float64, l.cols)}
	finite, err := l.eachBlock(ctx, func(row, rows int, d, b []float64) {
		kernel.Multiply(y[row*columns:], columns, d, l.cols, rows, right, 0, columns, nil, &scratch)
		for i := range rows {
			l.measure(row+i, d[i*l.cols:(i+1)*l.cols], b[i*l.cols:])
		}
	})
	if err != nil || !finite || l.energy == 0 || math.IsInf(l.energy, 0) {
		return nil, err
	}
	return orthonormal(y, l.rows, columns), nil
}

// measure adds a row of D to the energy, and what rounding would leave of it to the noise.
func (l *lowRanking) measure(row int, d, b []float64) {
	sum, most := 0.0, 0.0
	for c, x := range d {
		one := l.as.rounded(b[c], x)
		l.energy += x * x
		l.noise.cols[c] += one
		l.noise.colMost[c] = max(l.noise.colMost[c], one)
		sum += one
		most = max(most, one)
	}
	l.noise.rows[row], l.noise.rowMost[row] = sum, most
	l.noise.sum += sum
}

// project returns the transpose of q, rows x columns, times D: columns x cols.
func (l *lowRanking) project(ctx context.Context, q []float64, columns int) ([]float64, error) {
	c := make([]float64, columns*l.cols)
	var scratch kernel.Scratch[float64]
	_, err := l.eachBlock(ctx, func(row, rows int, d, _ []float64) {
		left := transposed(q[row*columns:], rows, columns)
		right := kernel.Dense(d, rows, l.cols, l.cols, true)
		kernel.Multiply(c, l.cols, left, rows, columns, right, 0, l.cols, nil, &scratch)
	})
	return c, err
}

// check holds every element of D against that of the estimate, and returns the squares of what is left.
func (l *lowRanking) check(ctx context.Context, e estimate) (out *outcome, left float64, err error) {
	out = &outcome{}
	var scratch kernel.Scratch[float64]
	right := kernel.Dense(e.right, e.rank, l.cols, l.cols, true)
	var want []float64
	most := int64(l.rows) * int64(l.cols) / sparseShare
	elements := int64(0)
	_, err = l.eachBlock(ctx, func(row, rows int, d, b []float64) {
		if out.wrong > most {
			return
		}
		if want == nil {
			want = make([]float64, len(d))
		}
		clear(want)
		kernel.Multiply(want, l.cols, e.left[row*e.rank:], e.rank, rows, right, 0, l.cols, nil, &scratch)
		for i, x := range d {
			r, c := row+i/l.cols, i%l.cols
			rest := math.Abs(x - want[i])
			left += rest * rest
			room := l.as.unit(b[i])/2 + l.as.unit(want[i]) + e.slack
			if rest > room && rest > room+8*math.Sqrt(e.rowShare[r]*l.noise.colMost[c]+e.colShare[c]*l.noise.rowMost[r]) {
				out.add(func() Changed {
					return Changed{Index: tensor.Unravel(elements+int64(i), l.s.b.Shape), A: Number(b[i] - x), B: Number(b[i])}
				})
			}
		}
		elements += int64(len(d))
	})
	return out, left, err
}

// estimate is left, rows x rank, times right, rank x cols.
type estimate struct {
	rank        int
	left, right []float64

	rowShare, colShare []float64 // how much of a row's, and of a column's, own noise is in the estimate
	slack              float64   // what computing it in float64 left
}

// spectrum is a decomposition of c, k x cols: the squares of its singular values, largest first, and the left
// singular vectors in columns.
type spectrum struct {
	c       []float64
	k, cols int
	values  []float64
	vectors *mat.Dense
}

func newSpectrum(c []float64, k, cols int) *spectrum {
	gram := mat.NewSymDense(k, nil)
	for i := range k {
		for j := i; j < k; j++ {
			sum := 0.0
			x, y := c[i*cols:(i+1)*cols], c[j*cols:(j+1)*cols]
			for n, v := range x {
				sum += v * y[n]
			}
			gram.SetSym(i, j, sum)
		}
	}
	s := &spectrum{c: c, k: k, cols: cols, values: make([]float64, k), vectors: mat.NewDense(k, k, nil)}
	var eigen mat.EigenSym
	if !eigen.Factorize(gram, true) {
		return s // no values stand out
	}
	ascending := eigen.Values(nil)
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	for i := range k {
		s.values[i] = ascending[k-1-i]
		for j := range k {
			s.vectors.Set(j, i, vectors.At(j, k-1-i))
		}
	}
	return s
}

// truncate returns the estimate of rank r, where q, rows x k, times c is the whole.
func (s *spectrum) truncate(q []float64, rows, r int) estimate {
	e := estimate{rank: r, left: make([]float64, rows*r), right: make([]float64, r*s.cols),
		rowShare: make([]float64, rows), colShare: make([]float64, s.cols)}
	for i := range rows {
		for k, x := range q[i*s.k : (i+1)*s.k] {
			for j := range r {
				e.left[i*r+j] += x * s.vectors.At(k, j)
			}
		}
		for _, x := range e.left[i*r : (i+1)*r] {
			e.rowShare[i] += x * x
		}
	}
	for j := range r {
		to := e.right[j*s.cols : (j+1)*s.cols]
		for k := range s.k {
			blas64.Axpy(s.vectors.At(k, j), blas64.Vector{N: s.cols, Data: s.c[k*s.cols:], Inc: 1}, blas64.Vector{N: s.cols, Data: to, Inc: 1})
		}
		for i, x := range to {
			e.colShare[i] += x * x / s.values[j]
		}
	}
	e.slack = 1e-14 * math.Sqrt(s.values[0])
	return e
}

// orthonormal replaces the columns of y, rows x columns, by an orthonormal basis of what they span.
func orthonormal(y []float64, rows, columns int) []float64 {
	a := blas64.General{Rows: rows, Cols: columns, Stride: columns, Data: y}
	tau := make([]float64, min(rows, columns))
	var size [1]float64
	lapack64.Geqrf(a, tau, size[:], -1)
	work := make([]float64, max(int(size[0]), columns))
	lapack64.Geqrf(a, tau, work, len(work))
	lapack64.Orgqr(a, tau, size[:], -1)
	work = make([]float64, max(int(size[0]), columns))
	lapack64.Orgqr(a, tau, work, len(work))
	return y
}

func transposed(x []float64, rows, columns int) []float64 {
	t := make([]float64, rows*columns)
	for i := range rows {
		for j := range columns {
			t[j*rows+i] = x[i*columns+j]
		}
	}
	return t
}

// randomMatrix returns normally distributed numbers, always the same.
func randomMatrix(rows, columns int) []float64 {
	rng := rand.New(rand.NewPCG(uint64(rows), uint64(columns)))
	x := make([]float64, rows*columns)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}
