// Package moves describes what a conversion does to the elements of tensors: which tensors the
// destination has, and which elements of the source fill them. A List says it as a value. Package
// transfer executes a List; package proof checks a written checkpoint against one.
package moves

import "github.com/griffin-ckpt/griffin/formats/tensor"

// List is the tensors of a destination and the moves that fill them, each element exactly once. It
// is not changed after it was made.
type List struct {
	Dests []Dest // in the order in which the destination lists them
	Moves []Move
}

// Dest is one tensor of the destination.
type Dest struct {
	Name  string
	DType tensor.DType
	Shape []int64
	Rule  string // what was done to the source, for people and conversion.json: "copy", "transpose", …
}

// Move fills consecutive elements of one Dest from one source tensor.
type Move struct {
	Source *tensor.Tensor
	View   tensor.View // which of Source's row-major elements, in which order
	Dest   int         // index into List.Dests
	Offset int64       // first element of the Dest that the move fills, in row-major order

	// Divide, if not 0, divides each element before it is rounded, once, to the dtype of the Dest. It
	// is a positive number that float32 holds exactly.
	Divide float64
}

// Cast returns the function that converts source elements to the dtype of the Dest, dividing them if
// the move divides. It is nil if elements are copied unchanged.
func (m *Move) Cast(to tensor.DType) (tensor.Divide, error) {
	if m.Divide != 0 {
		return tensor.NewDivide(m.Source.DType, to, m.Divide)
	}
	if m.Source.DType == to {
		return nil, nil
	}
	cast, err := tensor.NewCast(m.Source.DType, to)
	if err != nil {
		return nil, err
	}
	return func(dst, src []byte) (overflowed, inexact int64) { return cast(dst, src), 0 }, nil
}
