package kernel

// Rows are rows of x, packed in the order in which tiles read them: [block of BlockTerms steps][panel of
// PanelWidth rows][step][row]. The last panel has fewer rows if their number is not a multiple of
// PanelWidth. A step is a term or, of ResetPairs, a pair of terms.
type Rows[T Float] struct {
	n, in int
	terms int // of a step, 1 or 2
	order *Order
	data  []T
}

// Reset prepares for n rows of in elements, which are to be multiplied in an order. Every block must then be
// packed.
func (r *Rows[T]) Reset(n, in int, order *Order) { r.reset(n, in, 1, order) }

// ResetPairs prepares for n rows of in elements of float32, which are rounded to bfloat16, as are the weights that they are
// multiplied by. See the package comment for the products.
func ResetPairs(r *Rows[float32], n, in int) { r.reset(n, in, 2, nil) }

func (r *Rows[T]) reset(n, in, terms int, order *Order) {
	r.n, r.in, r.terms, r.order = n, in, terms, order
	length := n * r.steps(in)
	if cap(r.data) < length {
		r.data = make([]T, length)
	}
	r.data = r.data[:length]
}

// pairs reports whether a step is a pair of terms.
func (r *Rows[T]) pairs() bool { return r.terms == 2 }

// steps returns the number of steps of so many terms.
func (r *Rows[T]) steps(terms int) int { return (terms + r.terms - 1) / r.terms }

// Blocks returns the number of blocks.
func (r *Rows[T]) Blocks() int { return (r.steps(r.in) + BlockTerms - 1) / BlockTerms }

// Pack packs one block of the rows of x; row i is x[i*ldx:][:in]. Several blocks may be packed at the same
// time.
func (r *Rows[T]) Pack(x []T, ldx, block int, s *Scratch[T]) {
	k, width := block*BlockTerms, PanelWidth[T]()
	steps := min(BlockTerms, r.steps(r.in)-k)
	s.allocate()
	m := dense(x, r.n, r.in, ldx, false)
	if r.n == 1 && r.order == nil && !r.pairs() {
		copy(r.data[k:], x[k:][:steps])
		return
	}
	for row := 0; row < r.n; row += width {
		rows := min(width, r.n-row)
		dst := r.panel(k, steps, row)
		if rows == width {
			r.packPanel(dst, &m, k, steps, row, rows, s)
			continue
		}
		for i := range rows {
			from := x[(row+i)*ldx:][:r.in]
			if r.pairs() {
				scatterPairs(any(dst[i:]).([]float32), rows, any(from).([]float32)[2*k:], steps)
			} else {
				scatter(dst[i:], rows, from[k:][:steps], r.order)
			}
		}
	}
}

// packPanel packs a panel of w, or of the rows themselves, for the products of the rows.
func (r *Rows[T]) packPanel(dst []T, w *Matrix, k, steps, j, outs int, s *Scratch[T]) {
	if dst, ok := any(dst).([]float32); ok && r.pairs() {
		packPairs(dst, w, k, steps, j, outs, any(s.wide).([]float32))
		return
	}
	s.packPanel(dst, w, k, steps, j, outs, r.order)
}

// panel returns the panel that starts at a row, in the block of so many steps that starts at step k.
func (r *Rows[T]) panel(k, steps, row int) []T {
	return r.data[k*r.n+row*steps:][:min(PanelWidth[T](), r.n-row)*steps]
}
