package nearest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Tensor returns the name that a wrong name of a tensor most likely stands for, or "": the only name that begins or ends with
// it, the only one that has it between dots, one that is spelt like it, or one that has parts between dots that are spelt like it.
func Tensor(name string, names []string) string {
	const most = 10_000 // names that are compared letter by letter
	var ends, within []string
	for _, other := range names {
		if strings.HasSuffix(other, name) || strings.HasPrefix(other, name) {
			ends = append(ends, other)
		}
		if strings.Contains("."+other+".", "."+name+".") {
			within = append(within, other)
		}
	}
	for _, found := range [][]string{ends, within} {
		if len(found) == 1 {
			return found[0]
		}
	}
	names = names[:min(most, len(names))]
	return cmp.Or(Name(name, names), tensorPart(name, names))
}

// tensorPart returns the only name that has parts between dots, as many as word has, that are spelt like word.
func tensorPart(word string, names []string) string {
	n := strings.Count(word, ".") + 1
	of := map[string]string{} // "" if several names have these parts
	for _, name := range names {
		parts := strings.Split(name, ".")
		for i := range len(parts) - n + 1 {
			some := strings.Join(parts[i:i+n], ".")
			if other, ok := of[some]; ok && other != name {
				of[some] = ""
			} else {
				of[some] = name
			}
		}
	}
	return of[Name(word, slices.Sorted(maps.Keys(of)))]
}
