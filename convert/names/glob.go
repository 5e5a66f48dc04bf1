package names

// Glob reports whether a pattern matches a whole name: * matches any characters, dots included, and ? one
// byte.
func Glob(pattern, name string) bool {
	_, ok := globParts(pattern, name)
	return ok
}

// globParts is Glob that also returns what each * matched: as little as possible, from the left. Its time is
// at most proportional to the product of the lengths.
func globParts(pattern, name string) (parts []string, ok bool) {
	type state struct{ pattern, name, parts int } // where the last * may match one more byte
	retry := state{-1, 0, 0}
	starts := []int{}
	ends := []int{}
	i, j := 0, 0
	for i < len(pattern) || j < len(name) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			starts, ends = append(starts, j), append(ends, j)
			retry = state{i, j, len(starts)}
			i++
			continue
		case i < len(pattern) && j < len(name) && (pattern[i] == '?' || pattern[i] == name[j]):
			i++
			j++
			continue
		case retry.pattern < 0 || retry.name >= len(name):
			return nil, false
		}
		retry.name++
		starts, ends = starts[:retry.parts], ends[:retry.parts]
		ends[retry.parts-1] = retry.name
		i, j = retry.pattern+1, retry.name
	}
	for k := range starts {
		parts = append(parts, name[starts[k]:ends[k]])
	}
	return parts, true
}
