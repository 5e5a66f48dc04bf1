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
	return tensor.NewPanelReader(m.out, off, &mergedSource{merged: m, stored: tensor.NewCursor(m.base)}), nil
}

// Check implements tensor.Checker.
func (m *merged) Check() error {
	if c, ok := m.base.Data.(tensor.Checker); ok {
		return c.Check()
	}
	return nil
}

// mergedSource makes merged elements panel by panel.
type mergedSource struct {
	*merged
	stored  *tensor.Cursor // the base
	product *product       // of the adaptation that was merged last
}

// Close implements tensor.PanelSource.
func (r *mergedSource) Close() error {
	r.product.close()
	return r.stored.Close()
}

// Panel implements tensor.PanelSource.
func (r *mergedSource) Panel(buffer []byte, first int64) ([]byte, error) {
	n := min(mergePanel, r.out.Elements()-first)
	var within *adaptation
	for _, e := range r.adaptations {
		if first < e.first {
			n = min(n, e.first-first)
			break
		}
		if first < e.first+e.elements() {
			within = e
			break
		}
	}
	size := r.out.DType.Size()
	buffer = sized(buffer, mergePanel*size)
	if within == nil {
		return buffer[:n*size], r.read(buffer[:n*size], first)
	}
	return r.merge(within, first, buffer)
}

// read fills p with elements of the base from element first on.
func (r *mergedSource) read(p []byte, first int64) error {
	_, err := r.stored.ReadAt(p, first*r.base.DType.Size())
	return err
}

// merge returns elements of the matrix of an adaptation, from element first of the tensor on: whole rows, or part
// of one.
func (r *mergedSource) merge(e *adaptation, first int64, buffer []byte) ([]byte, error) {
	if r.product == nil || r.product.adaptation != e {
		r.product.close()
		r.product = newProduct(e, r.out.DType)
	}
	b := e.boxAt(first - e.first)
	panel := buffer[:b.elements()*r.out.DType.Size()]
	if e.value == nil {
		if err := r.read(panel, first); err != nil {
			return nil, err
		}
	}
	return panel, r.product.merge(panel, b)
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
	in := tensor.NewCursor(base)
	defer in.Close()
	size := base.DType.Size()
	buffer := make([]byte, mergePanel*size)
	squares := make([]float64, e.height)
	if e.transposed {
		squares = make([]float64, e.width)
	}
	for at := int64(0); at < e.elements(); {
		b := e.boxAt(at)
		stored := buffer[:b.elements()*size]
		if e.value == nil {
			if _, err := in.ReadAt(stored, (e.first+at)*size); err != nil {
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
