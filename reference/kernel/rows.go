package kernel

// Rows are the rows of x in a product, packed as the tiles read them: for each block of BlockTerms
// terms, for each PanelWidth rows (or what is left of them), for each term, the elements of the
// rows side by side.
type Rows[T Float] struct {
	n, in int
	order *Order
	data  []T
}

// Reset makes r ready for n rows of x with in elements each, multiplied in that order. Pack fills it.
func (r *Rows[T]) Reset(n, in int, order *Order) {
	r.n, r.in, r.order = n, in, order
	if cap(r.data) < n*in {
		r.data = make([]T, n*in)
	}
	r.data = r.data[:n*in]
}

// Blocks returns the number of blocks that Pack must be called for.
func (r *Rows[T]) Blocks() int { return (r.in + BlockTerms - 1) / BlockTerms }

// Pack packs a block of x, whose row i is x[i*ldx:][:in]. Blocks may be packed at the same time.
func (r *Rows[T]) Pack(x []T, ldx, block int, s *Scratch[T]) {
	k, width := block*BlockTerms, PanelWidth[T]()
	terms := min(BlockTerms, r.in-k)
	s.allocate()
	m := dense(x, r.n, r.in, ldx, false)
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

// panel returns the rows of a panel in the block that begins at term k: element [term][row].
func (r *Rows[T]) panel(k, terms, row int) []T {
	return r.data[k*r.n+row*terms:][:min(PanelWidth[T](), r.n-row)*terms]
}
