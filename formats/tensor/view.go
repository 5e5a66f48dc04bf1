package tensor

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// View describes a tensor as elements of a dense store: element (i0, i1, …) is element
// Offset + Σ ik·Strides[k] of the store. Shape, strides and offset count elements, not bytes. torch
// saves tensors as views. The conversion rules (transpose, select one index of an axis, drop and add
// axes of size 1) are views too, so that one engine moves all elements.
type View struct {
	Shape   []int64
	Strides []int64
	Offset  int64
}

// RowMajor returns the view of a store that holds the elements of shape in row-major order.
func RowMajor(shape ...int64) View {
	v := View{Shape: slices.Clone(shape), Strides: make([]int64, len(shape))}
	step := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		v.Strides[i] = step
		step *= max(shape[i], 1)
	}
	return v
}

// Elements returns the number of elements that the view shows.
func (v View) Elements() int64 { return product(v.Shape) }

// At returns the element of the store that the view shows at an index.
func (v View) At(index []int64) int64 {
	element := v.Offset
	for k, i := range index {
		element += i * v.Strides[k]
	}
	return element
}

// IsRowMajor reports whether consecutive elements of the view are consecutive in the store, so that
// they can be copied as one piece. Strides of axes of size 1 are ignored.
func (v View) IsRowMajor() bool {
	step := int64(1)
	for i := len(v.Shape) - 1; i >= 0; i-- {
		if v.Shape[i] == 0 {
			return true
		}
		if v.Shape[i] != 1 && v.Strides[i] != step {
			return false
		}
		step *= v.Shape[i]
	}
	return true
}

// Permute returns the view whose axis k is axis axes[k] of v.
func (v View) Permute(axes ...int) View {
	p := View{Shape: make([]int64, len(axes)), Strides: make([]int64, len(axes)), Offset: v.Offset}
	for k, a := range axes {
		p.Shape[k], p.Strides[k] = v.Shape[a], v.Strides[a]
	}
	return p
}

// Index returns the view of index i of axis, without that axis.
func (v View) Index(axis int, i int64) View {
	return View{
		Shape:   slices.Delete(slices.Clone(v.Shape), axis, axis+1),
		Strides: slices.Delete(slices.Clone(v.Strides), axis, axis+1),
		Offset:  v.Offset + i*v.Strides[axis],
	}
}

// Narrow returns the view limited to the indices from, …, from+n-1 of axis.
func (v View) Narrow(axis int, from, n int64) View {
	w := View{Shape: slices.Clone(v.Shape), Strides: slices.Clone(v.Strides), Offset: v.Offset + from*v.Strides[axis]}
	w.Shape[axis] = n
	return w
}

// Unsqueeze returns the view with a new axis of size 1 before axis.
func (v View) Unsqueeze(axis int) View {
	step := int64(1)
	if axis < len(v.Shape) {
		step = v.Shape[axis] * v.Strides[axis]
	}
	return View{
		Shape:   slices.Insert(slices.Clone(v.Shape), axis, 1),
		Strides: slices.Insert(slices.Clone(v.Strides), axis, step),
		Offset:  v.Offset,
	}
}

// Span returns the range of store elements that the view touches: from first up to, not
// including, end. Both are Offset for a view without elements. No stride is negative (see CheckView).
func (v View) Span() (first, end int64) {
	end = v.Offset + 1
	for k, n := range v.Shape {
		if n == 0 {
			return v.Offset, v.Offset
		}
		end += (n - 1) * v.Strides[k]
	}
	return v.Offset, end
}

// Simplify returns a view that shows the same elements in the same order with as few axes as
// possible: axes of size 1 are dropped, and adjacent axes are joined where their strides allow it.
func (v View) Simplify() View {
	out := View{Offset: v.Offset}
	for k, n := range v.Shape {
		if n == 1 {
			continue
		}
		if last := len(out.Shape) - 1; last >= 0 && out.Strides[last] == n*v.Strides[k] {
			out.Shape[last] *= n
			out.Strides[last] = v.Strides[k]
			continue
		}
		out.Shape = append(out.Shape, n)
		out.Strides = append(out.Strides, v.Strides[k])
	}
	return out
}

// Axis is an axis of a view as an engine walks it.
type Axis struct {
	Size   int64
	Stride int64 // elements of the store between two indices
	Step   int64 // elements between two indices in the view's own row-major order
}

// Axes returns the axes of v whose size is not 1, the largest stride first.
func (v View) Axes() []Axis {
	var axes []Axis
	step := int64(1)
	for k := len(v.Shape) - 1; k >= 0; k-- {
		if n := v.Shape[k]; n != 1 {
			axes = append(axes, Axis{n, v.Strides[k], step})
		}
		step *= v.Shape[k]
	}
	slices.SortStableFunc(axes, func(a, b Axis) int { return cmp.Compare(b.Stride, a.Stride) })
	return axes
}

// Reach returns how many consecutive elements of the store hold all elements of the axes.
func Reach(axes []Axis) int64 {
	n := int64(1)
	for _, a := range axes {
		n += (a.Size - 1) * a.Stride
	}
	return n
}

// CheckView returns a *FormatError if a view is not within a store of the given number of elements,
// has a negative size, stride or offset, or overflows.
func CheckView(v View, store int64) error {
	if len(v.Shape) != len(v.Strides) {
		return Bad("%d sizes but %d strides", len(v.Shape), len(v.Strides))
	}
	elements, err := Product(v.Shape)
	if err != nil {
		return err
	}
	if v.Offset < 0 {
		return Bad("negative storage offset %d", v.Offset)
	}
	last := uint64(v.Offset)
	for k, s := range v.Strides {
		if s < 0 {
			return Bad("negative stride in %s", ShapeString(v.Strides))
		}
		if elements == 0 {
			continue
		}
		hi, lo := bits.Mul64(uint64(v.Shape[k]-1), uint64(s))
		sum, carry := bits.Add64(last, lo, 0)
		if hi != 0 || carry != 0 || sum > math.MaxInt64 {
			return Bad("strides %s overflow", ShapeString(v.Strides))
		}
		last = sum
	}
	if elements > 0 && last >= uint64(store) {
		return Bad("view of shape %s, strides %s and offset %d reaches element %d of a storage of %d",
			ShapeString(v.Shape), ShapeString(v.Strides), v.Offset, last, store)
	}
	return nil
}
