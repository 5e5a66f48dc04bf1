package tensor

import (
	"encoding/binary"
	"io"
	"reflect"
	"slices"
)

// Strided is Data that is uncompressed in a file or in memory: a View of a dense store. It is the data
// of most safetensors and torch tensors and of uncompressed Orbax arrays. Callers that can do better
// than Stream, such as transpose in blocks, get it from Layout.
type Strided struct {
	Store     io.ReaderAt // for local files an *os.File, or a CheckedStore of one
	Base      int64       // byte offset in Store of the store's element 0
	Length    int64       // elements in the store
	DType     DType       // whole bytes wide
	View      View        // passes CheckView
	BigEndian bool
}

// maxClaim bounds how many times a view may repeat its store (with stride 0), since a few bytes can
// claim 10^12 elements. Real checkpoints stay far below.
const maxClaim = 1 << 20

// Layout returns the uncompressed layout of a tensor, and false if it has none: if its Data has no
// method Strided() (*Strided, error), or that returns nil. A view that claims more than 2^20 times the
// elements of its store is a *FormatError.
func Layout(t *Tensor) (*Strided, bool, error) {
	s, ok := t.Data.(interface{ Strided() (*Strided, error) })
	if !ok {
		return nil, false, nil
	}
	strided, err := s.Strided()
	return strided, strided != nil && err == nil, Annotate(err, Location{Tensor: t.Name})
}

// Strided returns s, or the error that Layout documents.
func (s *Strided) Strided() (*Strided, error) {
	if n := s.View.Elements(); n/maxClaim > s.Length {
		return nil, Bad("shape %s repeats a storage of %d elements more than 2^20 times", ShapeString(s.View.Shape), s.Length)
	}
	return s, nil
}

// Contiguous returns the byte range of Store that holds the tensor as Stream gives it, and false if
// the elements have to be moved or their bytes swapped.
func (s *Strided) Contiguous() (offset, length int64, ok bool) {
	if s.BigEndian && s.DType.SwapUnit() > 1 || !s.View.IsRowMajor() {
		return 0, 0, false
	}
	return s.Base + s.View.Offset*s.DType.Size(), s.View.Elements() * s.DType.Size(), true
}

// Stream implements Data. Elements in another order are gathered a panel at a time.
func (s *Strided) Stream(off int64) (io.ReadCloser, error) {
	if _, err := s.Strided(); err != nil {
		return nil, err
	}
	if at, n, ok := s.Contiguous(); ok {
		off = min(off, n)
		return io.NopCloser(io.NewSectionReader(s.Store, at+off, n-off)), nil
	}
	return NewPanelReader(&Tensor{DType: s.DType, Shape: s.View.Shape}, off, gathered{s}), nil
}

// panelBytes is the largest size of a panel of gathered elements. With it, a transposed matrix is read
// in runs of kilobytes.
const panelBytes = 8 << 20

// gathered makes panels of a view that is not row-major.
type gathered struct{ s *Strided }

// Panel implements PanelSource. A panel is a range of indices of one axis, a single index of each
// axis before it, and all of each axis after it.
func (g gathered) Panel(buffer []byte, first int64) ([]byte, error) {
	size := g.s.DType.Size()
	box, n := LeadingBox(g.s.View, first, panelBytes/size)
	panel := sized(buffer, n*size)
	return panel, g.s.Gather(panel, box)
}

// Close implements PanelSource.
func (g gathered) Close() error { return nil }

// LeadingBox returns the longest box of v that holds consecutive row-major elements from element first
// on, at most limit of them (at least 1), and their number.
func LeadingBox(v View, first, limit int64) (View, int64) {
	if len(v.Shape) == 0 {
		return v, 1
	}
	inner := int64(1) // elements below one index of axis k
	rest := first
	k := len(v.Shape) - 1
	for ; k > 0 && inner*v.Shape[k] <= limit && rest%(inner*v.Shape[k]) == 0; k-- {
		inner *= v.Shape[k]
	}
	rest /= inner
	from := rest % v.Shape[k]
	n := min(v.Shape[k]-from, max(limit/inner, 1))
	box := v.Narrow(k, from, n)
	rest /= v.Shape[k]
	for a := k - 1; a >= 0; a-- {
		box = box.Narrow(a, rest%v.Shape[a], 1)
		rest /= v.Shape[a]
	}
	return box, n * inner
}

