package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// arrangement puts the elements of a tensor in another order: axes are permuted, and the indices of each
// axis may be in any order. Axes of size 1 are left out of it.
type arrangement struct {
	shape  []int64     // of the tensor
	axes   []int       // axis k of the result is axis axes[k] of the tensor
	orders []axisOrder // by axis of the result

	steps []Explanation // what it is called: none, one or two steps
}

// squeeze returns a shape without axes of size 1.
func squeeze(shape []int64) []int64 {
	return slices.DeleteFunc(slices.Clone(shape), func(n int64) bool { return n == 1 })
}

// longAxes returns the axes of a shape that are not of size 1.
func longAxes(shape []int64) []int {
	var long []int
	for k, n := range shape {
		if n != 1 {
			long = append(long, k)
		}
	}
	return long
}

// identity is the arrangement that moves nothing.
func identity(shape []int64) *arrangement {
	m := &arrangement{shape: squeeze(shape)}
	for k, n := range m.shape {
		m.axes = append(m.axes, k)
		m.orders = append(m.orders, axisOrder{n: n})
	}
	return m
}

func (m *arrangement) clone() *arrangement {
	return &arrangement{m.shape, slices.Clone(m.axes), slices.Clone(m.orders), slices.Clone(m.steps)}
}

// isIdentity reports whether every element stays where it is.
func (m *arrangement) isIdentity() bool {
	return slices.IsSorted(m.axes) && !slices.ContainsFunc(m.orders, func(o axisOrder) bool { return !o.isIdentity() })
}

// result returns the shape of the result.
func (m *arrangement) result() []int64 {
	out := make([]int64, len(m.axes))
	for k, axis := range m.axes {
		out[k] = m.shape[axis]
	}
	return out
}

// from returns which element of the tensor is element i of the result.
func (m *arrangement) from(i int64) int64 {
	strides := tensor.RowMajor(m.shape...).Strides
	at := int64(0)
	for k := len(m.axes) - 1; k >= 0; k-- {
		n := m.shape[m.axes[k]]
		at += m.orders[k].at(i%n) * strides[m.axes[k]]
		i /= n
	}
	return at
}

// permutations calls yield with every order of n axes, up to a rank beyond which there are too many: then
// only with the given one. yield must not keep the slice.
func permutations(n int, yield func(axes []int)) {
	const maxRank = 5
	axes := make([]int, n)
	for k := range axes {
		axes[k] = k
	}
	if n > maxRank {
		yield(axes)
		return
	}
	var extend func(k int)
	extend = func(k int) {
		if k == n {
			yield(axes)
			return
		}
		rest := slices.Clone(axes[k:])
		for i, axis := range rest {
			axes[k] = axis
			copy(axes[k+1:], rest[:i])
			copy(axes[k+1+i:], rest[i+1:])
			extend(k + 1)
		}
		copy(axes[k:], rest)
	}
	extend(0)
}

// permuted returns the arrangement of whole axes in an order.
func permuted(shape []int64, axes []int) *arrangement {
	m := identity(shape)
	m.axes = slices.Clone(axes)
	for k, axis := range axes {
		m.orders[k].n = m.shape[axis]
	}
	return m
}

// axisOrders returns all arrangements of whole axes of a that give shape b, first the identity if it does.
func axisOrders(a, b []int64) (all []*arrangement) {
	permutations(len(squeeze(a)), func(axes []int) {
		m := permuted(a, axes)
		if !slices.Equal(m.result(), squeeze(b)) {
			return
		}
		if !slices.IsSorted(axes) {
			m.steps = []Explanation{permutation(a, b, axes)}
		} else if !slices.Equal(a, b) {
			m.steps = []Explanation{{Kind: Reshaped, Detail: unitAxes(a, b)}}
		}
		all = append(all, m)
	})
	return all
}

// unitAxes says how two shapes differ that are the same without axes of length 1.
func unitAxes(a, b []int64) string {
	switch {
	case len(a) < len(b):
		return "(only axes of length 1 were added)"
	case len(a) > len(b):
		return "(only axes of length 1 were removed)"
	}
	return "(only axes of length 1 were moved)"
}

// reshaped returns the arrangements in which axes were permuted, or not, and the result was given shape b
// without moving an element.
func reshaped(a, b []int64) (all []*arrangement) {
	permutations(len(squeeze(a)), func(axes []int) {
		m := permuted(a, axes)
		if slices.Equal(m.result(), squeeze(b)) {
			return
		}
		if !slices.IsSorted(axes) {
			m.steps = []Explanation{permutation(a, nil, axes)}
		}
		m.steps = append(m.steps, Explanation{Kind: Reshaped})
		all = append(all, m)
	})
	return all
}

// permutation describes an order of the axes of a that are longer than 1, which gives shape b. b is nil if
// the result has the axes of a.
func permutation(a, b []int64, axes []int) Explanation {
	if len(a) == 2 && (b == nil || len(b) == 2) {
		return Explanation{Kind: Transposed}
	}
	long := longAxes(a)
	from := make([]int, len(axes)) // the axes by their numbers in a
	for k, axis := range axes {
		from[k] = long[axis]
	}
	if b != nil && len(a) != len(b) {
		return Explanation{Kind: PermutedAxes, Detail: fmt.Sprintf("axes %s of %s, as %s", joined(from), tensor.ShapeString(a), tensor.ShapeString(b))}
	}
	if b == nil {
		b = a
	}
	// Axes of size 1 of b take those of a, in order.
	all := make([]int, len(b))
	var ones []int
	for k, n := range a {
		if n == 1 {
			ones = append(ones, k)
		}
	}
	for k, n := range b {
		rest := &from
		if n == 1 {
			rest = &ones
		}
		all[k], *rest = (*rest)[0], (*rest)[1:]
	}
	return Explanation{Kind: PermutedAxes, Detail: "axes " + joined(all)}
}

// joined returns numbers with commas between them.
func joined(numbers []int) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = fmt.Sprint(n)
	}
	return strings.Join(words, ", ")
}

// listed returns the arrangements of a that give shape b and can be listed: those of whole axes, each of
// them also with one axis reversed, and the identity with two axes reversed.
func listed(a, b []int64) []*arrangement {
	all := axisOrders(a, b)
	long := longAxes(b)
	for _, m := range slices.Clone(all) {
		for k := range m.orders {
			one := m.reverse(k, long[k])
			all = append(all, one)
			for j := k + 1; m.isIdentity() && j < len(m.orders); j++ {
				all = append(all, one.reverse(j, long[j]))
			}
		}
	}
	return all
}

// reverse returns m with axis k of the result reversed, whose number in B is given.
func (m *arrangement) reverse(k, number int) *arrangement {
	r := m.clone()
	r.orders[k].reversed = true
	r.steps = append(r.steps, r.orders[k].explanation(number))
	return r
}
