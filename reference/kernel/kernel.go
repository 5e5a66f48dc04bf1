// Package kernel multiplies activations in float32 or float64 by weights as they are stored: in
// bfloat16, float16, float32 or float64, as [out, in] or [in, out]. It widens the weights in small
// blocks and never transposes or converts a whole matrix.
//
// Every element of a product is one running sum over k, in order, in which each term is added by a
// fused multiply-add (one rounding). Its bits therefore do not depend on the machine, on the number of
// threads, on how many rows are multiplied at once, or on how the weights are stored. The AVX2
// assembly, written by the generator in avo, and the generic Go code give the same bits. The build tag
// noasm leaves the assembly out.
package kernel

import (
	"unsafe"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

//go:generate sh -c "cd avo && go run . -out ../tiles_amd64.s -stubs ../tiles_amd64.go -pkg kernel"

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
	m := &Matrix{DType: tensor.F64, Rows: rows, Cols: cols, Stride: stride, InOut: inOut}
	var zero T
	if unsafe.Sizeof(zero) == 4 {
		m.DType = tensor.F32
	}
	m.Data = littleEndian(data)
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

// Blocking. Weights are packed into panels of PanelWidth outputs by BlockTerms terms: 16 KiB, which
// stay in the first-level cache while all rows of x are multiplied by them. A group of panels is packed
// together, so that x is read once for the group. Tiles of tileRows rows of x by one panel are computed
// in registers.
const (
	BlockTerms  = 256 // terms of a panel; an Order permutes the terms within a block of this size
	GroupPanels = 4   // panels of a group
	tileRows    = 6   // rows of x in a tile
	panelBytes  = 64  // bytes of one term of a panel: two AVX vectors
)

// PanelWidth returns the number of outputs of a panel: 16 in float32, 8 in float64.
func PanelWidth[T Float]() int {
	var zero T
	return panelBytes / int(unsafe.Sizeof(zero))
}

// GroupWidth returns the number of outputs of a group of panels, the smallest part of a product that is
// worth computing in a goroutine of its own.
func GroupWidth[T Float]() int { return GroupPanels * PanelWidth[T]() }

// Order changes the order of summation in a product, to measure its effect on rounding. The terms of
// each block of BlockTerms are taken in the order of Terms. Each Split of them are summed from zero,
// and their sum is added to the element. A nil *Order is the plain order.
type Order struct {
	Terms [BlockTerms]uint16 // a permutation of the terms of a block
	Split int                // number of terms that are summed separately, a divisor of BlockTerms
}

// Scratch holds the buffers of one goroutine. The zero value is ready for use.
type Scratch[T Float] struct {
	panels []T // packed weights
	rows   []T // rows of x, rearranged by an Order
	wide   []T // widened weights of one output
	tile   [tileRows * panelBytes / 4]T
}

// Multiply adds the outputs [from, to) of x·w to y: y[r][j] += Σk x[r][k]·w[k][j] for each of n rows.
// Row r of x is x[r*ldx:][:w.In()], row r of y is y[r*ldy:][:w.Out()]. order is nil for the plain order
// of summation. Multiply panics if x, y or the data of w is too short.
//
// A product with a matrix in pieces of consecutive k is a sequence of calls, one for each piece in
// order, with the same y. If an order is given, all pieces but the last must have a multiple of
// BlockTerms inputs.
func Multiply[T Float](y []T, ldy int, x []T, ldx, n int, w *Matrix, from, to int, order *Order, s *Scratch[T]) {
	if n == 0 {
		return
	}
	width := PanelWidth[T]()
	if s.panels == nil {
		s.panels = make([]T, GroupPanels*BlockTerms*width)
		s.wide = make([]T, BlockTerms)
	}
	for j := from; j < to; j += GroupPanels * width {
		outs := min(GroupPanels*width, to-j)
		for k := 0; k < w.In(); k += BlockTerms {
			terms := min(BlockTerms, w.In()-k)
			for p := 0; p < outs; p += width {
				packPanel(s.panels[p*BlockTerms:], w, k, terms, j+p, min(width, outs-p), order, s.wide)
			}
			a, lda := x[k:], ldx
			if order != nil {
				a, lda = s.reorder(x[k:], ldx, n, terms, order), terms
			}
			for p := 0; p < outs; p += width {
				s.multiplyPanel(y[j+p:], ldy, a, lda, n, s.panels[p*BlockTerms:], terms, min(width, outs-p), order)
			}
		}
	}
}

// multiplyPanel adds the product of all rows of a and one packed panel to c.
func (s *Scratch[T]) multiplyPanel(c []T, ldc int, a []T, lda, n int, b []T, terms, outs int, order *Order) {
	width := PanelWidth[T]()
	for r := 0; r < n; r += tileRows {
		rows := min(tileRows, n-r)
		if outs == width && order == nil {
			tile(rows, c[r*ldc:], ldc, a[r*lda:], lda, b, terms)
			continue
		}
		split := terms
		if order != nil {
			split = order.Split
		}
		for k := 0; k < terms; k += split {
			s.scratchTile(c[r*ldc:], ldc, a[r*lda+k:], lda, rows, b[k*width:], min(split, terms-k), outs, order != nil)
		}
	}
}

// scratchTile computes a tile in scratch memory and copies it to c. It serves panels with fewer than
// PanelWidth outputs, and with fromZero set, sums that start from zero and are added to c.
func (s *Scratch[T]) scratchTile(c []T, ldc int, a []T, lda, rows int, b []T, terms, outs int, fromZero bool) {
	width := PanelWidth[T]()
	t := s.tile[:rows*width]
	clear(t)
	if !fromZero {
		for r := range rows {
			copy(t[r*width:], c[r*ldc:][:outs])
		}
	}
	tile(rows, t, width, a, lda, b, terms)
	for r := range rows {
		to := c[r*ldc:][:outs]
		if !fromZero {
			copy(to, t[r*width:])
			continue
		}
		for j := range to {
			to[j] += t[r*width+j]
		}
	}
}

// reorder returns the columns [0, terms) of x in the order of the packed weights.
func (s *Scratch[T]) reorder(x []T, ldx, n, terms int, order *Order) []T {
	if len(s.rows) < n*BlockTerms {
		s.rows = make([]T, n*BlockTerms)
	}
	for r := range n {
		to, from := s.rows[r*terms:][:terms], x[r*ldx:][:terms]
		i := 0
		for _, k := range order.Terms {
			if int(k) < terms {
				to[i] = from[k]
				i++
			}
		}
	}
	return s.rows
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
