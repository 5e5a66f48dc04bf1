package convert

import (
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// product merges boxes of the matrix of one adaptation, in ascending order.
type product struct {
	adaptation *adaptation
	dtype      tensor.DType // of the base and the result

	value     io.ReadCloser // of its value, at element valueAt
	valueAt   int64
	valueBuf  []byte
	load      func(dst []float64, src []byte)
	round     func(dst []byte, src []float64)
	limit     float64   // what rounds to infinity
	weights   []float64 // of the base, in the box
	sums      []float64
	left      []float64
	right     []float64
	kept      bool // right holds all of the factor
	factors   []byte
	magnitude []float64
}

func newProduct(e *adaptation, dtype tensor.DType) *product {
	p := &product{adaptation: e, dtype: dtype, load: loaders[dtype], round: rounders[dtype].round, limit: rounders[dtype].limit}
	if e.value != nil {
		p.load = loaders[e.value.DType]
	}
	return p
}

func (p *product) close() {
	if p != nil && p.value != nil {
		p.value.Close()
		p.value = nil
	}
}

// merge turns a box of the base's elements into merged ones, in place. Where the value of the adaptation takes their place
// panel's content does not count.
func (p *product) merge(panel []byte, b box) error {
	e := p.adaptation
	if e.right != nil || e.value != nil {
		sums, err := p.sum(panel, b)
		if err != nil {
			return err
		}
		if err := p.stretch(sums, b); err != nil {
			return err
		}
		if err := p.check(sums, b); err != nil {
			return err
		}
		p.round(panel, sums)
	}
	return p.replaceRows(panel, b)
}

// sum returns W + scale·left·right of a box.
func (p *product) sum(stored []byte, b box) ([]float64, error) {
	e := p.adaptation
	n := b.elements()
	p.weights = sized(p.weights, n)
	if e.value != nil {
		var err error
		if stored, err = p.readValue(b); err != nil {
			return nil, err
		}
	}
	p.load(p.weights, stored)
	p.sums = sized(p.sums, n)
	if e.right == nil {
		copy(p.sums, p.weights)
		return p.sums, nil
	}
	clear(p.sums)
	if err := p.multiply(b); err != nil {
		return nil, err
	}
	scale := e.scale
	for i, s := range p.sums {
		// The conversion forbids to fuse the two operations, which some processors would.
		p.sums[i] = p.weights[i] + float64(scale*s)
	}
	return p.sums, nil
}

// multiply adds left·right of a box to p.sums, products in ascending order of the rank's index.
func (p *product) multiply(b box) error {
	e := p.adaptation
	rank := e.right.rows
	if e.left != nil {
		p.left = sized(p.left, b.rows*rank)
		if err := p.readFactor(p.left, e.left, box{b.row, b.rows, 0, rank}); err != nil {
			return err
		}
	} else {
		p.left = append(p.left[:0], 1)
	}
	step := rank
	if rank*b.cols > mergeKept {
		step = max(mergeChunk/b.cols, 1)
	}
	whole := step >= rank && b.cols == e.width
	for k := int64(0); k < rank; k += step {
		n := min(step, rank-k)
		if !p.kept {
			p.right = sized(p.right, n*b.cols)
			if err := p.readFactor(p.right, e.right, box{k, n, b.col, b.cols}); err != nil {
				return err
			}
			p.kept = whole
		}
		for i := range b.rows {
			addProducts(p.sums[i*b.cols:][:b.cols], p.left[i*rank+k:][:n], p.right)
		}
	}
	return nil
}

// addProducts adds left[k]·right[k, i] to sums[i], for one k after the other.
func addProducts(sums, left, right []float64) {
	n := len(sums)
	for len(left) >= 4 {
		a, b, c, d := left[0], left[1], left[2], left[3]
		r0, r1, r2, r3 := right[:n], right[n:][:n], right[2*n:][:n], right[3*n:][:n]
		for i, s := range sums {
			s += a * r0[i]
			s += b * r1[i]
			s += c * r2[i]
			s += d * r3[i]
			sums[i] = s
		}
		left, right = left[4:], right[4*n:]
	}
	for _, a := range left {
		r := right[:n]
		for i := range sums {
			sums[i] += a * r[i]
		}
		right = right[n:]
	}
}

// readFactor reads a part of a factor, in pieces of no more than a panel where rows are no longer.
func (p *product) readFactor(dst []float64, f *factor, b box) error {
	step := max(mergePanel/b.cols, 1)
	for row := int64(0); row < b.rows; row += step {
		n := min(step, b.rows-row)
		p.factors = sized(p.factors, n*b.cols*f.lay.DType.Size())
		part := f.lay.View.Narrow(0, b.row+row, n).Narrow(1, b.col, b.cols)
		if err := f.lay.Gather(p.factors, part); err != nil {
			return of(f.name, err)
		}
		loaders[f.lay.DType](dst[row*b.cols:][:n*b.cols], p.factors)
	}
	return nil
}

// readValue reads a box of what takes the base's place.
func (p *product) readValue(b box) ([]byte, error) {
	e := p.adaptation
	at := b.row*e.width + b.col
	size := e.value.DType.Size()
	if p.value == nil || p.valueAt != at {
		p.close()
		var err error
		if p.value, err = e.value.Data.Stream(at * size); err != nil {
			return nil, err
		}
	}
	p.valueBuf = sized(p.valueBuf, b.elements()*size)
	if err := tensor.ReadFull(p.value, p.valueBuf); err != nil {
		return nil, of(e.value.Name, err)
	}
	p.valueAt = at + b.elements()
	return p.valueBuf, nil
}

// check refuses merged elements that are not finite where the base's are.
func (p *product) check(sums []float64, b box) error {
	for i, x := range sums {
		if x < p.limit && x > -p.limit {
			continue
		}
		if w := p.weights[i]; w-w == 0 {
			row, col := b.row+int64(i)/b.cols, b.col+int64(i)%b.cols
			return tensor.Bad("the adapter makes element [%d, %d] of %s %v, which %s cannot hold", row, col, p.adaptation.of, x, p.dtype)
		}
	}
	return nil
}

// sized returns memory for n items, that of p if it is enough.
func sized[T any](p []T, n int64) []T {
	if int64(cap(p)) < n {
		return make([]T, n)
	}
	return p[:n]
}
