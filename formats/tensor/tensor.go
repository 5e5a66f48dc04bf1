// Package tensor has the types that all checkpoint formats share. A Checkpoint is a list of named
// tensors; a Tensor has a name, an element type, a shape, and data that is read on demand.
//
// The packages of the formats (safetensors, torch, orbax, flax) make these values; package formats
// opens a checkpoint in any format. Float32s reads a tensor. This package imports no other package of
// the module.
package tensor

import (
	"fmt"
	"io"
	"math"
	"math/bits"
)

// Tensor is a named array of a checkpoint. Its elements are read when Data is.
type Tensor struct {
	Name  string // full name in the checkpoint
	DType DType
	Shape []int64 // empty for a scalar
	Data  Data
}

// Data is the elements of a tensor in row-major order, little-endian and without padding, as
// numpy's tobytes() returns them on a little-endian machine. It is safe for concurrent use, but the
// readers that it returns are not.
type Data interface {
	// Stream returns a reader of the elements from byte offset off to the end. Its memory is bounded
	// whatever the size of the tensor, and it decodes each compressed chunk at and after off once.
	// Reading corrupt input returns a *FormatError. A sequential reader is the access that every
	// format offers at low cost; Layout gives random access if there is any.
	Stream(off int64) (io.ReadCloser, error)
}

// Checker is implemented by Data that has a checksum of all its stored bytes, such as the CRC-32 of a zip
// member. Its streams check it before they give a byte.
type Checker interface {
	// Check reads the stored bytes and returns a *FormatError if their checksum is wrong. Bytes that
	// several tensors share are read once.
	Check() error
}

// Checksummed is implemented by a Checker with a Layout, whose Store is a CheckedStore. A caller that reads
// all the stored bytes can compute their checksum itself, with a ChecksumStore.
type Checksummed interface {
	Checker
	// Checksum returns a byte range of the Store of Layout and its CRC-32 (IEEE).
	Checksum() (offset, length int64, crc uint32)
	// Passed records that the caller has found the checksum right, so that Check does nothing.
	Passed()
}

// CheckedAtEnd is implemented by Data of chunks that have checksums or are compressed. Its streams check them on the way: they
// end in an error, but give the bytes before.
type CheckedAtEnd interface {
	// ChecksAtEnd reports whether there is something to check.
	ChecksAtEnd() bool
}

// Divided is implemented by Data whose streams can begin at some offsets without decoding what comes before, and check
// what they give up to the next such offset.
type Divided interface {
	// NextPart returns the first such offset after off, or the size of the elements in bytes.
	NextPart(off int64) int64
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

// ReadAt reads bytes of the elements from offset off on, as io.ReaderAt does. Unless the tensor is
// uncompressed, it decodes everything up to there.
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

// SizeOf returns the number of elements and bytes of a tensor. It returns a *FormatError if the shape
// is one that Product refuses, if the size in bytes overflows, or if the elements of a packed type do
// not fill whole bytes.
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

// Product returns the product of the sizes of a shape. It returns a *FormatError if a size is negative
// or if the product of the sizes other than 0 overflows int64.
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

// SizeString formats a number of bytes in decimal units: 5.37 GB.
func SizeString(n int64) string {
	for _, u := range []struct {
		unit string
		of   int64
	}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= u.of {
			return fmt.Sprintf("%.2f %s", float64(n)/float64(u.of), u.unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// ShapeString formats a shape as [2, 32, 48]. Of more than 16 axes, which only hostile files have, it
// shows the first 16.
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
