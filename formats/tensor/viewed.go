package tensor

import (
	"fmt"
	"io"
)

// Viewed returns a tensor that shows elements of t in another order: its element i, in row-major
// order, is element i of view, a view of t's row-major elements. Nothing is read.
//
// If t lies uncompressed in a file, so does the result (see Layout) wherever one view can say where,
// and a part of it can be read at the cost of that part. If t has to be decoded, a stream of the
// result holds at most 38 MiB of its elements and decodes t once for as many: cheap for what fits,
// and for views that show the elements in nearly the order of t.
func Viewed(t *Tensor, view View) (*Tensor, error) {
	if err := CheckView(view, t.Elements()); err != nil {
		return nil, fmt.Errorf("view of %s: %v", t.Name, err)
	}
	if view.IsRowMajor() && view.Offset == 0 && view.Elements() == t.Elements() {
		return &Tensor{Name: t.Name, DType: t.DType, Shape: view.Shape, Data: t.Data}, nil
	}
	if t.DType.Size() == 0 {
		return nil, Bad("elements of %s have no address of their own", t.DType).Of(t.Name)
	}
	out := &Tensor{Name: t.Name, DType: t.DType, Shape: view.Shape}
	s, ok, err := Layout(t)
	if err != nil {
		return nil, err
	}
	if ok {
		if inStore, ok := s.Compose(view); ok {
			composed := *s
			composed.View = inStore
			out.Data = &composed
			return out, nil
		}
	}
	out.Data = &viewed{of: t, view: view, panel: viewedPanel, piece: viewedPiece}
	return out, nil
}

const (
	viewedPanel = 38 << 20  // bytes of a panel of a viewed tensor, at most: a whole matrix of the 2B model
	viewedPiece = 256 << 10 // bytes of its source that are read at a time
)

// viewed is Data of elements that have to be decoded, in another order.
type viewed struct {
	of   *Tensor
	view View

	panel, piece int64 // viewedPanel and viewedPiece, smaller in tests
}

// Stream implements Data.
func (v *viewed) Stream(off int64) (io.ReadCloser, error) {
	size := v.of.DType.Size()
	if v.view.IsRowMajor() {
		r, err := v.of.Data.Stream(v.view.Offset*size + off)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.LimitReader(r, max(v.view.Elements()*size-off, 0)), r}, nil
	}
	shown := &Tensor{DType: v.of.DType, Shape: v.view.Shape}
	return NewPanelReader(shown, off, &viewedSource{viewed: v, size: size, source: NewCursor(v.of)}), nil
}

// StreamMemory implements Buffered.
func (v *viewed) StreamMemory() int64 {
	if v.view.IsRowMajor() {
		return StreamMemory(v.of)
	}
	return min(v.panel, v.view.Elements()*v.of.DType.Size()) + v.piece + StreamMemory(v.of)
}

// viewedSource gathers panels of a view. For each it reads the source from the first element of the
// panel to the last.
type viewedSource struct {
	*viewed
	size    int64 // bytes of an element
	source  *Cursor
	scratch []byte // a piece of the source
}

// Panel implements PanelSource.
func (v *viewedSource) Panel(buffer []byte, first int64) ([]byte, error) {
	box, n := LeadingBox(v.view, first, max(v.panel/v.size, 1))
	panel := sized(buffer, n*v.size)
	return panel, v.gather(panel, box.Axes(), box.Offset)
}

// Close implements PanelSource.
func (v *viewedSource) Close() error { return v.source.Close() }

// gather writes the elements of the box that the axes span, from the source's element first on, to
// their places in dst. They are read in the order of the source, in pieces that fit into memory.
func (v *viewedSource) gather(dst []byte, axes []Axis, first int64) error {
	reach := Reach(axes)
	if reach*v.size <= v.piece {
		v.scratch = sized(v.scratch, reach*v.size)
		if _, err := v.source.ReadAt(v.scratch, first*v.size); err != nil {
			return err
		}
		scatter(dst, v.scratch, axes, v.size)
		return nil
	}
	outer, rest := axes[0], axes[1:]
	step := max((v.piece/v.size-Reach(rest))/outer.Stride+1, 1) // the stride is not 0: it is the largest, and they reach further than a piece
	for i := int64(0); i < outer.Size; i += step {
		box := rest
		if n := min(step, outer.Size-i); n > 1 {
			box = append([]Axis{{n, outer.Stride, outer.Step}}, rest...)
		}
		if err := v.gather(dst[i*outer.Step*v.size:], box, first+i*outer.Stride); err != nil {
			return err
		}
	}
	return nil
}

// scatter copies the elements of a box from a piece of the source to their places in dst.
func scatter(dst, src []byte, axes []Axis, size int64) {
	if len(axes) == 0 {
		copy(dst[:size], src[:size])
		return
	}
	outer, rest := axes[0], axes[1:]
	if len(rest) == 0 && outer.Stride == 1 && outer.Step == 1 {
		copy(dst[:outer.Size*size], src)
		return
	}
	for i := range outer.Size {
		scatter(dst[i*outer.Step*size:], src[i*outer.Stride*size:], rest, size)
	}
}
