// Package kernel multiplies activations in float32 or float64 by weights as they are stored: in
// bfloat16, float16, float32 or float64, as [out, in] or [in, out]. It widens the weights in small
// blocks and never transposes or converts a whole matrix.
//
// Every element of a product is one running sum over k, in order, in which each term is added by a
// fused multiply-add (one rounding). Its bits therefore do not depend on the machine, on the number of
// threads, on how many rows are multiplied at once, or on how the weights are stored. The assembly for
// AVX2, AVX-512 and NEON, written by the generators in avo and selected when the program starts, and the
// generic Go code give the same bits. The build tag noasm leaves the assembly out.
package kernel

import (
	"unsafe"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

//go:generate sh -c "cd avo && go run . -out ../kernel_amd64.s -stubs ../kernel_amd64.go -pkg kernel"

// Float is the type of activations and sums.
type Float interface{ float32 | float64 }

// Matrix is a weight matrix, or some rows of one, in memory as it is stored: row-major and
// little-endian.
type Matrix struct {
	DType  tensor.DType // BF16, F16, F32 or F64
	Data   []byte       // at least ((Rows-1)*Stride + Cols) elements
	Rows   int          // as stored
	Cols   int          // as stored
	Stride int          // elements from the start of one row to that of the next
	InOut  bool         // rows are inputs (Flax); otherwise rows are outputs (torch)
	Narrow bool         // round the elements to bfloat16 before use
}

// Dense returns a matrix with the elements of data, which it shares on little-endian machines. Rows
// start stride elements apart, so that they may overlap or have gaps.
func Dense[T Float](data []T, rows, cols, stride int, inOut bool) *Matrix {
	m := dense(data, rows, cols, stride, inOut)
	return &m
}

// dense is Dense without an allocation.
func dense[T Float](data []T, rows, cols, stride int, inOut bool) Matrix {
	m := Matrix{DType: tensor.F64, Data: littleEndian(data), Rows: rows, Cols: cols, Stride: stride, InOut: inOut}
	if PanelWidth[T]() == PanelWidth[float32]() {
		m.DType = tensor.F32
	}
	return m
}

// In returns the number of inputs, which is the number of terms of each sum.
func (m *Matrix) In() int {
	if m.InOut {
		return m.Rows
	}
	return m.Cols
}

// Out returns the number of outputs.
func (m *Matrix) Out() int {
	if m.InOut {
		return m.Cols
	}
	return m.Rows
}

// rounds reports whether the elements have to be rounded to bfloat16.
func (m *Matrix) rounds() bool { return m.Narrow && m.DType != tensor.BF16 }

// offset returns the offset in Data of the weight of term k for output j.
func (m *Matrix) offset(k, j int) int {
	if m.InOut {
		j, k = k, j
	}
	return (j*m.Stride + k) * int(m.DType.Size())
}

// littleEndian returns the elements of data as little-endian bytes.
func littleEndian[T Float](data []T) []byte {
	if len(data) == 0 {
		return nil
	}
	if hostIsLittleEndian {
		return unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), len(data)*int(unsafe.Sizeof(data[0])))
	}
	return encodeLittleEndian(data)
}
