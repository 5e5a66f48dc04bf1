package convert

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Viewed returns a tensor that shows elements of another in another order: element i of it, in
// row-major order, is the one that view shows, of t's own row-major elements. Nothing is read.
//
// Where t lies uncompressed in a file, so does the result (tensor.Layout), and any part of it can be
// read at the cost of that part. Where t has to be decoded, a stream of another order holds at most
// viewedBytes and decodes t once for as many bytes of the result: cheap for what fits, and for views
// that ask for elements in nearly the order of t.
func Viewed(t *tensor.Tensor, view tensor.View) (*tensor.Tensor, error) {
	if err := tensor.CheckView(view, t.Elements()); err != nil {
		return nil, fmt.Errorf("view of %s: %v", t.Name, err)
	}
	if view.IsRowMajor() && view.Offset == 0 && view.Elements() == t.Elements() {
		return &tensor.Tensor{Name: t.Name, DType: t.DType, Shape: view.Shape, Data: t.Data}, nil
	}
	if t.DType.Size() == 0 {
		return nil, tensor.Bad("elements of %s have no address of their own", t.DType).Of(t.Name)
	}
	out := &tensor.Tensor{Name: t.Name, DType: t.DType, Shape: view.Shape}
	lay, ok, err := tensor.Layout(t)
	if err != nil {
		return nil, err
	}
	if ok {
		if inStore, ok := compose(view, lay); ok {
			composed := *lay
			composed.View = inStore
			out.Data = &composed
			return out, nil
		}
	}
	out.Data = &viewed{of: t, view: view, most: viewedBytes, piece: pieceBytes}
	return out, nil
}

// viewedBytes is what a stream in another order holds at most: a whole matrix of the 2B model.
const viewedBytes = 38 << 20

// pieceBytes of the source are read at a time.
const pieceBytes = 256 << 10

// viewed is Data of elements that have to be decoded, in another order.
type viewed struct {
	of   *tensor.Tensor
	view tensor.View

	most, piece int64 // viewedBytes and pieceBytes, but for tests
}

// Stream implements tensor.Data.
func (v *viewed) Stream(off int64) (io.ReadCloser, error) {
	size := v.of.DType.Size()
	total := v.view.Elements()
	if v.view.IsRowMajor() {
		r, err := v.of.Data.Stream(v.view.Offset*size + off)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.LimitReader(r, max(total*size-off, 0)), r}, nil
	}
	return &viewedReader{v: v, source: cursor{source: v.of}, next: off / size, total: total, skip: int(off % size)}, nil
}

// viewedReader gathers panels of consecutive elements of a view, reading the source from the first
// element of a panel to the last.
type viewedReader struct {
	v      *viewed
	source cursor
	next   int64 // first element that is not gathered yet
	total  int64
	skip   int // bytes to drop of the next panel
	buffer []byte
	panel  []byte // gathered and not read yet

	scratch []byte         // a piece of the source
	skipped [16 << 10]byte // what lies between pieces
}

// Read implements io.Reader.
func (r *viewedReader) Read(p []byte) (int, error) {
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
func (r *viewedReader) Close() error {
	r.panel, r.total = nil, 0
	r.source.close()
	return nil
}

// fill gathers the panel that begins at element next: a box of the view.
func (r *viewedReader) fill() error {
	size := r.v.of.DType.Size()
	box, n := tensor.LeadingBox(r.v.view, r.next, max(r.v.most/size, 1))
	if int64(cap(r.buffer)) < n*size {
		r.buffer = make([]byte, n*size)
	}
	r.panel = r.buffer[:n*size]
	axes := moveAxes(box)
	if err := r.gather(axes, box.Offset, 0); err != nil {
		return err
	}
	r.panel = r.panel[r.skip:]
	r.skip = 0
	r.next += n
	return nil
}

// gather puts the elements of the box that the axes span into the panel. They are read in the order
// of the source, in pieces that fit into memory.
func (r *viewedReader) gather(axes []moveAxis, from, to int64) error {
	room := r.v.piece
	size := r.v.of.DType.Size()
	if span := reach(axes); len(axes) == 0 || span*size <= room {
		return r.scatterNext(axes, from, to, span)
	}
	first, rest := axes[0], axes[1:]
	inner := reach(rest)
	step := int64(1)
	if inner*size <= room && first.from > 0 {
		step = (room/size-inner)/first.from + 1
	}
	for i := int64(0); i < first.n; i += step {
		box := rest
		if n := min(step, first.n-i); n > 1 {
			box = append([]moveAxis{{n, first.from, first.to}}, rest...)
		}
		if err := r.gather(box, from+i*first.from, to+i*first.to); err != nil {
			return err
		}
	}
	return nil
}

// scatterNext reads span elements of the source and puts those of the box in their places.
func (r *viewedReader) scatterNext(axes []moveAxis, from, to, span int64) error {
	size := r.v.of.DType.Size()
	if r.scratch == nil {
		r.scratch = make([]byte, r.v.piece)
	}
	if span*size > int64(len(r.scratch)) {
		r.scratch = make([]byte, span*size)
	}
	in, err := r.source.at(from*size, r.skipped[:])
	if err != nil {
		return err
	}
	piece := r.scratch[:span*size]
	if err := readFull(in, piece); err != nil {
		return err
	}
	scatter(r.panel[to*size:], piece, axes, size)
	return nil
}

// scatter copies the elements of a box from a piece of the source to their places.
func scatter(dst, src []byte, axes []moveAxis, size int64) {
	if len(axes) == 0 {
		copy(dst[:size], src[:size])
		return
	}
	first, rest := axes[0], axes[1:]
	for i := range first.n {
		scatter(dst[i*first.to*size:], src[i*first.from*size:], rest, size)
	}
}

// moveAxes returns the axes of a view with their steps in the source, and in its own row-major order,
// the largest step in the source first.
func moveAxes(v tensor.View) []moveAxis {
	var axes []moveAxis
	to := int64(1)
	for k := len(v.Shape) - 1; k >= 0; k-- {
		if n := v.Shape[k]; n != 1 {
			axes = append(axes, moveAxis{n, v.Strides[k], to})
		}
		to *= v.Shape[k]
	}
	slices.SortStableFunc(axes, func(a, b moveAxis) int { return cmp.Compare(b.from, a.from) })
	return axes
}
