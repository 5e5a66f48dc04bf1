package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// arrangement puts the elements of a tensor in another order: axes are permuted, and along each axis
// the indices may run backwards or in any order. Axes of size 1 are left out of it.
type arrangement struct {
	shape []int64 // of the tensor
	axes  []int   // axis k of the result is axis axes[k] of the tensor
	along []line  // by the axes of the result

	says []Explanation // what it is called: none, one or two
}

// line is the order of the indices of an axis: index i of the result is index at(i) of the tensor.
type line struct {
	n        int64
	reversed bool
	table    []int32 // nil for the plain order
}

func (l line) at(i int64) int64 {
	switch {
	case l.table != nil:
		return int64(l.table[i])
	case l.reversed:
		return l.n - 1 - i
	}
	return i
}

// inverse returns the order that undoes it.
func (l line) inverse() line {
	if l.table == nil {
		return l
	}
	back := line{n: l.n, table: make([]int32, l.n)}
	for i, j := range l.table {
		back.table[j] = int32(i)
	}
	return back
}

func (l line) plain() bool { return l.table == nil && !l.reversed }

// squeezed returns a shape without axes of size 1.
func squeezed(shape []int64) []int64 {
	return slices.DeleteFunc(slices.Clone(shape), func(n int64) bool { return n == 1 })
}

// unmoved is the arrangement that leaves everything in its place.
func unmoved(shape []int64) *arrangement {
	m := &arrangement{shape: squeezed(shape)}
	for k, n := range m.shape {
		m.axes = append(m.axes, k)
		m.along = append(m.along, line{n: n})
	}
	return m
}

func (m *arrangement) clone() *arrangement {
	return &arrangement{shape: m.shape, axes: slices.Clone(m.axes), along: slices.Clone(m.along), says: slices.Clone(m.says)}
}

// plain reports whether every element is in its place.
func (m *arrangement) plain() bool {
	return slices.IsSorted(m.axes) && !slices.ContainsFunc(m.along, func(l line) bool { return !l.plain() })
}

// result returns the shape of the result.
func (m *arrangement) result() []int64 {
	out := make([]int64, len(m.axes))
	for k, a := range m.axes {
		out[k] = m.shape[a]
	}
	return out
}

// from returns which element of the tensor is element i of the result.
func (m *arrangement) from(i int64) int64 {
	strides := tensor.RowMajor(m.shape...).Strides
	at := int64(0)
	for k := len(m.axes) - 1; k >= 0; k-- {
		n := m.shape[m.axes[k]]
		at += m.along[k].at(i%n) * strides[m.axes[k]]
		i /= n
	}
	return at
}

// mostPermutedAxes is the rank up to which all orders of the axes are tried.
const mostPermutedAxes = 5

// axisOrders returns all arrangements of whole axes that give the shape b, first the plain one, if it
// does. names are the axes' numbers in the tensor's own shape.
func axisOrders(a, b []int64) []*arrangement {
	from, to := squeezed(a), squeezed(b)
	if len(from) != len(to) || len(from) > mostPermutedAxes {
		if slices.Equal(from, to) {
			return []*arrangement{unmoved(a)}
		}
		return nil
	}
	var all []*arrangement
	var extend func(axes []int)
	extend = func(axes []int) {
		k := len(axes)
		if k == len(to) {
			m := unmoved(a)
			m.axes = slices.Clone(axes)
			for k, x := range axes {
				m.along[k] = line{n: from[x]}
			}
			if !slices.IsSorted(axes) {
				m.says = append(m.says, permutation(a, b, axes))
			}
			all = append(all, m)
			return
		}
		for x := range from {
			if !slices.Contains(axes, x) && from[x] == to[k] {
				extend(append(axes, x))
			}
		}
	}
	extend(nil)
	return all
}

// permutation names an order of axes. axes number those of a that are longer than 1.
func permutation(a, b []int64, axes []int) Explanation {
	if len(a) == 2 && len(b) == 2 {
		return Explanation{Kind: Transposed}
	}
	var long []int
	for k, n := range a {
		if n != 1 {
			long = append(long, k)
		}
	}
	kind := PermutedAxes
	if len(a) != len(b) {
		return Explanation{Kind: kind, Detail: fmt.Sprintf("axes %s of %s, as %s",
			numbers(pick(long, axes)), tensor.ShapeString(a), tensor.ShapeString(b))}
	}
	// Axes of size 1 take what is left, in order.
	whole := make([]int, len(b))
	next, used := 0, pick(long, axes)
	var ones []int
	for k, n := range a {
		if n == 1 {
			ones = append(ones, k)
		}
	}
	for k, n := range b {
		if n == 1 {
			whole[k], ones = ones[0], ones[1:]
		} else {
			whole[k] = used[next]
			next++
		}
	}
	return Explanation{Kind: kind, Detail: "axes " + numbers(whole)}
}

func pick(from []int, at []int) []int {
	out := make([]int, len(at))
	for i, k := range at {
		out[i] = from[k]
	}
	return out
}

func numbers(list []int) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = fmt.Sprint(n)
	}
	return strings.Join(words, ", ")
}

// reversals returns m with each axis of the result reversed, and where m moves nothing also with each
// pair of them.
func (m *arrangement) reversals(b []int64) []*arrangement {
	var all []*arrangement
	number := longAxes(b)
	for k := range m.along {
		one := m.clone()
		one.along[k].reversed = true
		one.says = append(one.says, Explanation{Kind: Reversed, Detail: fmt.Sprintf("along axis %d", number[k])})
		all = append(all, one)
		if !m.plain() {
			continue
		}
		for j := k + 1; j < len(m.along); j++ {
			two := one.clone()
			two.along[j].reversed = true
			two.says = append(two.says, Explanation{Kind: Reversed, Detail: fmt.Sprintf("along axis %d", number[j])})
			all = append(all, two)
		}
	}
	return all
}

// longAxes returns the numbers of the axes that are longer than 1.
func longAxes(shape []int64) []int {
	var long []int
	for k, n := range shape {
		if n != 1 {
			long = append(long, k)
		}
	}
	return long
}

// enumerated returns the arrangements that can be listed, without those in which indices of an axis
// are in any order.
func enumerated(a, b []int64) []*arrangement {
	all := axisOrders(a, b)
	for _, m := range slices.Clone(all) {
		all = append(all, m.reversals(b)...)
	}
	return all
}
