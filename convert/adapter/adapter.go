// Package adapter applies a PEFT adapter (LoRA, DoRA, rows of single tokens, parameters trained in
// full) to tensors. The result is a tensor whose elements are merged as they are read, in the order
// and the type in which the base stores them.
//
// Each element of an adapted matrix is W + scale·Σ B[i,k]·A[k,j], computed in float64 with the sum in
// ascending k, and rounded once to the type of W. Products of float32 are exact in float64, so that
// the result is the same on every machine, and nearly always the correctly rounded one. Parameters
// that were trained in full are rounded to the type of what they replace.
package adapter

import (
	"slices"

	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// ReasonShape is the reason for refusing a change that fits a parameter of another shape than the model's.
const ReasonShape tensor.Reason = "other shape"

// Update is what an adapter does to one parameter of a model, in terms of the tensor that stores the
// parameter: consecutive elements of it, taken as a matrix. A vector is a matrix of one row.
type Update struct {
	parameter  string // its name in the adapter
	first      int64  // first element of the tensor
	height     int64  // rows of the matrix
	width      int64  // columns of the matrix
	transposed bool   // the matrix is the transpose of the parameter

	value *tensor.Tensor // replaces the elements, in the order of the matrix; nil if they stay

	left, right *peft.Factor // [height, rank] and [rank, width]; left is nil for a matrix of one row and rank 1
	scale       float64

	magnitude *tensor.Tensor // the lengths that DoRA gives the rows of the parameter, or nil
	norms     *norms

	rows    *tensor.Tensor // [tokens, width]: replaces rows of the matrix, or nil
	indices []tokenRow     // ascending
}

// tokenRow maps a row of the matrix to the row of Update.rows that replaces it.
type tokenRow struct{ row, from int64 }

// NewUpdate checks a change against the shape of its parameter. stored shows the parameter's
// elements, of its row-major ones, in the order of the tensor that stores them; first is the element
// of that tensor at which they begin. A change that does not fit is a *tensor.FormatError.
func NewUpdate(c *peft.Change, shape []int64, stored tensor.View, first int64) (*Update, error) {
	u := &Update{parameter: c.Parameter, first: first, scale: c.Scale, height: 1, width: stored.Elements()}
	if v := c.Value; v != nil {
		if !slices.Equal(v.Shape, shape) {
			return nil, tensor.Bad("%s, and the parameter is %s", tensor.ShapeString(v.Shape), tensor.ShapeString(shape)).Of(v.Name).Because(ReasonShape)
		}
		var err error
		if u.value, err = tensor.Viewed(v, stored); err != nil {
			return nil, err
		}
	}
	if c.Left == nil && c.Rows == nil && c.Right == nil {
		return u, nil
	}
	if axes := len(shape); (c.Left != nil || c.Rows != nil) && axes != 2 || c.Left == nil && c.Right != nil && axes != 1 {
		return nil, tensor.Bad("a parameter of shape %s cannot be adapted in this way", tensor.ShapeString(shape)).Of(c.Parameter)
	}
	if len(shape) == 2 {
		u.height, u.width = shape[0], shape[1]
		u.transposed = !stored.IsRowMajor()
		if u.transposed {
			u.height, u.width = shape[1], shape[0]
		}
	}
	if err := u.setProduct(c, shape); err != nil {
		return nil, err
	}
	return u, u.setRows(c)
}

// setProduct sets the factors, and the magnitude.
func (u *Update) setProduct(c *peft.Change, shape []int64) error {
	if c.Right == nil {
		return nil
	}
	left, right := c.Left, c.Right
	rows, inner := int64(1), int64(1)
	if left != nil {
		rows, inner = left.Shape()
	}
	rank, cols := right.Shape()
	if rank != inner || rank == 0 {
		return tensor.Bad("a product of [%d, %d] and [%d, %d]; the inner lengths must be equal and not 0", rows, inner, rank, cols).Of(right.Tensor.Name)
	}
	if cols != shape[len(shape)-1] || len(shape) == 2 && rows != shape[0] {
		return tensor.Bad("a product of shape [%d, %d], and the parameter is %s", rows, cols, tensor.ShapeString(shape)).Of(right.Tensor.Name).Because(ReasonShape)
	}
	if u.transposed {
		left, right = transposedFactor(right), transposedFactor(left)
	}
	for _, f := range []*peft.Factor{left, right} {
		if f == nil {
			continue
		}
		if _, err := layoutOf(f); err != nil {
			return err
		}
	}
	u.left, u.right = left, right
	if v := c.Magnitude; v != nil {
		if v.Elements() != shape[0] {
			return tensor.Bad("%s, for a matrix of %d rows", tensor.ShapeString(v.Shape), shape[0]).Of(v.Name)
		}
		u.magnitude, u.norms = v, &norms{}
	}
	return nil
}

// setRows sets the rows of single tokens.
func (u *Update) setRows(c *peft.Change) error {
	if c.Rows == nil {
		return nil
	}
	if shape := c.Rows.Shape; u.transposed || len(shape) != 2 || shape[1] != u.width {
		return tensor.Bad("%s, for rows of %d elements", tensor.ShapeString(shape), u.width).Of(c.Rows.Name).Because(ReasonShape)
	}
	if n := c.Rows.Shape[0]; n != int64(len(c.Indices)) {
		return tensor.Bad("%d rows for %d tokens", n, len(c.Indices)).Of(c.Rows.Name)
	}
	for from, row := range c.Indices {
		if row < 0 || row >= u.height {
			return tensor.Bad("token %d of a vocabulary of %d", row, u.height).Of(c.Rows.Name).Because(ReasonShape)
		}
		u.indices = append(u.indices, tokenRow{row, int64(from)})
	}
	slices.SortFunc(u.indices, func(a, b tokenRow) int { return int(a.row - b.row) })
	u.rows = c.Rows
	return nil
}

// elements returns the number of elements of the tensor that the update covers.
func (u *Update) elements() int64 { return u.height * u.width }

func transposedFactor(f *peft.Factor) *peft.Factor {
	return &peft.Factor{Tensor: f.Tensor, Transposed: !f.Transposed}
}

// layoutOf returns where the elements of a factor lie, as a matrix.
func layoutOf(f *peft.Factor) (*tensor.Strided, error) {
	stored, ok, err := tensor.Layout(f.Tensor)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, tensor.Bad("compressed, and factors are read piece by piece").Of(f.Tensor.Name).Advise("save the adapter with a current PEFT")
	}
	ordered := *stored
	if len(ordered.View.Shape) == 1 {
		ordered.View = ordered.View.Unsqueeze(0)
	}
	if f.Transposed {
		ordered.View = ordered.View.Permute(1, 0)
	}
	return &ordered, nil
}
