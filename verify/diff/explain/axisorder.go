package explain

import (
	"fmt"
	"slices"
)

// axisOrder is an order of the indices of an axis: index i of the result is index at(i) of the tensor.
type axisOrder struct {
	n        int64
	reversed bool
	table    []int32 // nil if the indices are in ascending or descending order
}

func (o axisOrder) at(i int64) int64 {
	switch {
	case o.table != nil:
		return int64(o.table[i])
	case o.reversed:
		return o.n - 1 - i
	}
	return i
}

// inverse returns the order that undoes o.
func (o axisOrder) inverse() axisOrder {
	if o.table == nil {
		return o
	}
	back := axisOrder{n: o.n, table: make([]int32, o.n)}
	for i, j := range o.table {
		back.table[j] = int32(i)
	}
	return back
}

func (o axisOrder) isIdentity() bool { return o.table == nil && !o.reversed }

// explanation describes the order. axis is its number in B.
func (o axisOrder) explanation(axis int) Explanation {
	switch {
	case o.n == 2:
		return Explanation{Kind: Reversed, Detail: fmt.Sprintf("along axis %d (its two indices exchanged)", axis)}
	case o.reversed || isReversed(o.table):
		return Explanation{Kind: Reversed, Detail: fmt.Sprintf("along axis %d", axis)}
	}
	return Explanation{Kind: BlockPermuted, Detail: fmt.Sprintf("axis %d: %s", axis, describeOrder(o.table))}
}

// matchAxis finds the order of the indices of an axis by their digests: index i of b is index at(i) of a.
// Every index is used once. ok is false if the digests are not the same ones.
func matchAxis(a, b []uint64) (o axisOrder, ok bool) {
	n := int64(len(a))
	o.n = n
	if len(a) != len(b) || n == 0 {
		return o, false
	}
	if slices.Equal(a, b) {
		return o, true
	}
	backwards := slices.Clone(a)
	slices.Reverse(backwards)
	if slices.Equal(backwards, b) {
		o.reversed = true
		return o, true
	}
	indices := make(map[uint64][]int32, len(a)) // of a, by digest
	for i, d := range a {
		indices[d] = append(indices[d], int32(i))
	}
	o.table = make([]int32, n)
	if by, ok := rolledBy(a, b, indices); ok {
		for i := range o.table {
			o.table[i] = int32((int64(i) + by) % n)
		}
		return o, true
	}
	// Of equal indices, those that follow the last one or that stay are preferred.
	used := make([]bool, n)
	last := int64(-1)
	for i, d := range b {
		at := int64(-1)
		switch next := last + 1; {
		case next < n && a[next] == d && !used[next]:
			at = next
		case a[i] == d && !used[i]:
			at = int64(i)
		default:
			for rest := indices[d]; at < 0 && len(rest) > 0; rest = rest[1:] {
				indices[d] = rest[1:]
				if !used[rest[0]] {
					at = int64(rest[0])
				}
			}
		}
		if at < 0 {
			return o, false
		}
		used[at], o.table[i], last = true, int32(at), at
	}
	return o, true
}

// rolledBy reports whether the indices of a were rolled, and by how many: b[i] is a[i+by]. indices are
// those of a by digest.
func rolledBy(a, b []uint64, indices map[uint64][]int32) (by int64, ok bool) {
	n := int64(len(a))
	for i, d := range b {
		switch len(indices[d]) {
		case 0:
			return 0, false
		case 1:
			by = (int64(indices[d][0]) - int64(i) + n) % n
			for i, d := range b {
				if a[(int64(i)+by)%n] != d {
					return 0, false
				}
			}
			return by, true
		}
	}
	return 0, false
}

func isReversed(table []int32) bool {
	for i, at := range table {
		if int(at) != len(table)-1-i {
			return false
		}
	}
	return len(table) > 1
}

// describeOrder describes a permutation by the simplest rule that it follows.
func describeOrder(table []int32) string {
	n := len(table)
	if s, ok := orderRule(table, "indices"); ok {
		return s
	}
	for size := 2; size < n; size++ { // the same within each block
		if n%size == 0 && repeats(table, size) {
			if s, ok := orderRule(table[:size], "indices"); ok {
				return fmt.Sprintf("in each of %d blocks of %d, %s", n/size, size, s)
			}
		}
	}
	for size := n / 2; size > 1; size-- { // whole blocks
		if n%size == 0 {
			if blocks, ok := blockOrder(table, size); ok {
				s, ok := orderRule(blocks, "blocks")
				if !ok {
					s = listOrder(blocks, "blocks")
				}
				return fmt.Sprintf("%d blocks of %d, %s", n/size, size, s)
			}
		}
	}
	return listOrder(table, "indices")
}

// orderRule describes an order that follows a rule.
func orderRule(table []int32, noun string) (string, bool) {
	n := len(table)
	by := (n - int(table[0])) % n
	if isRolled(table) {
		switch {
		case 2*by == n:
			return "halves exchanged", true
		case 2*by > n:
			by -= n
		}
		return fmt.Sprintf("%s rolled by %d", noun, by), true
	}
	if isReversed(table) {
		return noun + " reversed", true
	}
	for rows := 2; rows <= n/2; rows++ {
		if n%rows == 0 && isTransposed(table, rows) {
			return fmt.Sprintf("taken as [%d, %d] and transposed", rows, n/rows), true
		}
	}
	var moved []int
	for i, at := range table {
		if int(at) != i {
			moved = append(moved, i)
		}
	}
	if len(moved) == 2 {
		return fmt.Sprintf("%s %d and %d exchanged", noun, moved[0], moved[1]), true
	}
	return "", false
}

func isRolled(table []int32) bool {
	n := len(table)
	for i, at := range table {
		if int(at) != (i+int(table[0]))%n {
			return false
		}
	}
	return true
}

// isTransposed reports whether the indices, laid out in so many rows, were read by columns.
func isTransposed(table []int32, rows int) bool {
	columns := len(table) / rows
	for i, at := range table {
		if int(at) != i%rows*columns+i/rows {
			return false
		}
	}
	return true
}

// repeats reports whether the order is the same within each block of a size.
func repeats(table []int32, size int) bool {
	for i, at := range table {
		if int(at) != i/size*size+int(table[i%size]) || int(table[i%size]) >= size {
			return false
		}
	}
	return true
}

// blockOrder returns the order of blocks of a size that were moved as they are.
func blockOrder(table []int32, size int) ([]int32, bool) {
	blocks := make([]int32, len(table)/size)
	for i, at := range table {
		first := table[i/size*size]
		if int(first)%size != 0 || int(at) != int(first)+i%size {
			return nil, false
		}
		blocks[i/size] = first / int32(size)
	}
	return blocks, true
}

// listOrder describes an order that follows no rule.
func listOrder(table []int32, noun string) string {
	const maxShown = 8
	moved := 0
	var shown []int
	for i, at := range table {
		if int(at) != i {
			moved++
		}
		if len(shown) < maxShown {
			shown = append(shown, int(at))
		}
	}
	more := ""
	if len(table) > len(shown) {
		more = ", …"
	}
	return fmt.Sprintf("%d of %d %s in another order: %s%s", moved, len(table), noun, joined(shown), more)
}
