package kernel

import (
	"encoding/binary"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// packPanel packs the weights of the terms [k, k+terms) and the outputs [j, j+outs) into dst as
// [term][PanelWidth], widened and in the given order of terms. Columns of dst from outs on keep their
// values, because their products are not used. wide is a buffer of BlockTerms elements.
func packPanel[T Float](dst []T, w *Matrix, k, terms, j, outs int, order *Order, wide []T) {
	width := PanelWidth[T]()
	dst = dst[:terms*width]
	if w.InOut {
		packInOut(dst, w, k, terms, j, outs, order, wide)
		return
	}
	size := int(w.DType.Size())
	for o := range outs {
		row := w.Data[((j+o)*w.Stride+k)*size:][:terms*size]
		if w.DType == tensor.BF16 && order == nil {
			scatterBF16(dst[o:], width, row)
			continue
		}
		wide := wide[:terms]
		Widen(wide, w.DType, row)
		narrow(wide, w)
		scatter(dst[o:], width, wide, order)
	}
}

// packInOut is packPanel for a matrix whose rows are inputs.
func packInOut[T Float](dst []T, w *Matrix, k, terms, j, outs int, order *Order, wide []T) {
	width, size := PanelWidth[T](), int(w.DType.Size())
	at := 0
	pack := func(term int) {
		row := dst[at*width:][:outs]
		Widen(row, w.DType, w.Data[((k+term)*w.Stride+j)*size:][:outs*size])
		narrow(row, w)
		at++
	}
	if order == nil {
		for term := range terms {
			pack(term)
		}
		return
	}
	for _, term := range order.Terms {
		if int(term) < terms {
			pack(int(term))
		}
	}
}

// scatter writes the weights of one output into a column of the panel.
func scatter[T Float](column []T, width int, weights []T, order *Order) {
	if order == nil {
		for k, x := range weights {
			column[k*width] = x
		}
		return
	}
	at := 0
	for _, k := range order.Terms {
		if int(k) < len(weights) {
			column[at*width] = weights[k]
			at++
		}
	}
}

// scatterBF16 widens and scatters bfloat16 weights in one pass. This is the common case and takes most
// of the time of packing.
func scatterBF16[T Float](column []T, width int, row []byte) {
	k := 0
	for ; len(row) >= 8; row = row[8:] {
		word := binary.LittleEndian.Uint64(row)
		c := column[k*width:]
		_ = c[3*width]
		c[0] = T(math.Float32frombits(uint32(word) << 16))
		c[width] = T(math.Float32frombits(uint32(word) & 0xffff0000))
		c[2*width] = T(math.Float32frombits(uint32(word>>32) << 16))
		c[3*width] = T(math.Float32frombits(uint32(word>>32) & 0xffff0000))
		k += 4
	}
	for ; len(row) >= 2; row = row[2:] {
		column[k*width] = T(math.Float32frombits(uint32(binary.LittleEndian.Uint16(row)) << 16))
		k++
	}
}

// narrow rounds elements of w to bfloat16 if w.Narrow is set.
func narrow[T Float](x []T, w *Matrix) {
	if !w.Narrow || w.DType == tensor.BF16 {
		return
	}
	for i := range x {
		x[i] = T(RoundBF16(float32(x[i])))
	}
}
