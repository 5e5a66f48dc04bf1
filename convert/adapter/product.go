package adapter

import (
	"io"

	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// product merges boxes of the matrix of one update, in ascending order.
type product struct {
	update *Update
	base   *tensor.Tensor

	value     io.ReadCloser // of update.value, at element valueAt
	valueAt   int64
	valueBuf  []byte
	load      func(dst []float64, src []byte)
	round     func(dst []byte, src []float64)
	limit     float64   // the least number that rounds to infinity
	weights   []float64 // of the base, in the box
	sums      []float64
	left      []float64
	right     []float64
	kept      bool // right holds all of the factor
	factors   []byte
	magnitude []float64
}

func newProduct(u *Update, base *tensor.Tensor) *product {
	p := &product{update: u, base: base, load: tensor.ValuesOf(base.DType).Decode, round: rounders[base.DType].round, limit: rounders[base.DType].limit}
	if u.value != nil {
		p.load = tensor.ValuesOf(u.value.DType).Decode
	}
	return p
}

func (p *product) close() {
	if p != nil && p.value != nil {
		p.value.Close()
		p.value = nil
	}
}

// merge updates a box of the base's elements in place. If the update replaces them, the content of
// panel does not matter.
func (p *product) merge(panel []byte, b box) error {
	u := p.update
	if u.right != nil || u.value != nil {
		sums, err := p.sum(panel, b)
		if err != nil {
			return err
		}
		if err := p.scaleRows(sums, b); err != nil {
			return err
		}
		if err := p.check(sums, b); err != nil {
			return err
		}
		p.round(panel, sums)
	}
	return p.replaceRows(panel, b)
}

// sum returns W + scale·left·right in a box.
func (p *product) sum(stored []byte, b box) ([]float64, error) {
	u := p.update
	n := b.elements()
	p.weights = sized(p.weights, n)
	if u.value != nil {
		var err error
		if stored, err = p.readValue(b); err != nil {
			return nil, err
		}
	}
	p.load(p.weights, stored)
	p.sums = sized(p.sums, n)
	if u.right == nil {
		copy(p.sums, p.weights)
		return p.sums, nil
	}
	clear(p.sums)
	if err := p.multiply(b); err != nil {
		return nil, err
	}
	scale := u.scale
	for i, s := range p.sums {
		// Without the conversion, the compiler may fuse the two operations on some processors.
		p.sums[i] = p.weights[i] + float64(scale*s)
	}
	return p.sums, nil
}

// multiply adds left·right in a box to p.sums, the products in ascending order of the inner index.
func (p *product) multiply(b box) error {
	u := p.update
	rank, _ := u.right.Shape()
	if u.left != nil {
		p.left = sized(p.left, b.rows*rank)
		if err := p.readFactor(p.left, u.left, box{b.row, b.rows, 0, rank}); err != nil {
			return err
		}
	} else {
		p.left = append(p.left[:0], 1)
	}
	step := rank
	if rank*b.cols > keptElements {
		step = max(chunkElements/b.cols, 1)
	}
	complete := step >= rank && b.cols == u.width
	for k := int64(0); k < rank; k += step {
		n := min(step, rank-k)
		if !p.kept {
			p.right = sized(p.right, n*b.cols)
			if err := p.readFactor(p.right, u.right, box{k, n, b.col, b.cols}); err != nil {
				return err
			}
			p.kept = complete
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

// readFactor reads a part of a factor, in pieces of at most a panel unless one row is longer.
func (p *product) readFactor(dst []float64, f *peft.Factor, b box) error {
	stored, err := layoutOf(f)
	if err != nil {
		return err
	}
	step := max(panelElements/b.cols, 1)
	for row := int64(0); row < b.rows; row += step {
		n := min(step, b.rows-row)
		p.factors = sized(p.factors, n*b.cols*stored.DType.Size())
		part := stored.View.Narrow(0, b.row+row, n).Narrow(1, b.col, b.cols)
		if err := stored.Gather(p.factors, part); err != nil {
			return tensor.Annotate(err, tensor.Location{Tensor: f.Tensor.Name})
		}
		tensor.ValuesOf(stored.DType).Decode(dst[row*b.cols:][:n*b.cols], p.factors)
	}
	return nil
}

// readValue reads a box of the value that replaces the base's.
func (p *product) readValue(b box) ([]byte, error) {
	u := p.update
	at := b.row*u.width + b.col
	size := u.value.DType.Size()
	if p.value == nil || p.valueAt != at {
		p.close()
		var err error
		if p.value, err = u.value.Data.Stream(at * size); err != nil {
			return nil, err
		}
	}
	p.valueBuf = sized(p.valueBuf, b.elements()*size)
	if err := tensor.ReadFull(p.value, p.valueBuf); err != nil {
		return nil, tensor.Annotate(err, tensor.Location{Tensor: u.value.Name})
	}
	p.valueAt = at + b.elements()
	return p.valueBuf, nil
}

// check refuses merged elements that are not finite although the base's are.
func (p *product) check(sums []float64, b box) error {
	for i, x := range sums {
		if x < p.limit && x > -p.limit {
			continue
		}
		if w := p.weights[i]; w-w == 0 {
			row, col := b.row+int64(i)/b.cols, b.col+int64(i)%b.cols
			return tensor.Bad("the adapter makes element [%d, %d] of %s %v, which %s cannot hold", row, col, p.update.parameter, x, p.base.DType)
		}
	}
	return nil
}

// sized returns memory for n items: that of p if it is large enough.
func sized[T any](p []T, n int64) []T {
	if int64(cap(p)) < n {
		return make([]T, n)
	}
	return p[:n]
}
