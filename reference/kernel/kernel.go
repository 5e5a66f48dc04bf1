// Package kernel has the matrix products of the reference forward pass: activations in float32 or
// float64 times weights as they are stored (bfloat16, float16 or float32, [out, in] or [in, out]),
// widened on the way and never transposed or converted as a whole.
//
// Every element of a product is one running sum over k, in order, each term added with a fused
// multiply-add (one rounding). That fixes its bits: they do not depend on the machine, on the
// number of threads, on how many rows are multiplied at once, or on how the weights are stored.
// The AVX2 assembly (written by the generator in avo/) and the generic Go twin give the same bits;
// the tag noasm leaves the assembly out.
package kernel

import (
	"fmt"
	"unsafe"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

//go:generate sh -c "cd avo && go run . -out ../tiles_amd64.s -stubs ../tiles_amd64.go -pkg kernel"

// Float is a type that sums are taken in.
type Float interface{ float32 | float64 }

// Matrix is a weight matrix, or some rows of one, in memory as it is stored: row-major and
// little-endian.
type Matrix struct {
	DType  tensor.DType // BF16, F16, F32 or F64
	Data   []byte       // from the first element on
	Rows   int          // as stored
	Cols   int          // as stored
	Stride int          // elements from one row to the next
	InOut  bool         // rows are inputs (Flax kernels); otherwise rows are outputs (torch)
	Narrow bool         // round the elements to bfloat16 before use
}

// Dense returns the matrix whose elements are those of data. Rows of it may overlap or lie apart,
// as stride says.
func Dense[T Float](data []T, rows, cols, stride int, inOut bool) *Matrix {
	m := &Matrix{DType: tensor.F64, Rows: rows, Cols: cols, Stride: stride, InOut: inOut}
	var zero T
	if unsafe.Sizeof(zero) == 4 {
		m.DType = tensor.F32
	}
	m.Data = littleEndian(data)
	return m
}

// In returns the number of inputs, the length of the sums.
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

// Check reports a matrix of a type that products do not take, or with fewer bytes than it needs.
func (m *Matrix) Check() error {
	switch m.DType {
	case tensor.BF16, tensor.F16, tensor.F32, tensor.F64:
	default:
		return fmt.Errorf("a matrix of %s cannot be multiplied", m.DType)
	}
	if m.Rows < 0 || m.Cols < 0 || m.Stride < 0 {
		return fmt.Errorf("matrix of %d x %d with stride %d", m.Rows, m.Cols, m.Stride)
	}
	if m.Rows == 0 || m.Cols == 0 {
		return nil
	}
	if need := ((m.Rows-1)*m.Stride + m.Cols) * int(m.DType.Size()); len(m.Data) < need {
		return fmt.Errorf("matrix of %d x %d needs %d bytes but has %d", m.Rows, m.Cols, need, len(m.Data))
	}
	return nil
}

// The shape of the work. A panel is as many outputs as a tile is wide; it holds blockTerms terms
// of each sum, 16 KiB, and stays in the first-level cache while all rows of x pass by. A group of
// panels shares what is read of x.
const (
	BlockTerms  = 256 // terms that are packed at a time; an Order rearranges within them
	GroupPanels = 4
	tileRows    = 6
	panelBytes  = 64 // bytes of one packed row: two vectors
)

// PanelWidth returns the outputs of a panel: 16 in float32, 8 in float64.
func PanelWidth[T Float]() int {
	var zero T
	return panelBytes / int(unsafe.Sizeof(zero))
}

// GroupWidth returns the outputs of a group of panels: the smallest piece of a product that is
// worth a goroutine's while.
func GroupWidth[T Float]() int { return GroupPanels * PanelWidth[T]() }

// Order rearranges the sums of a product, to measure what such rearrangements do: the terms of
// each block of BlockTerms are taken in the order of Terms, summed from zero, and the block's sum
// is added to what there is. A nil Order is the plain order.
type Order struct {
	Terms [BlockTerms]uint16 // a permutation
	Split int                // terms that are summed by themselves, a divisor of BlockTerms
}

// Scratch is the memory that one goroutine packs weights into. The zero value is ready for use.
type Scratch[T Float] struct {
	panels []T
	rows   []T // rows of x in the order of an Order
	wide   []T // weights of one output
	tile   [tileRows * panelBytes / 4]T
}

// Multiply adds to y the outputs [from, to) of x times w: y[r][j] += Σk x[r][k]·w[k][j] for each of
// n rows. Row r of x is x[r*ldx:][:w.In()], row r of y is y[r*ldy:][:w.Out()]. Where the sums are
// longer than w, call it for the pieces of w in the order of k (pieces of a multiple of BlockTerms,
// where an Order is given).
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
				s.panelTimes(y[j+p:], ldy, a, lda, n, s.panels[p*BlockTerms:], terms, min(width, outs-p), order)
			}
		}
	}
}

// panelTimes adds all rows of a times one packed panel to c.
func (s *Scratch[T]) panelTimes(c []T, ldc int, a []T, lda, n int, b []T, terms, outs int, order *Order) {
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
			s.tileApart(c[r*ldc:], ldc, a[r*lda+k:], lda, rows, b[k*width:], min(split, terms-k), outs, order != nil)
		}
	}
}

// tileApart computes a tile in scratch memory: for panels that are not full, and where sums begin
// at zero and are added at their end.
func (s *Scratch[T]) tileApart(c []T, ldc int, a []T, lda, rows int, b []T, terms, outs int, fromZero bool) {
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

// reorder returns the columns [0, terms) of x in the order that the weights are packed in.
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

// littleEndian returns the bytes of data as a little-endian machine stores them.
func littleEndian[T Float](data []T) []byte {
	if len(data) == 0 {
		return nil
	}
	if hostIsLittleEndian {
		return unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), len(data)*int(unsafe.Sizeof(data[0])))
	}
	return encodeLittleEndian(data)
}
