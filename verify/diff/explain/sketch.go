package explain

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack/lapack64"
	"gonum.org/v1/gonum/mat"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// eachBlock reads the difference D, in blocks of whole rows, together with B's elements there. It reports
// false if D is not finite.
func (d *difference) eachBlock(f func(row, rows int, block, b []float64)) (finite bool, err error) {
	const blockElements = 512 << 10
	height := min(max(blockElements/d.cols, 4), d.rows)
	block, blockB := make([]float64, 0, height*d.cols), make([]float64, height*d.cols)
	values := newDecoder(d.s.a.tensor, d.s.b.tensor)
	row := 0
	err = d.s.eachPair(d.order, func(_ int64, p, q []byte) error {
		a, b := values.decode(p, q)
		for len(b) > 0 {
			from := len(block)
			n := min(len(b), cap(block)-from)
			block = block[:from+n]
			copy(blockB[from:], b[:n])
			sum := 0.0
			for i, x := range b[:n] {
				block[from+i] = x - a[i]
				sum += block[from+i] * 0
			}
			if sum != 0 { // NaN
				return errStop
			}
			a, b = a[n:], b[n:]
			if rows := len(block) / d.cols; len(block) == cap(block) || row+rows == d.rows && len(block)%d.cols == 0 {
				f(row, rows, block, blockB[:len(block)])
				row += rows
				block = block[:0]
			}
		}
		return nil
	})
	if err == errStop {
		return false, nil
	}
	return true, err
}

// rangeOf returns an orthonormal basis, rows x columns, of the range of D times w, cols x columns; nil if D
// is not finite. It measures the energy and the noise of D.
func (d *difference) rangeOf(w []float64) ([]float64, error) {
	columns := len(w) / d.cols
	y := make([]float64, d.rows*columns)
	right := kernel.Dense(w, d.cols, columns, columns, true)
	var scratch kernel.Scratch[float64]
	d.energy = 0
	d.noise = noise{rows: make([]float64, d.rows), cols: make([]float64, d.cols),
		maxRow: make([]float64, d.rows), maxCol: make([]float64, d.cols)}
	finite, err := d.eachBlock(func(row, rows int, block, b []float64) {
		kernel.Multiply(y[row*columns:], columns, block, d.cols, rows, right, 0, columns, nil, &scratch)
		for i := range rows {
			d.measure(row+i, block[i*d.cols:(i+1)*d.cols], b[i*d.cols:])
		}
	})
	if err != nil || !finite || d.energy == 0 || math.IsInf(d.energy, 0) {
		return nil, err
	}
	return orthonormal(y, d.rows, columns), nil
}

// measure adds a row of D to the energy and to the noise.
func (d *difference) measure(row int, values, b []float64) {
	sum, largest := 0.0, 0.0
	for c, x := range values {
		one := d.format.roundingVariance(b[c], x)
		if d.source != nil {
			one += d.source.roundingVariance(b[c]-x, 0)
		}
		d.energy += x * x
		d.noise.cols[c] += one
		d.noise.maxCol[c] = max(d.noise.maxCol[c], one)
		sum += one
		largest = max(largest, one)
	}
	d.noise.rows[row], d.noise.maxRow[row] = sum, largest
	d.noise.sum += sum
}

// project returns the transpose of basis, rows x columns, times D: columns x cols.
func (d *difference) project(basis []float64, columns int) ([]float64, error) {
	out := make([]float64, columns*d.cols)
	var scratch kernel.Scratch[float64]
	_, err := d.eachBlock(func(row, rows int, block, _ []float64) {
		left := transposed(basis[row*columns:], rows, columns)
		right := kernel.Dense(block, rows, d.cols, d.cols, true)
		kernel.Multiply(out, d.cols, left, rows, columns, right, 0, d.cols, nil, &scratch)
	})
	return out, err
}

// compare compares every element of D with the estimate. It returns the elements that are too far from it,
// those of B that are not A's rounded, and the squares of the residual.
func (d *difference) compare(e estimate) (rest *mismatches, all *changed, left float64, err error) {
	rest, all = &mismatches{}, &changed{rows: make([]bool, d.rows), cols: make([]bool, d.cols)}
	var scratch kernel.Scratch[float64]
	right := kernel.Dense(e.right, e.rank, d.cols, d.cols, true)
	var want []float64
	limit := int64(d.rows) * int64(d.cols) / sparseShare
	first := int64(0) // element of the block
	_, err = d.eachBlock(func(row, rows int, block, b []float64) {
		if rest.n > limit {
			return
		}
		if want == nil {
			want = make([]float64, len(block))
		}
		clear(want)
		kernel.Multiply(want, d.cols, e.left[row*e.rank:], e.rank, rows, right, 0, d.cols, nil, &scratch)
		for i, x := range block {
			r, c := row+i/d.cols, i%d.cols
			off := math.Abs(x - want[i])
			left += off * off
			if d.format.round(b[i]-x) != b[i] {
				all.add(r, c)
			}
			room := d.format.unit(b[i])/2 + d.format.unit(want[i]) + e.slack
			if d.source != nil {
				room += d.source.unit(b[i]-x) / 2
			}
			if off > room && off > room+8*math.Sqrt(e.rowShare[r]*d.noise.maxCol[c]+e.colShare[c]*d.noise.maxRow[r]) {
				rest.add(func() Changed {
					return Changed{Index: tensor.Unravel(first+int64(i), d.s.b.tensor.Shape), A: Number(b[i] - x), B: Number(b[i])}
				})
			}
		}
		first += int64(len(block))
	})
	return rest, all, left, err
}

// changed are the elements of a matrix that were changed, by more than rounding.
type changed struct {
	n          int64
	rows, cols []bool // that have some
}

func (x *changed) add(row, col int) {
	x.n++
	x.rows[row], x.cols[col] = true, true
}

// shows reports whether the elements, without so many that do not fit, are more than twice the free numbers that a matrix of the rank has in their rows and
// columns. As few as the free numbers always fit, and little more fit by chance.
func (x *changed) shows(rank int, without int64) bool {
	count := func(lines []bool) (n int64) {
		for _, has := range lines {
			if has {
				n++
			}
		}
		return n
	}
	rows, cols := count(x.rows), count(x.cols)
	r := min(int64(rank), rows, cols)
	return x.n-without > 2*r*(rows+cols-r)
}

// estimate is left, rows x rank, times right, rank x cols.
type estimate struct {
	rank        int
	left, right []float64

	rowShare, colShare []float64 // how much of the noise of a row, and of a column, is in the estimate
	slack              float64   // error of computing the estimate in float64
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
		return s // no values are significant
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

// truncate returns the estimate of rank r. The whole is basis, rows x k, times c.
func (s *spectrum) truncate(basis []float64, rows, r int) estimate {
	e := estimate{rank: r, left: make([]float64, rows*r), right: make([]float64, r*s.cols),
		rowShare: make([]float64, rows), colShare: make([]float64, s.cols)}
	for i := range rows {
		for k, x := range basis[i*s.k : (i+1)*s.k] {
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
