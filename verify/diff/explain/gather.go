package explain

import (
	"context"
	"io"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// bandBytes of the result are gathered at a time if a tensor is read in another order. The tensor is decoded
// once for each band: once for most matrices, 64 times for an embedding of 256000 x 4096 in bfloat16.
const bandBytes = 32 << 20

// open returns the elements of t in the order of m.
func (m *arrangement) open(ctx context.Context, t *tensor.Tensor) (io.ReadCloser, error) {
	if m.isIdentity() {
		r, err := t.Data.Stream(0)
		return r, annotate(t, err)
	}
	return m.openBands(ctx, t, bandBytes)
}

// openBands is open with bands of so many bytes.
func (m *arrangement) openBands(ctx context.Context, t *tensor.Tensor, bytes int64) (io.ReadCloser, error) {
	size := t.DType.Size()
	g := &bandSource{ctx: ctx, of: t, size: size, room: max(min(bytes/size, t.Elements()), 1)}
	var err error
	if g.band, err = storage.NewBuffer(int(g.room * size)); err != nil {
		return nil, err
	}
	strides := tensor.RowMajor(m.result()...).Strides
	g.axes = make([]bandAxis, len(m.axes))
	for k, axis := range m.axes {
		g.axes[axis] = bandAxis{m.orders[k].inverse(), strides[k]}
	}
	return tensor.NewPanelReader(t, 0, g), nil
}

// bandSource reads a tensor from front to back for each band of the result, and copies the elements that
// belong into the band. It implements tensor.PanelSource.
type bandSource struct {
	ctx  context.Context
	of   *tensor.Tensor
	size int64      // of an element
	axes []bandAxis // of the tensor

	band  *storage.Buffer
	room  int64 // elements that fit into it
	first int64 // element of the result that the band begins with
	end   int64 // first element after the band
}

// bandAxis tells where index j of an axis of the tensor lies in the result: at(j) * stride.
type bandAxis struct {
	axisOrder
	stride int64
}

// Close releases the band.
func (g *bandSource) Close() error { return g.band.Free() }

// Panel gathers the band that begins with element first.
func (g *bandSource) Panel(_ []byte, first int64) ([]byte, error) {
	g.first, g.end = first, min(first+g.room, g.of.Elements())
	last := g.axes[len(g.axes)-1]
	position := make([]int64, len(g.axes)) // index of the next element along each axis
	err := eachPiece(g.ctx, g.of, func(_ int64, p []byte) error {
		for len(p) > 0 {
			base := int64(0)
			for k, i := range position[:len(position)-1] {
				base += g.axes[k].at(i) * g.axes[k].stride
			}
			j := position[len(position)-1]
			n := min(last.n-j, int64(len(p))/g.size)
			g.scatter(last, base, j, p[:n*g.size])
			p = p[n*g.size:]
			position[len(position)-1] += n
			for k := len(position) - 1; k > 0 && position[k] == g.axes[k].n; k-- {
				position[k] = 0
				position[k-1]++
			}
		}
		return nil
	})
	return g.band.Bytes[:(g.end-g.first)*g.size], err
}

// scatter copies elements from index j of the last axis on: element j belongs at base + at(j) * stride.
func (g *bandSource) scatter(last bandAxis, base, j int64, p []byte) {
	base -= g.first
	end := g.end - g.first
	n := int64(len(p)) / g.size
	if last.table != nil {
		for i := range n {
			if at := base + int64(last.table[j+i])*last.stride; at >= 0 && at < end {
				copyElement(g.band.Bytes, at, p, i, g.size)
			}
		}
		return
	}
	at, stride := base+last.at(j)*last.stride, last.stride
	if last.reversed {
		stride = -stride
	}
	from, to := within(at, stride, n, end)
	if stride == 1 && from < to {
		copy(g.band.Bytes[(at+from)*g.size:], p[from*g.size:to*g.size])
		return
	}
	for i := from; i < to; i++ {
		copyElement(g.band.Bytes, at+i*stride, p, i, g.size)
	}
}

// within returns the range of i of [0, n) for which at + i*stride is in [0, end).
func within(at, stride, n, end int64) (from, to int64) {
	low, high := -at, end-1-at // of i*stride
	if stride < 0 {
		low, high, stride = -high, -low, -stride
	}
	if low > 0 {
		from = (low + stride - 1) / stride
	}
	if high >= 0 {
		to = high/stride + 1
	}
	return from, min(to, n)
}

// copyElement copies element i of src to element at of dst.
func copyElement(dst []byte, at int64, src []byte, i, size int64) {
	switch size {
	case 1:
		dst[at] = src[i]
	case 2:
		*(*[2]byte)(dst[2*at:]) = [2]byte(src[2*i:])
	case 4:
		*(*[4]byte)(dst[4*at:]) = [4]byte(src[4*i:])
	case 8:
		*(*[8]byte)(dst[8*at:]) = [8]byte(src[8*i:])
	default:
		copy(dst[at*size:(at+1)*size], src[i*size:])
	}
}

// pieceElements are read at a time.
const pieceElements = 32 << 10

// eachPiece reads a tensor from front to back, in pieces of whole elements. first is the index of a piece's
// first element.
func eachPiece(ctx context.Context, t *tensor.Tensor, f func(first int64, p []byte) error) error {
	r, err := t.Data.Stream(0)
	if err != nil {
		return annotate(t, err)
	}
	defer r.Close()
	size, total := t.DType.Size(), t.Elements()
	buffer := make([]byte, min(pieceElements, total)*size)
	for first := int64(0); first < total; first += pieceElements {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buffer[:min(pieceElements, total-first)*size]
		if err := tensor.ReadFull(r, p); err != nil {
			return annotate(t, err)
		}
		if err := f(first, p); err != nil {
			return err
		}
	}
	return nil
}

// eachPair reads the elements of a in the order of m, and those of b, in pieces of the same elements.
func (s *search) eachPair(m *arrangement, f func(first int64, p, q []byte) error) error {
	a, b := s.a.tensor, s.b.tensor
	r, err := m.open(s.ctx, a)
	if err != nil {
		return err
	}
	defer r.Close()
	size := a.DType.Size()
	buffer := make([]byte, min(pieceElements, b.Elements())*size)
	return eachPiece(s.ctx, b, func(first int64, q []byte) error {
		p := buffer[:int64(len(q))/b.DType.Size()*size]
		if err := tensor.ReadFull(r, p); err != nil {
			return annotate(a, err)
		}
		return f(first, p, q)
	})
}

// annotate adds the tensor's name to an error about its elements.
func annotate(t *tensor.Tensor, err error) error {
	return tensor.Annotate(err, tensor.Location{Tensor: t.Name})
}
