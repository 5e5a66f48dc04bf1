package convert

import (
	"slices"

	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// adaptation is what an adapter does to consecutive elements of a tensor: the matrix, rows by columns, that
// the parameter is in the order of the tensor that holds it. A vector is a matrix of one row.
type adaptation struct {
	of         string // the parameter
	base       *tensor.Tensor
	first      int64 // element of the tensor
	height     int64 // rows of the matrix
	width      int64 // columns of the matrix
	transposed bool  // the matrix is the transpose of the parameter's

	value *tensor.Tensor // in the matrix's order; nil: the elements stay

	left, right *factor // [height, rank], [rank, width]; left is nil for a matrix of one row and rank 1
	scale       float64

	magnitude *tensor.Tensor // of each row of the parameter
	norms     *norms

	rows    *tensor.Tensor // [tokens, width]
	indices []tokenRow     // ascending
}

// tokenRow says which row of adaptation.rows a row of the matrix is.
type tokenRow struct{ row, from int64 }

// factor is a matrix of an adapter in the order in which it is multiplied.
type factor struct {
	rows, cols int64
	name       string
	lay        *tensor.Strided // of that shape
}

// newAdaptation checks a change against the shape of its parameter, in the Hugging Face layout, and turns it
// into an adaptation of the tensor that o makes the parameter from.
func newAdaptation(c *peft.Change, shape []int64, o op) (*adaptation, error) {
	inverse, first := o.inverse().apply(tensor.RowMajor(shape...))
	e := &adaptation{of: c.Parameter, first: first, scale: c.Scale, height: 1, width: inverse.Elements()}
	if v := c.Value; v != nil {
		if !slices.Equal(v.Shape, shape) {
			return nil, tensor.Bad("%s, and the parameter is %s", tensor.ShapeString(v.Shape), tensor.ShapeString(shape)).Of(v.Name)
		}
		var err error
		if e.value, err = tensor.Viewed(v, inverse); err != nil {
			return nil, err
		}
	}
	if c.Left == nil && c.Rows == nil && c.Right == nil {
		return e, nil
	}
	if axes := len(shape); (c.Left != nil || c.Rows != nil) && axes != 2 || c.Left == nil && c.Right != nil && axes != 1 {
		return nil, tensor.Bad("a parameter of shape %s is not adapted so", tensor.ShapeString(shape)).Of(c.Parameter)
	}
	if len(shape) == 2 {
		e.height, e.width = shape[0], shape[1]
		e.transposed = !inverse.IsRowMajor()
		if e.transposed {
			e.height, e.width = shape[1], shape[0]
		}
	}
	if err := e.multiply(c, shape); err != nil {
		return nil, err
	}
	return e, e.replaceRows(c)
}

// multiply adds the product.
func (e *adaptation) multiply(c *peft.Change, shape []int64) error {
	if c.Right == nil {
		return nil
	}
	left, right := c.Left, c.Right
	rows := int64(1)
	if left != nil {
		rows, _ = left.Shape()
	}
	if _, cols := right.Shape(); cols != shape[len(shape)-1] || len(shape) == 2 && rows != shape[0] {
		return tensor.Bad("a product of shape [%d, %d], and the parameter is %s", rows, cols, tensor.ShapeString(shape)).Of(right.Tensor.Name)
	}
	if e.transposed {
		left, right = transposedFactor(right), transposedFactor(left)
	}
	var err error
	if left != nil {
		if e.left, err = newFactor(left); err != nil {
			return err
		}
	}
	if e.right, err = newFactor(right); err != nil {
		return err
	}
	if v := c.Magnitude; v != nil {
		if v.Elements() != shape[0] {
			return tensor.Bad("%s, for a matrix of %d rows", tensor.ShapeString(v.Shape), shape[0]).Of(v.Name)
		}
		e.magnitude, e.norms = v, &norms{}
	}
	return nil
}

// replaceRows adds the rows of single tokens.
func (e *adaptation) replaceRows(c *peft.Change) error {
	if c.Rows == nil {
		return nil
	}
	if e.transposed || c.Rows.Shape[1] != e.width {
		return tensor.Bad("%s, for rows of %d elements", tensor.ShapeString(c.Rows.Shape), e.width).Of(c.Rows.Name)
	}
	for from, row := range c.Indices {
		if row >= e.height {
			return tensor.Bad("token %d of a vocabulary of %d", row, e.height).Of(c.Rows.Name)
		}
		e.indices = append(e.indices, tokenRow{row, int64(from)})
	}
	slices.SortFunc(e.indices, func(a, b tokenRow) int { return int(a.row - b.row) })
	e.rows = c.Rows
	return nil
}

// elements returns how many elements of the tensor the adaptation covers.
func (e *adaptation) elements() int64 { return e.height * e.width }

func transposedFactor(f *peft.Factor) *peft.Factor {
	return &peft.Factor{Tensor: f.Tensor, Transposed: !f.Transposed}
}

func newFactor(f *peft.Factor) (*factor, error) {
	rows, cols := f.Shape()
	lay, ok, err := tensor.Layout(f.Tensor)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, tensor.Bad("compressed, and factors are read piece by piece").Of(f.Tensor.Name).Advise("save the adapter with today's PEFT")
	}
	turned := *lay
	if len(turned.View.Shape) == 1 {
		turned.View = turned.View.Unsqueeze(0)
	}
	if f.Transposed {
		turned.View = turned.View.Permute(1, 0)
	}
	return &factor{rows, cols, f.Tensor.Name, &turned}, nil
}
