package model

import (
	"bytes"
	"context"
	"reflect"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Copy is a tensor that should have the elements of another: the output head of a tied model. Check
// compares them.
type Copy struct {
	Of     *tensor.Tensor
	Tensor *tensor.Tensor
	View   tensor.View // which of Tensor's row-major elements are those of Of, in its order
}

// Check returns the first element of c.Of in which the tensors differ, or -1. It reads both, unless
// they are the same storage.
func (c *Copy) Check(ctx context.Context) (element int64, err error) {
	if c.Tensor.DType != c.Of.DType || !slices.Equal(c.View.Shape, c.Of.Shape) {
		return 0, nil
	}
	if c.sharesStorage() {
		return -1, nil
	}
	ordered, err := tensor.Viewed(c.Tensor, c.View)
	if err != nil {
		return 0, err
	}
	element = -1
	err = readBoth(ctx, c.Of, ordered, func(off int64, p, q []byte) (more bool) {
		if bytes.Equal(p, q) {
			return true
		}
		i := int64(0)
		for p[i] == q[i] {
			i++
		}
		element = (off + i) / c.Of.DType.Size()
		return false
	})
	return element, err
}

// sharesStorage reports whether both tensors are the same bytes of the same file, as torch saves tied
// parameters.
func (c *Copy) sharesStorage() bool {
	if !c.View.IsRowMajor() {
		return false
	}
	a, okA, errA := tensor.Layout(c.Of)
	b, okB, errB := tensor.Layout(c.Tensor)
	if !okA || !okB || errA != nil || errB != nil || !reflect.TypeOf(tensor.Unchecked(a.Store)).Comparable() {
		return false
	}
	return tensor.Unchecked(a.Store) == tensor.Unchecked(b.Store) && a.Base == b.Base && a.DType == b.DType && a.BigEndian == b.BigEndian && a.View.Offset == b.View.Offset &&
		slices.Equal(a.View.Shape, b.View.Shape) && slices.Equal(a.View.Strides, b.View.Strides)
}
