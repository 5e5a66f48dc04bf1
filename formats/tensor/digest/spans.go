package digest

import "slices"

// spans is a set of offsets, as ascending ranges that do not touch. They lie in blocks, none of which is empty or has more than maxBlock
// ranges, so that to add a range to very many takes little time.
type spans [][]span

// span is the offsets from from on, before to.
type span struct{ from, to int64 }

const maxBlock = 512

// add adds a range, and returns the parts of it that were not in the set.
func (s *spans) add(from, to int64) (fresh []span) {
	if from >= to {
		return nil
	}
	// The first range that overlaps or touches the new one, or comes after it, is the i-th of block b.
	before := func(x span, from int64) int {
		if x.to < from {
			return -1
		}
		return 1
	}
	b, _ := slices.BinarySearchFunc(*s, from, func(block []span, from int64) int { return before(block[len(block)-1], from) })
	if b == len(*s) { // it comes after all
		if b == 0 || len((*s)[b-1]) == maxBlock {
			*s = append(*s, nil)
			b++
		}
		(*s)[b-1] = append((*s)[b-1], span{from, to})
		return []span{{from, to}}
	}
	i, _ := slices.BinarySearchFunc((*s)[b], from, before)
	joined, at := span{from, to}, from
	join := func(block []span, j int) int { // from the j-th range of a block on
		for ; j < len(block) && block[j].from <= to; j++ {
			x := block[j]
			if at < x.from {
				fresh = append(fresh, span{at, x.from})
			}
			at = max(at, x.to)
			joined = span{min(joined.from, x.from), max(joined.to, x.to)}
		}
		return j
	}
	j := join((*s)[b], i)
	next := b + 1 // the first block of which something stays
	for ; j == len((*s)[b]) && next < len(*s); next++ {
		block := (*s)[next]
		if k := join(block, 0); k < len(block) {
			(*s)[next] = block[k:]
			break
		}
	}
	if at < to {
		fresh = append(fresh, span{at, to})
	}
	(*s)[b] = slices.Replace((*s)[b], i, j, joined)
	*s = slices.Delete(*s, b+1, next)
	if block := (*s)[b]; len(block) > maxBlock {
		half := len(block) / 2
		(*s)[b] = block[:half:half]
		*s = slices.Insert(*s, b+1, slices.Clone(block[half:]))
	}
	return fresh
}

// clone returns a copy.
func (s spans) clone() spans {
	c := slices.Clone(s)
	for i := range c {
		c[i] = slices.Clone(c[i])
	}
	return c
}

// prefix returns the first offset from 0 on that is not in the set.
func (s spans) prefix() int64 {
	if len(s) == 0 || s[0][0].from > 0 {
		return 0
	}
	return s[0][0].to
}
