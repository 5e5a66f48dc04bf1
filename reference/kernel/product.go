package kernel

import (
	"math"
	"unsafe"
)

// Blocking. Weights are packed into panels of PanelWidth outputs by BlockTerms terms: 16 KiB. A pair of
// panels is packed and then multiplied by all rows of x, while it stays in the first-level cache. x is
// packed in the same way. Tiles of a few rows of x by one panel or two are computed in registers.
const (
	BlockTerms = 256 // terms of a panel, or pairs of terms; an Order permutes the terms within a block of this size
	panelBytes = 64  // bytes of one term of a panel
	pairPanels = 2   // panels that are multiplied together
	groupPairs = 8   // pairs of a group
)

// PanelWidth returns the number of outputs of a panel: 16 in float32, 8 in float64.
func PanelWidth[T Float]() int {
	var zero T
	return panelBytes / int(unsafe.Sizeof(zero))
}

// PairWidth returns the number of outputs of a pair of panels. A product should be divided at multiples
// of it.
func PairWidth[T Float]() int { return pairPanels * PanelWidth[T]() }

// GroupWidth returns the number of outputs of a group of pairs, which are computed block by block
// of terms, so that a block of x is read once for the group.
func GroupWidth[T Float]() int { return groupPairs * PairWidth[T]() }

// TaskWidth returns the number of outputs of the tasks into which a product of n rows with w should be
// divided for a number of goroutines.
func TaskWidth[T Float](n int, w *Matrix, threads int) int {
	pair := PairWidth[T]()
	share := (w.Out() + threads - 1) / threads
	switch {
	case n > maxTileRows:
		share = min(share/4, GroupWidth[T]()) // small tasks, so that all goroutines finish together
	case !w.InOut:
		share = min(share, pair)
	}
	return max((share+pair-1)/pair, 1) * pair
}

// Scratch holds the buffers of one goroutine. The zero value is ready for use.
type Scratch[T Float] struct {
	// Ahead, if not empty, is the start of the weights that the goroutine multiplies after those of this call. They are fetched
	// while the last outputs are computed for a few rows.
	Ahead []byte

	panels []T     // a pair of packed panels
	spare  []T     // a packed panel before an Order permutes it
	wide   []T     // widened weights of one output, or of two terms
	apart  []T     // sums of a tile of a panel that is not full
	rows   Rows[T] // x of Multiply
	lines  lines
}

func (s *Scratch[T]) allocate() {
	if s.panels == nil {
		panel := BlockTerms * PanelWidth[T]()
		s.panels = make([]T, pairPanels*panel)
		s.spare = make([]T, panel)
		s.wide = make([]T, 2*BlockTerms)
		s.apart = make([]T, maxTileRows*PanelWidth[T]())
	}
}

// Multiply adds the outputs [from, to) of x·w to y: y[r][j] += Σk x[r][k]·w[k][j] for each of n rows.
// Row r of x is x[r*ldx:][:w.In()], row r of y is y[r*ldy:][:w.Out()]. order is nil for the plain order
// of summation. Multiply panics if x, y or the data of w is too short.
//
// A product with a matrix in pieces of consecutive k is a sequence of calls, one for each piece in
// order, with the same y. If an order is given, all pieces but the last must have a multiple of
// BlockTerms inputs.
func Multiply[T Float](y []T, ldy int, x []T, ldx, n int, w *Matrix, from, to int, order *Order, s *Scratch[T]) {
	s.rows.Reset(n, w.In(), order)
	for block := range s.rows.Blocks() {
		s.rows.Pack(x, ldx, block, s)
	}
	MultiplyPacked(y, ldy, &s.rows, 0, w, from, to, s)
}

// MultiplyPacked is Multiply for packed rows. It multiplies the w.In() terms of x from first on, which is
// a multiple of BlockTerms, or of twice that for the rows of ResetPairs. Several goroutines may use the same rows.
func MultiplyPacked[T Float](y []T, ldy int, x *Rows[T], first int, w *Matrix, from, to int, s *Scratch[T]) {
	if x.n == 0 || from >= to {
		return
	}
	s.allocate()
	p := product[T]{y: y, ldy: ldy, x: x, first: first / x.terms, steps: x.steps(w.In()), w: w, s: s}
	if p, ok := any(&p).(*product[float32]); ok && x.order == nil && (x.pairs() || !w.rounds()) {
		from = multiplyDirectly(p, from, to)
	}
	group := PairWidth[T]()
	if w.InOut || x.n*p.steps*int(unsafe.Sizeof(y[0])) > cachedRows {
		group = GroupWidth[T]()
	}
	for j := from; j < to; j += group {
		p.group(j, min(j+group, to))
	}
}

// cachedRows is the number of bytes of x that stay in the second-level cache beside the panels.
const cachedRows = 256 << 10

// product is one call of Multiply.
type product[T Float] struct {
	y     []T
	ldy   int
	x     *Rows[T]
	first int // step of x that multiplies the first step of w
	steps int // of w
	w     *Matrix
	s     *Scratch[T]
}

// group computes the outputs [from, to), a pair of panels and BlockTerms steps at a time.
func (p *product[T]) group(from, to int) {
	pair := PairWidth[T]()
	for k := 0; k < p.steps; k += BlockTerms {
		for j := from; j < to; j += pair {
			nextK, nextJ := k, j+pair
			if nextJ >= to {
				nextK, nextJ = k+BlockTerms, from
			}
			if nextK >= p.steps {
				nextK, nextJ = 0, to
			}
			p.s.lines.of(p.w, p.x.terms, nextK, nextJ, pair)
			p.pair(k, min(BlockTerms, p.steps-k), j, min(pair, to-j))
		}
	}
}

