package adapter

import (
	"cmp"
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Sizes that bound the memory of a stream of merged elements, whatever the rank of the adapter.
const (
	panelElements = 64 << 10  // merged at a time
	keptElements  = 256 << 10 // of a right factor that is kept because every panel needs all of it
	chunkElements = 128 << 10 // of a larger right factor, read at a time

	streamMemory = 5 << 20 // bytes: panels and factors, in float64 and as they are stored
)

// Apply returns a tensor like base, but of the given shape, whose elements are updated as they are
// read. The base and the adapter have to stay open as long as it is read.
func Apply(base *tensor.Tensor, shape []int64, updates []*Update) (*tensor.Tensor, error) {
	updates = slices.SortedFunc(slices.Values(updates), func(a, b *Update) int { return cmp.Compare(a.first, b.first) })
	for i := 1; i < len(updates); i++ {
		if updates[i-1].first+updates[i-1].elements() > updates[i].first {
			return nil, tensor.Bad("the adapter changes it twice, as %s and as %s", tensor.QuoteName(updates[i-1].parameter), tensor.QuoteName(updates[i].parameter)).Of(base.Name)
		}
	}
	out := &tensor.Tensor{Name: base.Name, DType: base.DType, Shape: shape}
	out.Data = &merged{base: base, out: out, updates: updates}
	return out, nil
}

// IsMerged reports whether a tensor is one that Apply has returned.
func IsMerged(t *tensor.Tensor) bool {
	_, ok := t.Data.(*merged)
	return ok
}

// merged is the Data of a tensor that an adapter changes.
type merged struct {
	base    *tensor.Tensor
	out     *tensor.Tensor
	updates []*Update // ascending
}

// Stream implements tensor.Data.
func (m *merged) Stream(off int64) (io.ReadCloser, error) {
	return tensor.NewPanelReader(m.out, off, &mergedSource{merged: m, stored: tensor.NewCursor(m.base)}), nil
}

// StreamMemory implements tensor.Buffered.
func (m *merged) StreamMemory() int64 { return streamMemory + tensor.StreamMemory(m.base) }

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
	product *product       // of the update that was merged last
}

// Close implements tensor.PanelSource.
func (r *mergedSource) Close() error {
	r.product.close()
	return r.stored.Close()
}

// Panel implements tensor.PanelSource.
func (r *mergedSource) Panel(buffer []byte, first int64) ([]byte, error) {
	n := min(panelElements, r.out.Elements()-first)
	var within *Update
	for _, u := range r.updates {
		if first < u.first {
			n = min(n, u.first-first)
			break
		}
		if first < u.first+u.elements() {
			within = u
			break
		}
	}
	size := r.out.DType.Size()
	buffer = sized(buffer, min(panelElements, r.out.Elements())*size)
	if within == nil {
		return buffer[:n*size], r.read(buffer[:n*size], first)
	}
	return r.merge(within, first, buffer)
}

// read fills p with elements of the base, from element first on.
func (r *mergedSource) read(p []byte, first int64) error {
	_, err := r.stored.ReadAt(p, first*r.base.DType.Size())
	return err
}

// merge returns updated elements from element first of the tensor on: whole rows of the update's
// matrix, or a part of one.
func (r *mergedSource) merge(u *Update, first int64, buffer []byte) ([]byte, error) {
	if r.product == nil || r.product.update != u {
		r.product.close()
		r.product = newProduct(u, r.base)
	}
	b := u.boxAt(first - u.first)
	panel := buffer[:b.elements()*r.out.DType.Size()]
	if u.value == nil {
		if err := r.read(panel, first); err != nil {
			return nil, err
		}
	}
	return panel, r.product.merge(panel, b)
}

// box is a part of a matrix: whole rows, or part of one row.
type box struct{ row, rows, col, cols int64 }

func (b box) elements() int64 { return b.rows * b.cols }

// boxAt returns the part of the matrix that is merged at once, from an element on.
func (u *Update) boxAt(at int64) box {
	b := box{row: at / u.width, rows: 1, col: at % u.width}
	if u.width > panelElements || b.col > 0 {
		b.cols = min(u.width-b.col, panelElements)
		return b
	}
	widest := max(u.width, 1)
	if u.left != nil {
		_, rank := u.left.Shape()
		widest = max(widest, rank)
	}
	b.cols = u.width
	b.rows = min(u.height-b.row, max(panelElements/widest, 1))
	return b
}
