package diff

import (
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Operand is one side of a pair: a tensor as it is compared. Where the layouts of the two checkpoints
// differ, it shows elements of one or more stored tensors through the rules, in the order of the shape in
// which they are compared.
//
// It can be read from any element on, by several goroutines.
type Operand struct {
	*tensor.Tensor                  // the elements in the order of comparison; Name is that of the side itself
	Stored         []*tensor.Tensor // the tensors of the checkpoint that hold them

	shows *tensor.View // of Stored[0], where a model is seen as a layout has it; nil for the whole tensor as it is
}

// Direct reports whether the elements lie uncompressed in a file or in memory, so that they can be read
// in any order and from anywhere on, at no more than the cost of what is read.
func (o *Operand) Direct() bool {
	_, ok, err := tensor.Layout(o.Tensor)
	return ok && err == nil
}

// Open reads the stored bytes, little-endian and row-major, from an element on. In packed types it has
// to be one that begins at a whole byte.
func (o *Operand) Open(first int64) (io.ReadCloser, error) {
	r, err := o.Data.Stream(bytesOf(o.DType, first))
	return r, o.name(err)
}

// bytesOf returns how many bytes n elements have.
func bytesOf(d tensor.DType, n int64) int64 {
	bits := int64(d.Bits())
	return n/8*bits + n%8*bits/8
}

// tensor returns the elements in the order of comparison, or nil.
func (o *Operand) tensor() *tensor.Tensor {
	if o == nil {
		return nil
	}
	return o.Tensor
}

// name puts the tensor's name into an error about it.
func (o *Operand) name(err error) error { return nameError(o.Name, err) }

func nameError(name string, err error) error {
	return tensor.Annotate(err, tensor.Location{Tensor: name})
}
