package convert

import (
	"cmp"
	"io"
	"math"
	"slices"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Sizes that bound the memory of a stream of merged elements, whatever the rank.
const (
	mergePanel = 64 << 10  // elements that are merged at a time
	mergeKept  = 256 << 10 // elements of the right factor that are kept while panels need all of them
	mergeChunk = 128 << 10 // elements of it that are read at a time where that is too few

	mergeMemory = 5 << 20 // bytes, of all that: panels and factors in float64, and as they are stored
)

// newMerged returns a tensor like t, of a shape, whose elements are adapted as they are read.
func newMerged(t *tensor.Tensor, shape []int64, adaptations []*adaptation) (*tensor.Tensor, error) {
	adaptations = slices.SortedFunc(slices.Values(adaptations), func(a, b *adaptation) int { return cmp.Compare(a.first, b.first) })
	for i := 1; i < len(adaptations); i++ {
		if adaptations[i-1].first+adaptations[i-1].elements() > adaptations[i].first {
			return nil, tensor.Bad("the adapter changes it twice, as %s and as %s", tensor.QuoteName(adaptations[i-1].of), tensor.QuoteName(adaptations[i].of)).Of(t.Name)
		}
	}
	for _, e := range adaptations {
		e.base = t
	}
	out := &tensor.Tensor{Name: t.Name, DType: t.DType, Shape: shape}
	out.Data = &merged{base: t, out: out, adaptations: adaptations}
	return out, nil
}

// merged is the Data of a tensor that an adapter changes.
type merged struct {
	base        *tensor.Tensor
	out         *tensor.Tensor
	adaptations []*adaptation // ascending
}

// Stream implements tensor.Data.
func (m *merged) Stream(off int64) (io.ReadCloser, error) {
	size := m.out.DType.Size()
	r := &mergedReader{merged: m, base: cursor{source: m.base}, next: off / size, total: m.out.Elements(), skip: int(off % size)}
	return r, nil
}

// Check implements tensor.Checker.
func (m *merged) Check() error {
	if c, ok := m.base.Data.(tensor.Checker); ok {
		return c.Check()
	}
	return nil
}

// mergedReader reads merged elements panel by panel.
type mergedReader struct {
	*merged
	base  cursor
	next  int64 // first element that is not merged yet
	total int64
	skip  int // bytes to drop of the next panel

	buffer, panel []byte // memory of panel, and what is merged and not read yet
	scratch       []byte
	product       *product // of the adaptation that next is in
}

// Read implements io.Reader.
func (r *mergedReader) Read(p []byte) (int, error) {
	for len(r.panel) == 0 {
		if r.next >= r.total {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.panel)
	r.panel = r.panel[n:]
	return n, nil
}

// Close implements io.Closer.
func (r *mergedReader) Close() error {
	r.panel, r.total = nil, 0
	r.base.close()
	r.product.close()
	return nil
}

// fill merges the next panel.
func (r *mergedReader) fill() error {
	n := min(mergePanel, r.total-r.next)
	var within *adaptation
	for _, e := range r.adaptations {
		if r.next < e.first {
			n = min(n, e.first-r.next)
			break
		}
		if r.next < e.first+e.elements() {
			within = e
			break
		}
	}
	size := r.out.DType.Size()
	if r.buffer == nil {
		r.buffer = make([]byte, mergePanel*size)
		r.scratch = make([]byte, 64<<10)
	}
	var err error
	if within == nil {
		r.panel = r.buffer[:n*size]
		err = r.read(r.panel, r.next)
	} else {
		n, err = r.merge(within, r.next-within.first)
	}
	if err != nil {
		r.panel = nil
		return err
	}
	r.panel = r.panel[r.skip:]
	r.skip = 0
	r.next += n
	return nil
}

// read fills p with elements of the base from element at on.
func (r *mergedReader) read(p []byte, at int64) error {
	in, err := r.base.at(at*r.base.source.DType.Size(), r.scratch)
	if err != nil {
		return err
	}
	return readFull(in, p)
}

// merge fills the panel with elements of the matrix of an adaptation from element at on: whole rows, or part of
// one. It returns their number.
func (r *mergedReader) merge(e *adaptation, at int64) (int64, error) {
	if r.product == nil || r.product.adaptation != e {
		r.product.close()
		r.product = newProduct(e, r.out.DType)
	}
	b := e.boxAt(at)
	r.panel = r.buffer[:b.elements()*r.out.DType.Size()]
	if e.value == nil {
		if err := r.read(r.panel, r.next); err != nil {
			return 0, err
		}
	}
	return b.elements(), r.product.merge(r.panel, b)
}

// box is a part of a matrix: whole rows, or part of one row.
type box struct{ row, rows, col, cols int64 }

func (b box) elements() int64 { return b.rows * b.cols }

// boxAt returns the part of the matrix that is merged in one go from an element on.
func (e *adaptation) boxAt(at int64) box {
	b := box{row: at / e.width, rows: 1, col: at % e.width}
	if e.width > mergePanel || b.col > 0 {
		b.cols = min(e.width-b.col, mergePanel)
		return b
	}
	widest := max(e.width, 1)
	if e.left != nil {
		widest = max(widest, e.left.cols)
	}
	b.cols = e.width
	b.rows = min(e.height-b.row, max(mergePanel/widest, 1))
	return b
}

// norms are the Euclidean lengths of the rows of a parameter, which DoRA divides by. They take a reading
// of the whole matrix.
type norms struct {
	once   sync.Once
	length []float64
	err    error
}

// read computes the lengths, of the parameter's rows: of the matrix's columns where it is transposed.
func (n *norms) read(e *adaptation, base *tensor.Tensor) ([]float64, error) {
	n.once.Do(func() { n.err = n.compute(e, base) })
	return n.length, n.err
}

func (n *norms) compute(e *adaptation, base *tensor.Tensor) error {
	plain := *e
	plain.magnitude = nil
	p := newProduct(&plain, base.DType)
	defer p.close()
	in := cursor{source: base}
	defer in.close()
	size := base.DType.Size()
	buffer, scratch := make([]byte, mergePanel*size), make([]byte, 64<<10)
	squares := make([]float64, e.height)
	if e.transposed {
		squares = make([]float64, e.width)
	}
	for at := int64(0); at < e.elements(); {
		b := e.boxAt(at)
		stored := buffer[:b.elements()*size]
		if e.value == nil {
			r, err := in.at((e.first+at)*size, scratch)
			if err == nil {
				err = readFull(r, stored)
			}
			if err != nil {
				return err
			}
		}
		sum, err := p.sum(stored, b)
		if err != nil {
			return err
		}
		for i, x := range sum {
			k := b.row + int64(i)/b.cols
			if e.transposed {
				k = b.col + int64(i)%b.cols
			}
			squares[k] += float64(x * x) // not fused: the same on every machine
		}
		at += b.elements()
	}
	for i := range squares {
		squares[i] = math.Sqrt(squares[i])
	}
	n.length = squares
	return nil
}
