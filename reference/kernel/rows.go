package kernel

// Rows are rows of x, packed in the order in which tiles read them: [block of BlockTerms terms][panel of
// PanelWidth rows][term][row]. The last panel has fewer rows if their number is not a multiple of
// PanelWidth.
type Rows[T Float] struct {
	n, in int
	order *Order
	data  []T
}

// Reset prepares for n rows of in elements, which are to be multiplied in an order. Every block must then be
// packed.
func (r *Rows[T]) Reset(n, in int, order *Order) {
	r.n, r.in, r.order = n, in, order
	if cap(r.data) < n*in {
		r.data = make([]T, n*in)
	}
	r.data = r.data[:n*in]
}

// Blocks returns the number of blocks.
func (r *Rows[T]) Blocks() int { return (r.in + BlockTerms - 1) / BlockTerms }

// Pack packs one block of the rows of x; row i is x[i*ldx:][:in]. Several blocks may be packed at the same
// time.
func (r *Rows[T]) Pack(x []T, ldx, block int, s *Scratch[T]) {
	k, width := block*BlockTerms, PanelWidth[T]()
	terms := min(BlockTerms, r.in-k)
	s.allocate()
	m := dense(x, r.n, r.in, ldx, false)
	if r.n == 1 && r.order == nil {
		copy(r.data[k:], x[k:][:terms])
		return
	}
	for row := 0; row < r.n; row += width {
		rows := min(width, r.n-row)
		dst := r.panel(k, terms, row)
		if rows == width {
			s.packPanel(dst, &m, k, terms, row, rows, r.order)
			continue
		}
		for i := range rows {
			scatter(dst[i:], rows, x[(row+i)*ldx+k:][:terms], r.order)
		}
	}
}

// panel returns the panel that starts at a row, in the block of so many terms that starts at term k.
func (r *Rows[T]) panel(k, terms, row int) []T {
	return r.data[k*r.n+row*terms:][:min(PanelWidth[T](), r.n-row)*terms]
}
