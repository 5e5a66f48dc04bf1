// Package nearest finds the name that was meant by a misspelt one.
package nearest

import (
	"cmp"
	"slices"
	"strings"
)

// longest is the length, in bytes, of the longest word that is compared: the time grows with the square of it.
const longest = 200

// Name returns the name that a word most likely stands for: the only one that begins with it, or the one with the fewest
// typing errors (letters that are missing, added, replaced, or swapped with the next one). It is "" if a third of the word
// or more would be wrong, of a short one half, unless a letter of three is missing; then it is the only name that is a part of the word between hyphens, 2b of "2b-it",
// or else the only name that has all parts of the word, griffin-paper-7b of "griffin-7b". Of
// names that differ in their last digits only, such as versions, it is the last one. Upper and lower case are not distinguished.
func Name(word string, names []string) string {
	word = strings.ToLower(word)
	if word == "" || len(word) > longest {
		return ""
	}
	best, fewest, begins := "", 0, 0
	beginning := ""
	for _, name := range names {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, word) {
			beginning = name
			begins++
		}
		if len(name) > longest {
			continue
		}
		if n := errorsBetween(word, lower); n <= max(1, (max(len(word), len(name))-1)/3) && (best == "" || n < fewest || n == fewest && isLater(name, best) && !strings.HasPrefix(word, strings.ToLower(best))) {
			best, fewest = name, n
		}
	}
	if begins == 1 && len(word) > 1 && (best == "" || fewest > 1) {
		return beginning
	}
	if leftOut := fewest == 1 && len(word) == 2 && len(best) == 3; best == "" || 2*fewest >= len(word) && !leftOut {
		return cmp.Or(part(word, names), abridged(word, names))
	}
	return best
}

// Begun returns the names that begin with a word, if they are several.
func Begun(word string, names []string) (begun []string) {
	for _, name := range names {
		if word != "" && strings.HasPrefix(strings.ToLower(name), strings.ToLower(word)) {
			begun = append(begun, name)
		}
	}
	if len(begun) < 2 {
		return nil
	}
	slices.Sort(begun)
	return begun
}

// parts returns the parts of a name between hyphens and the like.
func parts(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("-_./ ", r) })
}

// abridged returns the only name that has all parts of a word of several, in their order.
func abridged(word string, names []string) string {
	found := ""
	for _, name := range names {
		rest := parts(word)
		for _, part := range parts(strings.ToLower(name)) {
			if len(rest) > 0 && part == rest[0] {
				rest = rest[1:]
			}
		}
		if len(rest) > 0 || len(parts(word)) < 2 {
			continue
		}
		if found != "" {
			return ""
		}
		found = name
	}
	return found
}

// isLater reports whether a name differs from another in its last digits only, and has the larger ones.
func isLater(name, than string) bool {
	const digits = "0123456789"
	base := strings.TrimRight(name, digits)
	return base == strings.TrimRight(than, digits) && len(name) == len(than) && name > than
}

// part returns the only name that is a part of the word, between hyphens and the like.
func part(word string, names []string) string {
	found := ""
	for _, part := range parts(word) {
		for _, name := range names {
			if part == strings.ToLower(name) && part != word && found != name {
				if found != "" {
					return ""
				}
				found = name
			}
		}
	}
	return found
}

// errorsBetween returns the number of typing errors that make b of a: the optimal string alignment distance.
func errorsBetween(a, b string) int {
	var before, last []int // rows of the table of distances between beginnings of a and b
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			wrong := 1
			if a[i] == b[j] {
				wrong = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+wrong)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
