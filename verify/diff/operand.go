package diff

import (
	"fmt"
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/quantized"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// operand is one side of a pair: a tensor as it is compared. If the layouts of the two checkpoints differ,
// it is a view of a stored tensor in the layout of comparison.
type operand struct {
	*tensor.Tensor             // the elements in the order of comparison, under the stored tensor's name
	view           *storedView // nil for all elements of the stored tensor in their order
	parameter      bool        // of a model of the family, under its key in the layout of comparison
}

// storedView is a part of a stored tensor, or its elements in another order.
type storedView struct {
	tensor.View
	of *tensor.Tensor
}

// whole returns an operand that is a stored tensor as it is.
func whole(t *tensor.Tensor) *operand { return &operand{Tensor: t} }

// stored returns the tensor that holds the elements, maybe with other axes.
func (o *operand) stored() *tensor.Tensor {
	if o.view != nil {
		return o.view.of
	}
	return o.Tensor
}

// parameter returns an operand that is a parameter of a model. It keeps nothing of p that it can do without: there may be very many,
// and most are stored tensors as they are.
func parameter(p model.LayoutTensor) (*operand, error) {
	inOrder := p.View.IsRowMajor() && p.View.Elements() == p.Stored.Elements()
	if inOrder && slices.Equal(p.View.Shape, p.Stored.Shape) {
		return &operand{Tensor: p.Stored, parameter: true}, nil
	}
	shown, err := tensor.Viewed(p.Stored, p.View)
	if err != nil {
		return nil, err
	}
	o := &operand{Tensor: shown, parameter: true}
	if !inOrder {
		o.view = &storedView{p.View, p.Stored}
	}
	return o, nil
}

// direct reports whether the elements lie uncompressed in a file or in memory, so that any of them can be
// read at the cost of those alone.
func (o *operand) direct() bool {
	_, ok, err := tensor.Layout(o.Tensor)
	return ok && err == nil
}

// contiguous reports whether the elements lie one after another in a file that keeps no checksum of them.
func (o *operand) contiguous() bool {
	lay, ok, err := tensor.Layout(o.Tensor)
	if !ok || err != nil {
		return false
	}
	_, _, contiguous := lay.Contiguous()
	_, checked := o.Data.(tensor.Checker)
	return contiguous && !checked
}

// readAt fills p from a byte offset on. The operand is contiguous.
func (o *operand) readAt(p []byte, off int64) error {
	lay, _, err := tensor.Layout(o.Tensor)
	if err != nil {
		return o.annotate(err)
	}
	at, _, _ := lay.Contiguous()
	n, err := lay.Store.ReadAt(p, at+off)
	switch {
	case n == len(p):
		return nil
	case err == nil:
		err = io.EOF
	}
	return o.annotate(tensor.ShortRead(err))
}

// open reads the stored bytes, little-endian and row-major, from an element on. Of packed dtypes it is one
// that begins at a whole byte.
func (o *operand) open(first int64) (io.ReadCloser, error) {
	bits := int64(o.DType.Bits())
	r, err := o.Data.Stream(first/8*bits + first%8*bits/8)
	return r, o.annotate(err)
}

// kind is what two operands that hold the same elements have in common.
func (o *operand) kind() string { return fmt.Sprint(o.DType, o.Shape) }

// storedBytes returns the size of the elements as they are stored: of a quantised matrix that of its codes and scales.
func (o *operand) storedBytes() int64 {
	w := quantized.WeightOf(o.stored())
	if w == nil {
		return o.Bytes()
	}
	n := int64(0)
	for _, t := range w.Stored {
		n += t.Bytes()
	}
	return n
}

// tensor returns the elements in the order of comparison, or nil.
func (o *operand) tensor() *tensor.Tensor {
	if o == nil {
		return nil
	}
	return o.Tensor
}

// annotate adds the tensor's name to an error about it.
func (o *operand) annotate(err error) error { return annotate(o.Name, err) }

func annotate(name string, err error) error {
	return tensor.Annotate(err, tensor.Location{Tensor: name})
}
