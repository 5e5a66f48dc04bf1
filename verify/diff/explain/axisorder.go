package explain

import (
	"fmt"
	"slices"
)

// matchLine finds the order of the indices of an axis by their digests: index i of b is index at(i) of a.
// Every index is used once. ok is false where they do not have the same ones.
func matchLine(a, b []uint64) (l line, ok bool) {
	n := int64(len(a))
	l.n = n
	if len(a) != len(b) || n == 0 {
		return l, false
	}
	if slices.Equal(a, b) {
		return l, true
	}
	backwards := slices.Clone(a)
	slices.Reverse(backwards)
	if slices.Equal(backwards, b) {
		l.reversed = true
		return l, true
	}
	places := placesOf(a)
	if by, ok := rolledBy(a, b, places); ok {
		l.table = make([]int32, n)
		for i := range l.table {
			l.table[i] = int32((int64(i) + by) % n)
		}
		return l, true
	}
	l.table = make([]int32, n)
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
			for rest := places[d]; len(rest) > 0; rest = rest[1:] {
				places[d] = rest[1:]
				if !used[rest[0]] {
					at = int64(rest[0])
					break
				}
			}
		}
		if at < 0 {
			return l, false
		}
		used[at], l.table[i], last = true, int32(at), at
	}
	return l, true
}

func placesOf(a []uint64) map[uint64][]int32 {
	places := make(map[uint64][]int32, len(a))
	for i, d := range a {
		places[d] = append(places[d], int32(i))
	}
	return places
}

// rolledBy reports whether b is a with its indices moved round, and by how many: b[i] is a[i+by].
func rolledBy(a, b []uint64, places map[uint64][]int32) (by int64, ok bool) {
	n := int64(len(a))
	for i, d := range b {
		switch len(places[d]) {
		case 0:
			return 0, false
		case 1:
			by = (int64(places[d][0]) - int64(i) + n) % n
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

// explainLine says how the indices of an axis were put in another order.
func explainLine(l line, axis int) Explanation {
	if l.reversed || isReversed(l.table) {
		return Explanation{Kind: Reversed, Detail: fmt.Sprintf("along axis %d", axis)}
	}
	return Explanation{Kind: BlockPermuted, Detail: fmt.Sprintf("axis %d: %s", axis, order(l.table))}
}

func isReversed(table []int32) bool {
	for i, at := range table {
		if int(at) != len(table)-1-i {
			return false
		}
	}
	return len(table) > 1
}

// order describes a permutation by the plainest rule that it follows.
func order(table []int32) string {
	n := len(table)
	if s, ok := wholeOrder(table, "indices"); ok {
		return s
	}
	// The same within each block.
	for size := 2; size < n; size++ {
		if n%size == 0 && repeats(table, size) {
			if s, ok := wholeOrder(table[:size], "indices"); ok {
				return fmt.Sprintf("in each of %d blocks of %d, %s", n/size, size, s)
			}
		}
	}
	// Blocks as wholes.
	for size := n / 2; size > 1; size-- {
		if n%size == 0 {
			if blocks, ok := wholes(table, size); ok {
				s, known := wholeOrder(blocks, "blocks")
				if !known {
					s = someOrder(blocks, "blocks")
				}
				return fmt.Sprintf("%d blocks of %d, %s", n/size, size, s)
			}
		}
	}
	return someOrder(table, "indices")
}

// wholeOrder describes an order that has a rule.
func wholeOrder(table []int32, what string) (string, bool) {
	n := len(table)
	by := (n - int(table[0])) % n
	if rolls(table) {
		switch {
		case 2*by == n:
			return "halves exchanged", true
		case 2*by < n:
			return fmt.Sprintf("%s rolled by %d", what, by), true
		}
		return fmt.Sprintf("%s rolled by %d", what, by-n), true
	}
	if isReversed(table) {
		return what + " reversed", true
	}
	for rows := 2; rows <= n/2; rows++ {
		if n%rows == 0 && isTurned(table, rows) {
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
		return fmt.Sprintf("%s %d and %d exchanged", what, moved[0], moved[1]), true
	}
	return "", false
}

func rolls(table []int32) bool {
	n := len(table)
	for i, at := range table {
		if int(at) != (i+int(table[0]))%n {
			return false
		}
	}
	return true
}

// isTurned reports whether the indices, laid out in so many rows, were read by columns.
func isTurned(table []int32, rows int) bool {
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

// wholes returns the order of blocks of a size that were moved as they are.
func wholes(table []int32, size int) ([]int32, bool) {
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

// someOrder describes an order that follows no rule.
func someOrder(table []int32, what string) string {
	moved := 0
	var shown []int
	for i, at := range table {
		if int(at) != i {
			moved++
		}
		if len(shown) < 8 {
			shown = append(shown, int(at))
		}
	}
	more := ""
	if len(table) > len(shown) {
		more = ", …"
	}
	return fmt.Sprintf("%d of %d %s in another order: %s%s", moved, len(table), what, numbers(shown), more)
}
