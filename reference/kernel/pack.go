package kernel

// packPanel lays out terms × outs weights, from term k and output j on, as the tiles read them:
// dst[term][PanelWidth], widened, in the order of the terms. Outputs beyond outs have any values;
// what comes of them is not used.
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

// packPlain packs weights one by one.
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

// scatter writes elements down a column that is width wide, in an order.
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
