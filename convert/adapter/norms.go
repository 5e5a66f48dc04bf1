package adapter

import (
	"math"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// scaleRows scales the rows of the parameter to the lengths that DoRA gave them.
func (p *product) scaleRows(sums []float64, b box) error {
	u := p.update
	if u.magnitude == nil {
		return nil
	}
	lengths, err := u.norms.of(u, p.base)
	if err != nil {
		return err
	}
	if p.magnitude == nil {
		stored := make([]byte, u.magnitude.Bytes())
		if _, err := u.magnitude.ReadAt(stored, 0); err != nil {
			return tensor.Annotate(tensor.ShortRead(err), tensor.Location{Tensor: u.magnitude.Name})
		}
		p.magnitude = make([]float64, u.magnitude.Elements())
		tensor.ValuesOf(u.magnitude.DType).Decode(p.magnitude, stored)
	}
	for i := range sums {
		k := b.row + int64(i)/b.cols
		if u.transposed {
			k = b.col + int64(i)%b.cols
		}
		sums[i] = p.magnitude[k] / lengths[k] * sums[i]
	}
	return nil
}

// norms are the Euclidean lengths of the rows of a parameter, by which DoRA divides. Computing them
// takes one reading of the whole matrix, at the first use.
type norms struct {
	once   sync.Once
	length []float64
	err    error
}

// of returns the lengths for an update of base: of the matrix's rows, or of its columns if it is the
// transpose of the parameter.
func (n *norms) of(u *Update, base *tensor.Tensor) ([]float64, error) {
	n.once.Do(func() { n.err = n.compute(u, base) })
	return n.length, n.err
}

func (n *norms) compute(u *Update, base *tensor.Tensor) error {
	plain := *u
	plain.magnitude = nil
	p := newProduct(&plain, base)
	defer p.close()
	in := tensor.NewCursor(base)
	defer in.Close()
	size := base.DType.Size()
	buffer := make([]byte, min(panelElements, u.elements())*size)
	squares := make([]float64, u.height)
	if u.transposed {
		squares = make([]float64, u.width)
	}
	for at := int64(0); at < u.elements(); {
		b := u.boxAt(at)
		stored := buffer[:b.elements()*size]
		if u.value == nil {
			if _, err := in.ReadAt(stored, (u.first+at)*size); err != nil {
				return err
			}
		}
		sum, err := p.sum(stored, b)
		if err != nil {
			return err
		}
		for i, x := range sum {
			k := b.row + int64(i)/b.cols
			if u.transposed {
				k = b.col + int64(i)%b.cols
			}
			squares[k] += float64(x * x) // not fused: the same on every machine
		}
		at += b.elements()
	}
	for i := range squares {
		squares[i] = math.Sqrt(squares[i])
	}
	n.length = squares
	return nil
}
