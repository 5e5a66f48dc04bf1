package tensor

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode"
)

// QuoteName returns a name from a file as it can stand in one line of text: as it is if all of it
// is printable, otherwise quoted as a Go string. A name longer than 200 bytes loses its middle.
func QuoteName(name string) string {
	if len(name) > 200 {
		name = strings.ToValidUTF8(name[:100], "") + "…" + strings.ToValidUTF8(name[len(name)-60:], "")
	}
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.Quote(name)
	}
	return name
}

// JoinNames joins names with commas. Of more than eight it lists the first eight and counts the
// rest.
func JoinNames(names []string) string {
	const most = 8
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// Clip shortens a name from a file to 200 bytes, since the name in a hostile file may be megabytes
// long.
func Clip(name string) string {
	const most = 200
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "") + "…"
}

// CompareNames orders names with the numbers in them by value: layers.2 comes before layers.10.
func CompareNames(a, b string) int {
	exact := strings.Compare(a, b)
	for a != "" && b != "" {
		m, restA := leadingNumber(a)
		n, restB := leadingNumber(b)
		switch {
		case m == "" || n == "":
			if a[0] != b[0] {
				return strings.Compare(a, b)
			}
			a, b = a[1:], b[1:]
		case m != n && len(m) != len(n):
			return len(m) - len(n)
		case m != n:
			return strings.Compare(m, n)
		default:
			a, b = restA, restB
		}
	}
	if a == b {
		return exact
	}
	return strings.Compare(a, b)
}

// leadingNumber splits s into the digits that it begins with, without leading zeros, and the rest.
// The number zero is "0"; without digits, number is "".
func leadingNumber(s string) (number, rest string) {
	i := 0
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	if i == 0 {
		return "", s
	}
	number = strings.TrimLeft(s[:i], "0")
	if number == "" {
		number = "0"
	}
	return number, s[i:]
}

// NameIndex finds items by their names. It takes 4 bytes for an item.
type NameIndex struct {
	sorted []int32
	name   func(i int) string
}

// IndexNames returns the index of n items; name returns the name of item i.
func IndexNames(n int, name func(i int) string) NameIndex {
	x := NameIndex{make([]int32, n), name}
	for i := range x.sorted {
		x.sorted[i] = int32(i)
	}
	slices.SortStableFunc(x.sorted, func(a, b int32) int { return strings.Compare(name(int(a)), name(int(b))) })
	return x
}

// Of returns the items that have a name, in their order.
func (x NameIndex) Of(name string) []int32 {
	first := sort.Search(len(x.sorted), func(k int) bool { return x.name(int(x.sorted[k])) >= name })
	end := first
	for end < len(x.sorted) && x.name(int(x.sorted[end])) == name {
		end++
	}
	return x.sorted[first:end]
}
