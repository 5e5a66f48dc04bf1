package kernel

import (
	"encoding/binary"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// packPanel lays out terms × outs weights, from term k and output j on, as the tiles read them:
// dst[term][PanelWidth], widened, in the order of the terms. Outputs beyond outs are left as
// they are, for nobody reads what comes of them. wide is room for BlockTerms elements.
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

// packInOut packs a panel of weights whose outputs lie side by side.
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

// scatter writes one output's weights down a column of the panel.
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

// scatterBF16 widens and scatters at once: the common case, and most of the time that packing takes.
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

// narrow rounds the elements to bfloat16 where the matrix asks for it and they are not already.
func narrow[T Float](x []T, w *Matrix) {
	if !w.Narrow || w.DType == tensor.BF16 {
		return
	}
	for i := range x {
		x[i] = T(RoundBF16(float32(x[i])))
	}
}
