package adapter

import (
	"cmp"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// replaceRows replaces the rows of single tokens in a box.
func (p *product) replaceRows(panel []byte, b box) error {
	u := p.update
	if u.rows == nil {
		return nil
	}
	first, _ := slices.BinarySearchFunc(u.indices, b.row, func(r tokenRow, row int64) int { return cmp.Compare(r.row, row) })
	size, stored := p.base.DType.Size(), u.rows.DType.Size()
	for _, index := range u.indices[first:] {
		if index.row >= b.row+b.rows {
			break
		}
		p.factors = sized(p.factors, b.cols*stored)
		if n, err := u.rows.ReadAt(p.factors, (index.from*u.width+b.col)*stored); n < len(p.factors) {
			return tensor.Annotate(tensor.ShortRead(err), tensor.Location{Tensor: u.rows.Name})
		}
		p.sums = sized(p.sums, b.cols)
		p.weights = sized(p.weights, b.cols)
		tensor.ValuesOf(u.rows.DType).Decode(p.sums, p.factors)
		copy(p.weights, p.sums)
		row := box{index.row, 1, b.col, b.cols}
		if err := p.check(p.sums, row); err != nil {
			return err
		}
		p.round(panel[(index.row-b.row)*b.cols*size:][:b.cols*size], p.sums)
	}
	return nil
}
