package explain

import (
	"context"
	"io"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// bandBytes are gathered at a time where a tensor is read in another order. It is decoded once for each
// band: once for most matrices, 64 times for an embedding of 256000 x 4096 in bfloat16.
const bandBytes = 32 << 20

// bands lends the memory for two bands at a time.
var bands = make(chan struct{}, 2)

// read streams the elements of o in the order of m.
func (m *arrangement) read(ctx context.Context, o *tensor.Tensor) (io.ReadCloser, error) {
	if m.plain() {
		return open(o)
	}
	select {
	case bands <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	total := o.Elements()
	size := o.DType.Size()
	g := &gathering{ctx: ctx, of: o, size: size, total: total, room: max(min(bandBytes/size, total), 1)}
	var err error
	if g.band, err = storage.NewBuffer(int(g.room * size)); err != nil {
		<-bands
		return nil, err
	}
	steps := tensor.RowMajor(m.result()...).Strides
	g.axes = make([]gatherAxis, len(m.axes))
	for k, x := range m.axes {
		g.axes[x] = gatherAxis{line: m.along[k].inverse(), step: steps[k]}
	}
	return g, nil
}

// gathering reads a tensor from front to back for each band of the result, and puts those elements in
// their places that lie in it.
type gathering struct {
	ctx   context.Context
	of    *tensor.Tensor
	size  int64
	axes  []gatherAxis // of the tensor
	total int64

	band  *storage.Buffer
	room  int64 // elements of it
	first int64 // element of the result that the band begins with
	next  int64 // first one after the band
	left  []byte
}

// gatherAxis tells where index j of an axis of the tensor lies in the result: at(j) * step.
type gatherAxis struct {
	line
	step int64
}

// Read implements io.Reader.
func (g *gathering) Read(p []byte) (int, error) {
	if len(g.left) == 0 {
		if g.next == g.total {
			return 0, io.EOF
		}
		if err := g.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, g.left)
	g.left = g.left[n:]
	return n, nil
}

// Close implements io.Closer.
func (g *gathering) Close() error {
	if g.band == nil {
		return nil
	}
	err := g.band.Free()
	g.band, g.left, g.next = nil, nil, g.total
	<-bands
	return err
}

func (g *gathering) fill() error {
	g.first, g.next = g.next, min(g.next+g.room, g.total)
	last := g.axes[len(g.axes)-1]
	index := make([]int64, len(g.axes)) // of the next element
	err := eachPiece(g.ctx, g.of, func(_ int64, p []byte) error {
		for len(p) > 0 {
			base := int64(0)
			for k, i := range index[:len(index)-1] {
				base += g.axes[k].at(i) * g.axes[k].step
			}
			j := index[len(index)-1]
			n := min(last.n-j, int64(len(p))/g.size)
			g.scatter(last, base, j, p[:n*g.size])
			p = p[n*g.size:]
			advance(index, g.axes, n)
		}
		return nil
	})
	g.left = g.band.Bytes[:(g.next-g.first)*g.size]
	return err
}

// advance counts n elements on; they do not reach beyond the end of the last axis.
func advance(index []int64, axes []gatherAxis, n int64) {
	index[len(index)-1] += n
	for k := len(index) - 1; k > 0 && index[k] == axes[k].n; k-- {
		index[k] = 0
		index[k-1]++
	}
}

// scatter puts elements from index j of the last axis on in their places: element j at base + at(j) * step.
func (g *gathering) scatter(last gatherAxis, base, j int64, p []byte) {
	base -= g.first
	end := g.next - g.first
	n := int64(len(p)) / g.size
	if last.table != nil {
		for i := range n {
			if at := base + int64(last.table[j+i])*last.step; at >= 0 && at < end {
				put(g.band.Bytes, at, p, i, g.size)
			}
		}
		return
	}
	at, step := base+last.at(j)*last.step, last.step
	if last.reversed {
		step = -step
	}
	from, to := within(at, step, n, end)
	if step == 1 && from < to {
		copy(g.band.Bytes[(at+from)*g.size:], p[from*g.size:to*g.size])
		return
	}
	for i := from; i < to; i++ {
		put(g.band.Bytes, at+i*step, p, i, g.size)
	}
}

// within returns the i of [0, n) for which at + i*step is in [0, end).
func within(at, step, n, end int64) (from, to int64) {
	low, high := -at, end-1-at // of i*step
	if step < 0 {
		low, high, step = -high, -low, -step
	}
	from, to = 0, 0
	if low > 0 {
		from = (low + step - 1) / step
	}
	if high >= 0 {
		to = high/step + 1
	}
	return from, min(to, n)
}

func put(dst []byte, at int64, src []byte, i, size int64) {
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

// eachPiece reads a tensor from front to back, in pieces of whole elements that begin with element first.
func eachPiece(ctx context.Context, o *tensor.Tensor, f func(first int64, p []byte) error) error {
	r, err := open(o)
	if err != nil {
		return err
	}
	defer r.Close()
	size, total := o.DType.Size(), o.Elements()
	buffer := make([]byte, pieceElements*size)
	for first := int64(0); first < total; first += pieceElements {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buffer[:min(pieceElements, total-first)*size]
		if err := readPiece(r, p, o); err != nil {
			return err
		}
		if err := f(first, p); err != nil {
			return err
		}
	}
	return nil
}

// eachPair reads the elements of a in the order of m, and those of b, side by side.
func eachPair(ctx context.Context, a *tensor.Tensor, m *arrangement, b *tensor.Tensor, f func(first int64, p, q []byte) error) error {
	r, err := m.read(ctx, a)
	if err != nil {
		return err
	}
	defer r.Close()
	size := a.DType.Size()
	buffer := make([]byte, pieceElements*size)
	return eachPiece(ctx, b, func(first int64, q []byte) error {
		p := buffer[:int64(len(q))/b.DType.Size()*size]
		if err := readPiece(r, p, a); err != nil {
			return err
		}
		return f(first, p, q)
	})
}

func readPiece(r io.Reader, p []byte, of *tensor.Tensor) error {
	_, err := io.ReadFull(r, p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = tensor.Bad("the elements end early")
	}
	return annotate(of, err)
}

// open reads a tensor from its first element on.
func open(t *tensor.Tensor) (io.ReadCloser, error) {
	r, err := t.Data.Stream(0)
	return r, annotate(t, err)
}

// annotate adds the tensor's name to an error about its elements.
func annotate(t *tensor.Tensor, err error) error {
	return tensor.Annotate(err, tensor.Location{Tensor: t.Name})
}
