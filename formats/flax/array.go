package flax

import (
	"io"
	"slices"
	"strconv"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// The extension codes that Flax uses.
const (
	codeArray   = 1 // numpy or JAX array
	codeComplex = 2 // Python complex number
	codeScalar  = 3 // numpy scalar: an array without axes
)

// maxAxes is the limit of numpy.
const maxAxes = 64

// extension parses an extension, whose content is msgpack.
func (d *decoder) extension(h head) (Kind, *tensor.Tensor, error) {
	outer := d.end
	d.end = d.pos + h.n
	defer func() { d.end = outer }()

	var (
		t    *tensor.Tensor
		err  error
		kind = Array
	)
	switch h.code {
	case codeArray, codeScalar:
		t, err = d.array()
	case codeComplex:
		kind, err = Complex, d.complex()
	default:
		return 0, nil, d.bad(h.at, "extension type %d, which Flax does not use", h.code)
	}
	if err == nil && d.pos != d.end {
		err = d.bad(d.pos, "%d bytes follow the array", d.end-d.pos).Of(d.name())
	}
	return kind, t, err
}

// array parses [shape, dtype, elements] except for the elements.
func (d *decoder) array() (*tensor.Tensor, error) {
	if _, err := d.expect("an array", 3, List); err != nil {
		return nil, err
	}
	shape, err := d.shape()
	if err != nil {
		return nil, err
	}
	dtype, err := d.dtype()
	if err != nil {
		return nil, err
	}
	// Writers that do not distinguish bytes from text write the elements as text.
	data, err := d.expect("the elements of an array", -1, Bytes, Text)
	if err != nil {
		return nil, err
	}
	_, size, err := tensor.SizeOf(dtype, shape)
	if err != nil {
		return nil, d.bad(data.at, "%w", err).Of(d.name())
	}
	if size != data.n {
		return nil, d.bad(data.at, "%d bytes for %s of shape %s, which needs %d", data.n, dtype, tensor.ShapeString(shape), size).Of(d.name())
	}
	a := &dense{Tensor: tensor.Tensor{DType: dtype, Shape: shape}, store: d.r, base: d.pos}
	a.Data = a
	d.pos += data.n
	return &a.Tensor, d.charge(arrayBytes)
}

// dense is an array whose elements are in one range of a file. Its layout is made when it is asked for, since there may be many.
type dense struct {
	tensor.Tensor
	store io.ReaderAt
	base  int64
}

// Strided returns the layout. See tensor.Layout.
func (a *dense) Strided() (*tensor.Strided, error) {
	return &tensor.Strided{Store: a.store, Base: a.base, Length: a.Elements(), DType: a.DType, View: tensor.RowMajor(a.Shape...)}, nil
}

// Stream implements tensor.Data.
func (a *dense) Stream(off int64) (io.ReadCloser, error) {
	size := a.Bytes()
	off = min(off, size)
	return io.NopCloser(io.NewSectionReader(a.store, a.base+off, size-off)), nil
}

// shape parses the sizes of the axes.
func (d *decoder) shape() ([]int64, error) {
	h, err := d.expect("the shape of an array", -1, List)
	if err != nil {
		return nil, err
	}
	if h.n > maxAxes {
		return nil, d.bad(h.at, "array has %d axes", h.n).Of(d.name())
	}
	shape := make([]int64, h.n)
	for i := range shape {
		size, err := d.expect("the size of an axis", -1, Int)
		if err != nil {
			return nil, err
		}
		if shape[i] = size.n; size.n < 0 {
			return nil, d.bad(size.at, "axis has the size %d", size.n).Of(d.name())
		}
	}
	shared, known := d.shapes.Shared(shape)
	if known {
		return shared, nil
	}
	return shared, d.charge(shapeBytes + h.n*axisBytes)
}

// dtype parses the numpy name of an element type.
func (d *decoder) dtype() (tensor.DType, error) {
	h, err := d.expect("the dtype of an array", -1, Text, Bytes)
	if err != nil {
		return tensor.Invalid, err
	}
	name, err := d.text(head{at: h.at, n: min(h.n, maxText)})
	if err != nil {
		return tensor.Invalid, err
	}
	dtype := tensor.DTypeByName(name)
	if dtype == tensor.Invalid || dtype.Size() == 0 || slices.Contains(notNumpy, dtype) {
		return tensor.Invalid, d.bad(h.at, "dtype %.40q is not supported", name).Of(d.name())
	}
	return dtype, nil
}

// notNumpy are the element types that only torch has under their name.
var notNumpy = []tensor.DType{tensor.C32, tensor.F4x2}

// complex parses the two parts of a complex number.
func (d *decoder) complex() error {
	if _, err := d.expect("a complex number", 2, List); err != nil {
		return err
	}
	for range 2 {
		if _, err := d.expect("a part of a complex number", -1, Float, Int); err != nil {
			return err
		}
	}
	return nil
}

// expect parses the head of a value of one of the kinds, with n items or, if n is negative, any number.
func (d *decoder) expect(what string, n int64, kinds ...Kind) (head, error) {
	h, err := d.head()
	if err != nil {
		return h, err
	}
	if !slices.Contains(kinds, h.kind) {
		return h, d.bad(h.at, "%s is %s", what, h.kind).Of(d.name())
	}
	if n >= 0 && h.n != n {
		return h, d.bad(h.at, "%s has %d items, not %d", what, h.n, n).Of(d.name())
	}
	return h, nil
}

// chunkedMarker is a key of the map that stands for an array of more than 2^30 bytes:
// {marker: true, "shape": {"0": …}, "chunks": {"0": array, …}}.
const chunkedMarker = "__msgpack_chunked_array__"

// join makes the array of a map with the marker.
func (d *decoder) join(n *Node, at int64) (*tensor.Tensor, error) {
	bad := func(format string, args ...any) (*tensor.Tensor, error) {
		return nil, d.bad(at, "chunked array: "+format, args...).Of(d.name())
	}
	marker, sizes, chunks := n.Get(chunkedMarker), n.Get("shape"), n.Get("chunks")
	if marker.Kind != Bool || marker.Int != 1 || len(n.Items) != 3 || sizes == nil || chunks == nil {
		return bad("the map is not a marker, a shape and chunks")
	}
	if slices.ContainsFunc(d.path, func(s step) bool { return s.index }) {
		return bad("it is in a list, where Flax does not join chunks")
	}
	axes, ok := numbered(sizes)
	if !ok || len(axes) > maxAxes {
		return bad("the shape is not a map of keys 0, 1, …")
	}
	shape := make([]int64, len(axes))
	for i, a := range axes {
		if shape[i] = a.Int; a.Kind != Int {
			return bad("the size of an axis is %s", a.Kind)
		}
	}
	parts, ok := numbered(chunks)
	if !ok || len(parts) == 0 {
		return bad("the chunks are not a map of keys 0, 1, …")
	}
	j := joined{}
	for i, p := range parts {
		if p.Kind != Array || len(p.Array.Shape) != 1 || p.Array.DType != parts[0].Array.DType {
			return bad("chunk %d is not a vector of the same dtype as the first", i)
		}
		a, ok := p.Array.Data.(*dense)
		if !ok {
			return bad("chunk %d is split itself", i)
		}
		j.store = a.store
		j.parts = append(j.parts, part{a.base, a.Bytes()})
		j.size += a.Bytes()
	}
	dtype := parts[0].Array.DType
	_, size, err := tensor.SizeOf(dtype, shape)
	if err != nil {
		return bad("%w", err)
	}
	if size != j.size {
		return bad("chunks of %d bytes for %s of shape %s, which needs %d", j.size, dtype, tensor.ShapeString(shape), size)
	}
	return &tensor.Tensor{DType: dtype, Shape: shape, Data: &j}, nil
}

// numbered returns the items of a map with the keys 0, 1, … in the order of these numbers, and false if it has other
// keys.
func numbered(n *Node) ([]*Node, bool) {
	items := make([]*Node, len(n.Items))
	for i := range n.Items {
		item := &n.Items[i]
		k, err := strconv.Atoi(item.Key)
		if n.Kind != Map || err != nil || k < 0 || k >= len(items) || strconv.Itoa(k) != item.Key {
			return nil, false
		}
		items[k] = item
	}
	return items, n.Kind == Map
}

// joined is Data whose elements are in several ranges of a file.
type joined struct {
	store io.ReaderAt
	parts []part
	size  int64 // bytes of all parts
}

// part is a range of size bytes at offset at.
type part struct{ at, size int64 }

// Stream implements tensor.Data.
func (j *joined) Stream(off int64) (io.ReadCloser, error) {
	var readers []io.Reader
	for _, p := range j.parts {
		skip := min(off, p.size)
		off -= skip
		if skip < p.size {
			readers = append(readers, io.NewSectionReader(j.store, p.at+skip, p.size-skip))
		}
	}
	return io.NopCloser(io.MultiReader(readers...)), nil
}
