package diff

import (
	"errors"
	"fmt"
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Operand is one side of a pair: a tensor as it is compared. Where the layouts of the two checkpoints
// differ, it shows elements of one or more stored tensors through the rules, in the order of the shape in
// which they are compared.
//
// The stored bytes and their values can be read from any element on, by several goroutines. What a
// reader costs depends on how the tensor is stored:
//
//   - Direct: uncompressed in a file. Any order is cheap: View gives another order that is read straight
//     from the file (transposed matrices in panels of 8 MiB), and a reader may begin anywhere.
//   - Not Direct, in stored order: compressed. Front to back, once, is the one cheap way; a reader that
//     begins at element i decodes from the chunk that holds i on.
//   - Not Direct and View of another order: each 38 MiB of the view cost a decoding of the tensor, up to the
//     last element that they need. Fine for a matrix; for an embedding read both sides in stored order and
//     put positions into fingerprints instead.
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

// name puts the tensor's name into an error about it.
func (o *Operand) name(err error) error { return nameError(o.Name, err) }

func nameError(name string, err error) error {
	var bad *tensor.FormatError
	if errors.As(err, &bad) {
		bad.Of(name)
	}
	return err
}

// Lanes returns how many numbers an element is: 2 for complex types, otherwise 1.
func (o *Operand) Lanes() int { return tensor.ValuesOf(o.DType).Lanes }

// Values reads the numbers that the elements stand for, from an element on: Lanes of them for each.
func (o *Operand) Values(first int64) (*Values, error) {
	v := tensor.ValuesOf(o.DType)
	if v.Lanes == 0 {
		return nil, fmt.Errorf("elements of %s have no values", o.DType)
	}
	r, err := o.Open(first)
	if err != nil {
		return nil, err
	}
	return &Values{of: o, r: r, values: v, left: o.Elements() - first, raw: make([]byte, valuesBytes)}, nil
}

// valuesBytes are decoded at a time: whole elements of every type.
const valuesBytes = 96 << 10

// Values is a reader of numbers.
type Values struct {
	of     *Operand
	r      io.ReadCloser
	values tensor.Values
	left   int64 // elements
	raw    []byte
}

// Read puts the next numbers into p and returns how many; 0 and io.EOF at the end. p has room for at
// least 8 elements. It is filled with up to 98,304 bytes of elements at a time.
func (v *Values) Read(p []float64) (int, error) {
	if v.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)/v.values.Lanes), int64(len(v.raw))*8/int64(v.of.DType.Bits()))
	if n >= v.left {
		n = v.left
	} else if v.of.DType.Size() == 0 {
		n &^= 7
	}
	if n == 0 {
		return 0, io.ErrShortBuffer
	}
	raw := v.raw[:(n*int64(v.of.DType.Bits())+7)/8]
	if _, err := io.ReadFull(v.r, raw); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = tensor.Bad("the elements end early")
		}
		return 0, v.of.name(err)
	}
	v.left -= n
	numbers := int(n) * v.values.Lanes
	v.values.Decode(p[:numbers], raw)
	return numbers, nil
}

// Close releases the reader.
func (v *Values) Close() error { return v.r.Close() }
