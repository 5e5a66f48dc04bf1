package kernel

// packPanel packs the weights of the terms [k, k+terms) and the outputs [j, j+outs) into dst as
// [term][PanelWidth], widened and in the given order of terms. Columns of dst from outs on have any
// values, because their products are not used.
func (s *Scratch[T]) packPanel(dst []T, w *Matrix, k, terms, j, outs int, order *Order) {
	width := PanelWidth[T]()
	dst = dst[:terms*width]
	to := dst
	if order != nil {
		to = s.spare[:terms*width]
	}
	packed := 0
	if outs == width {
		packed = pack(to, w, k, terms, j)
	}
	if packed < terms {
		s.packPlain(to[packed*width:], w, k+packed, terms-packed, j, outs)
	}
	if w.rounds() {
		for i := range to {
			to[i] = T(RoundBF16(float32(to[i])))
		}
	}
	if order == nil {
		return
	}
	at := 0
	for _, term := range order.Terms {
		if int(term) < terms {
			copy(dst[at:], to[int(term)*width:][:width])
			at += width
		}
	}
}

// packPlain is packPanel in plain order and without assembly.
func (s *Scratch[T]) packPlain(dst []T, w *Matrix, k, terms, j, outs int) {
	width, size := PanelWidth[T](), int(w.DType.Size())
	if w.InOut {
		for t := range terms {
			Widen(dst[t*width:][:outs], w.DType, w.Data[w.offset(k+t, j):][:outs*size])
		}
		return
	}
	for o := range outs {
		wide := s.wide[:terms]
		Widen(wide, w.DType, w.Data[w.offset(k, j+o):][:terms*size])
		scatter(dst[o:], width, wide, nil)
	}
}

// scatter writes elements into a column of rows of that width, in an order.
func scatter[T Float](column []T, width int, elements []T, order *Order) {
	if order == nil {
		for k, x := range elements {
			column[k*width] = x
		}
		return
	}
	at := 0
	for _, k := range order.Terms {
		if int(k) < len(elements) {
			column[at*width] = elements[k]
			at++
		}
	}
}
