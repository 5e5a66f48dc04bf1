package convert

import (
	"cmp"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// stretch brings the rows of the parameter to the lengths that DoRA gave them.
func (p *product) stretch(sums []float64, b box) error {
	e := p.adaptation
	if e.magnitude == nil {
		return nil
	}
	lengths, err := e.norms.read(e, e.base)
	if err != nil {
		return err
	}
	if p.magnitude == nil {
		stored := make([]byte, e.magnitude.Bytes())
		if _, err := e.magnitude.ReadAt(stored, 0); err != nil {
			return of(e.magnitude.Name, tensor.ShortRead(err))
		}
		p.magnitude = make([]float64, e.magnitude.Elements())
		loaders[e.magnitude.DType](p.magnitude, stored)
	}
	for i := range sums {
		k := b.row + int64(i)/b.cols
		if e.transposed {
			k = b.col + int64(i)%b.cols
		}
		sums[i] = p.magnitude[k] / lengths[k] * sums[i]
	}
	return nil
}

// replaceRows puts the rows of single tokens into a box.
func (p *product) replaceRows(panel []byte, b box) error {
	e := p.adaptation
	if e.rows == nil {
		return nil
	}
	first, _ := slices.BinarySearchFunc(e.indices, b.row, func(r tokenRow, row int64) int { return cmp.Compare(r.row, row) })
	size, stored := p.dtype.Size(), e.rows.DType.Size()
	for _, index := range e.indices[first:] {
		if index.row >= b.row+b.rows {
			break
		}
		p.factors = sized(p.factors, b.cols*stored)
		if n, err := e.rows.ReadAt(p.factors, (index.from*e.width+b.col)*stored); n < len(p.factors) {
			return of(e.rows.Name, tensor.ShortRead(err))
		}
		p.sums = sized(p.sums, b.cols)
		p.weights = sized(p.weights, b.cols)
		loaders[e.rows.DType](p.sums, p.factors)
		copy(p.weights, p.sums)
		row := box{index.row, 1, b.col, b.cols}
		if err := p.check(p.sums, row); err != nil {
			return err
		}
		p.round(panel[(index.row-b.row)*b.cols*size:][:b.cols*size], p.sums)
	}
	return nil
}
