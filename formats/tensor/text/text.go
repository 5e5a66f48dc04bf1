// Package text writes counts and names for people.
package text

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Grouped writes a count with its digits in groups of three: 2,682,862,080.
func Grouped[T int | int32 | int64 | uint64](n T) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Count writes a number of things: 1 tensor, 2,484 tensors.
func Count[T int | int64](n T, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Grouped(int64(n)) + " " + noun + "s"
}

// CountAre writes a number of things with a verb: 1 tensor is, 2,484 tensors are.
func CountAre[T int | int64](n T, noun string) string {
	if n == 1 {
		return "1 " + noun + " is"
	}
	return Count(n, noun) + " are"
}

// Agree writes a number of things with one verb for one and another for several: 1 tensor has, 2 tensors have.
func Agree[T int | int64](n T, noun, one, many string) string {
	if n == 1 {
		return Count(n, noun) + " " + one
	}
	return Count(n, noun) + " " + many
}

// Printable makes text from a file safe to show: characters that cannot be printed, or that change the direction of
// writing, and bytes that are no UTF-8 are escaped.
func Printable(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) < 0 {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}
