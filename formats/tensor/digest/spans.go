package digest

import "slices"

// spans is a set of offsets, as ascending ranges that do not touch.
type spans []span

// span is the offsets from from on, before to.
type span struct{ from, to int64 }

// add adds a range, and returns the parts of it that were not in the set.
func (s *spans) add(from, to int64) (fresh []span) {
	if from >= to {
		return nil
	}
	// The ranges from i on, before j, overlap or touch the new one.
	i, _ := slices.BinarySearchFunc(*s, from, func(x span, from int64) int {
		if x.to < from {
			return -1
		}
		return 1
	})
	joined, j, at := span{from, to}, i, from
	for ; j < len(*s) && (*s)[j].from <= to; j++ {
		x := (*s)[j]
		if at < x.from {
			fresh = append(fresh, span{at, x.from})
		}
		at = max(at, x.to)
		joined = span{min(joined.from, x.from), max(joined.to, x.to)}
	}
	if at < to {
		fresh = append(fresh, span{at, to})
	}
	*s = slices.Replace(*s, i, j, joined)
	return fresh
}

// prefix returns the first offset from 0 on that is not in the set.
func (s spans) prefix() int64 {
	if len(s) == 0 || s[0].from > 0 {
		return 0
	}
	return s[0].to
}