// pair packs two panels and multiplies all rows by them. The first tile prefetches the weights of the next
// pair.
func (p *product[T]) pair(k, steps, j, outs int) {
	width := PanelWidth[T]()
	for o := 0; o < outs; o += width {
		p.x.packPanel(p.s.panels[o*BlockTerms:], p.w, k, steps, j+o, min(width, outs-o), p.s)
	}
	full := outs / width
	for row := p.block(k, steps, j, outs); row < p.x.n; row += width {
		rows := min(width, p.x.n-row)
		a := p.x.panel(p.first+k, steps, row)
		tiles := (rows + use.rows - 1) / use.rows
		for t := range tiles {
			r, end := t*rows/tiles, (t+1)*rows/tiles
			c := p.y[(row+r)*p.ldy+j:]
			if full > 0 {
				p.tile(end-r, full, c, p.ldy, a[r:], rows, p.s.panels, steps)
			}
			if rest := outs % width; rest > 0 {
				p.tileApart(end-r, rest, c[full*width:], a[r:], rows, p.s.panels[full*width*BlockTerms:], steps)
			}
			p.s.lines.none()
		}
	}
}

// block multiplies the first rows by two full panels and returns how many, if the instruction set has a routine for that.
func (p *product[T]) block(k, steps, j, outs int) int {
	width := PanelWidth[T]()
	n := p.x.n / width * width
	f, ok := any(p).(*product[float32])
	if !ok || n == 0 || outs != pairPanels*width || p.x.order != nil {
		return 0
	}
	block := use.block32
	if p.x.pairs() {
		block = use.pairs.block
	}
	if block == nil {
		return 0
	}
	block(n, f.y[j:], p.ldy, f.x.data[(p.first+k)*p.x.n:][:n*steps], f.s.panels, steps, &p.s.lines)
	return n
}

// tile multiplies a tile. If an Order is set, it sums Order.Split terms at a time.
func (p *product[T]) tile(rows, panels int, c []T, ldc int, a []T, lda int, b []T, steps int) {
	if p.x.order == nil {
		tile(rows, panels, c, ldc, a, lda, b, steps, p.x.pairs(), false, &p.s.lines)
		return
	}
	for k := 0; k < steps; k += p.x.order.Split {
		tile(rows, panels, c, ldc, a[k*lda:], lda, b[k*PanelWidth[T]():], min(p.x.order.Split, steps-k), false, true, &p.s.lines)
	}
}

// tileApart multiplies a tile of a panel that is not full. It computes in a buffer, because tiles are
// as wide as panels.
func (p *product[T]) tileApart(rows, outs int, c []T, a []T, lda int, b []T, steps int) {
	width := PanelWidth[T]()
	for r := range rows {
		copy(p.s.apart[r*width:], c[r*p.ldy:][:outs])
	}
	p.tile(rows, 1, p.s.apart, width, a, lda, b, steps)
	for r := range rows {
		copy(c[r*p.ldy:][:outs], p.s.apart[r*width:])
	}
}

// directSteps is the number of steps of weights [in, out] that multiplyDirectly reads at the same time.
const directSteps = 16

// multiplyDirectly computes outputs [from, end) without packing the weights, and returns end. It does so
// for a few rows, for which packing would take longer than reading the weights from memory.
func multiplyDirectly(p *product[float32], from, to int) int {
	w, n, size, perStep := p.w, p.x.n, int(p.w.DType.Size()), p.x.terms
	outs := (to - from) / directOutputs * directOutputs
	steps := w.In() / perStep // that have all terms
	if outs == 0 || n > maxTileRows || steps == 0 || w.InOut && steps < p.steps {
		return from
	}
	direct := use.direct
	if p.x.pairs() {
		direct = use.pairs.direct
	}
	// part multiplies some steps of some outputs, and prefetches next.
	part := func(k, steps, j, outs int, next stream) int {
		// The assembly does not check bounds.
		src := w.Data[w.offset(k*perStep, j) : w.offset((k+steps)*perStep-1, j+outs-1)+size]
		y, x := p.y[j:][:(n-1)*p.ldy+outs], p.x.data[(p.first+k)*n:][:steps*n]
		return direct(n, y, p.ldy, x, w.DType, w.InOut, src, w.Stride*size, steps, outs, next)
	}
	if w.InOut {
		for k := 0; k < steps; k += directSteps {
			if part(k, min(directSteps, steps-k), from, outs, w.stream((k+directSteps)*perStep, from, outs)) == 0 {
				return from
			}
		}
		return from + outs
	}
	for j := from; j < from+outs; j += directOutputs {
		next := w.stream(0, j+directOutputs, directOutputs)
		if j+directOutputs == from+outs && len(p.s.Ahead) > 0 {
			next = stream{first: &p.s.Ahead[0], run: math.MaxInt}
		}
		done := part(0, steps, j, directOutputs, next)
		if done == 0 {
			return j
		}
		if done < p.steps {
			p.s.lines.none()
			p.pair(done, p.steps-done, j, directOutputs)
		}
	}
	return from + outs
}
