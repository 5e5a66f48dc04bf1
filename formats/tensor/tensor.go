// Package tensor is what every checkpoint format looks like to the rest of griffin: a checkpoint
// is a list of named tensors, a tensor a name, an element type, a shape, and data that has not
// been read yet.
//
// The format packages (safetensors, torch, orbax, flax) build these values; package formats opens
// any of them. This package imports nothing else of griffin's.
package tensor

import (
	"fmt"
	"io"
	"math"
	"math/bits"
)

// Tensor is one named array of a checkpoint. Its elements are read only when Data is.
type Tensor struct {
	Name  string // the full name, as the checkpoint has it
	DType DType
	Shape []int64 // empty for a scalar
	Data  Data
}

// Data gives the elements of one tensor in row-major order, little-endian and without padding:
// the bytes that numpy's tobytes() gives on a little-endian machine. It is safe for use by several
// goroutines; the readers it returns are not.
type Data interface {
	// Stream reads from the byte offset off to the end of the elements. Its memory is bounded,
	// whatever the size of the tensor, and compressed chunks at and after off are decoded once.
	// Reading reports broken input as *FormatError. A sequential reader of the whole tensor is
	// the one access that every format can offer cheaply; Layout is for those that have more.
	Stream(off int64) (io.ReadCloser, error)
}

// Checker is implemented by Data whose bytes carry a checksum that Stream or Layout does not
// check by itself (the CRC of a zip member that is read in parts).
type Checker interface {
	// Check reads the stored bytes and reports a wrong checksum as *FormatError. Tensors that
	// share storage are read once.
	Check() error
}

// Summed is implemented by a Checker that lies uncompressed in a file. Who reads the stored bytes
// anyway can compute their checksum on the way.
type Summed interface {
	Checker
	// Checksum returns which bytes of Layout's Store have which CRC-32 (IEEE).
	Checksum() (offset, length int64, crc uint32)
	// Passed says that those bytes were read and had that checksum: Check has nothing left to do.
	Passed()
}

// Buffered is implemented by Data whose streams hold more memory than a decoder does.
type Buffered interface {
	// StreamMemory returns the bytes that one stream holds at most.
	StreamMemory() int64
}

// StreamMemory returns the bytes that a stream of t holds at most if its Data is Buffered, and
// otherwise 0.
func StreamMemory(t *Tensor) int64 {
	if b, ok := t.Data.(Buffered); ok {
		return b.StreamMemory()
	}
	return 0
}

// Elements returns the product of the shape: 1 for a scalar.
func (t *Tensor) Elements() int64 { return product(t.Shape) }

// Bytes returns the size of the elements in row-major form.
func (t *Tensor) Bytes() int64 {
	return t.Elements()/8*int64(t.DType.Bits()) + t.Elements()%8*int64(t.DType.Bits())/8
}

// ReadAt fills p with the elements' bytes from the offset off on, as io.ReaderAt does. It is
// cheap where the tensor lies uncompressed in a file and otherwise decodes up to off.
func (t *Tensor) ReadAt(p []byte, off int64) (int, error) {
	r, err := t.Data.Stream(off)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	n, err := io.ReadFull(r, p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

// SizeOf returns the elements and the bytes of a tensor, or an error where the shape has a
// negative size, the product overflows (even if a later size is 0), or the elements of a packed
// type do not fill whole bytes.
func SizeOf(d DType, shape []int64) (elements, size int64, err error) {
	elements, err = Product(shape)
	if err != nil {
		return 0, 0, err
	}
	hi, lo := bits.Mul64(uint64(elements), uint64(d.Bits()))
	if hi != 0 || lo > math.MaxInt64 {
		return 0, 0, Bad("size of %s%v overflows", d, shape)
	}
	if lo%8 != 0 {
		return 0, 0, Bad("%d elements of %s do not fill whole bytes", elements, d)
	}
	return elements, int64(lo / 8), nil
}

// Product multiplies the sizes of a shape, checking each for its sign and the product for
// overflow in int64. Zeros do not excuse an overflow of the others.
func Product(shape []int64) (int64, error) {
	n, zero := uint64(1), false
	for _, s := range shape {
		if s < 0 {
			return 0, Bad("negative size in shape %v", shape)
		}
		if s == 0 {
			zero = true
			continue
		}
		hi, lo := bits.Mul64(n, uint64(s))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, Bad("shape %s overflows", ShapeString(shape))
		}
		n = lo
	}
	if zero {
		return 0, nil
	}
	return int64(n), nil
}

func product(shape []int64) int64 {
	n := int64(1)
	for _, s := range shape {
		n *= s
	}
	return n
}

// Unravel returns the index along each axis of the element with the given number in row-major
// order. No size of the shape is 0.
func Unravel(element int64, shape []int64) []int64 {
	index := make([]int64, len(shape))
	for k := len(shape) - 1; k >= 0; k-- {
		index[k] = element % shape[k]
		element /= shape[k]
	}
	return index
}

// ShapeString prints a shape as [2, 32, 48], cut short where a hostile file claims thousands of
// axes.
func ShapeString(shape []int64) string {
	const most = 16
	s := "["
	for i, n := range shape {
		if i > 0 {
			s += ", "
		}
		if i == most {
			return s + fmt.Sprintf("… %d axes]", len(shape))
		}
		s += fmt.Sprint(n)
	}
	return s + "]"
}