// Gather writes the elements of a view of the store, which is derived from s.View, to dst: row-major
// and little-endian. dst has exactly their size.
func (s *Strided) Gather(dst []byte, v View) error {
	size := s.DType.Size()
	if v.Elements() == 0 {
		return nil
	}
	if v.IsRowMajor() {
		if err := s.read(dst, v.Offset); err != nil {
			return err
		}
	} else {
		// Read along the axis with the smallest stride, wherever it is in the order.
		run := runAxis(v)
		steps := RowMajor(v.Shape...).Strides
		span := (v.Shape[run]-1)*v.Strides[run] + 1
		g := gatherer{s: s, dst: dst, size: size, n: v.Shape[run], stride: v.Strides[run], step: steps[run]}
		if span <= 8*v.Shape[run] && span*size <= panelBytes {
			g.span = make([]byte, span*size)
		}
		outer := slices.Clone(v.Shape)
		outer[run] = 1
		if err := g.walk(View{Shape: outer, Strides: v.Strides, Offset: v.Offset}, steps, 0, v.Offset, 0); err != nil {
			return err
		}
	}
	if s.BigEndian {
		SwapBytes(dst, s.DType.SwapUnit())
	}
	return nil
}

// runAxis returns the axis of more than one index with the smallest stride. Stride 0 counts as the
// largest, since reading along such an axis gains nothing.
func runAxis(v View) int {
	best := 0
	better := func(a, b int) bool {
		if v.Shape[a] == 1 || v.Shape[b] == 1 {
			return v.Shape[a] > v.Shape[b]
		}
		if v.Strides[a] == 0 || v.Strides[b] == 0 {
			return v.Strides[a] > v.Strides[b]
		}
		return v.Strides[a] < v.Strides[b]
	}
	for a := range v.Shape {
		if better(a, best) {
			best = a
		}
	}
	return best
}

// gatherer moves runs of elements from the store to their places in dst.
type gatherer struct {
	s      *Strided
	dst    []byte
	size   int64
	n      int64  // elements of a run
	stride int64  // between them in the store
	step   int64  // between them in dst
	span   []byte // a whole run with the bytes between its elements, nil if those are most of it
}

func (g *gatherer) walk(v View, steps []int64, axis int, at, to int64) error {
	if axis == len(v.Shape) {
		return g.run(at, to)
	}
	for i := int64(0); i < v.Shape[axis]; i++ {
		if err := g.walk(v, steps, axis+1, at+i*v.Strides[axis], to+i*steps[axis]); err != nil {
			return err
		}
	}
	return nil
}

func (g *gatherer) run(at, to int64) error {
	if g.span == nil {
		for i := int64(0); i < g.n; i++ {
			o := (to + i*g.step) * g.size
			if err := g.s.read(g.dst[o:o+g.size], at+i*g.stride); err != nil {
				return err
			}
		}
		return nil
	}
	if err := g.s.read(g.span, at); err != nil {
		return err
	}
	for i := int64(0); i < g.n; i++ {
		o, f := (to+i*g.step)*g.size, i*g.stride*g.size
		copy(g.dst[o:o+g.size], g.span[f:f+g.size])
	}
	return nil
}

// read fills p with consecutive elements of the store, from element at on.
func (s *Strided) read(p []byte, at int64) error {
	off := s.Base + at*s.DType.Size()
	return ReadFullAt(s.Store, p, off)
}

// SwapBytes reverses the bytes of each unit of p in place. unit is 1, 2, 4 or 8.
func SwapBytes(p []byte, unit int) {
	switch unit {
	case 2:
		for ; len(p) >= 2; p = p[2:] {
			p[0], p[1] = p[1], p[0]
		}
	case 4:
		for ; len(p) >= 4; p = p[4:] {
			binary.LittleEndian.PutUint32(p, binary.BigEndian.Uint32(p))
		}
	case 8:
		for ; len(p) >= 8; p = p[8:] {
			binary.LittleEndian.PutUint64(p, binary.BigEndian.Uint64(p))
		}
	}
}

// StorageOf returns a comparable value that is the same for the tensors of a file that share their storage,
// and nil for a tensor without elements or whose storage is not known.
func StorageOf(t *Tensor) any {
	if t.Elements() == 0 {
		return nil
	}
	layout, ok, err := Layout(t)
	switch {
	case err != nil || t.Data == nil:
		return nil
	case ok && reflect.TypeOf(layout.Store).Comparable():
		return storage{layout.Store, layout.Base}
	case !ok && reflect.TypeOf(t.Data).Kind() == reflect.Pointer:
		return t.Data
	}
	return nil
}

// storage is where the elements of a Strided begin.
type storage struct {
	store io.ReaderAt
	base  int64
}
