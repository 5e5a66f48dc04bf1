package diff

import (
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
)

// foldNumbers makes one group of those whose names differ only in numbers after that of the layer, such as the number
// of an expert: "mlp.experts.0-63.w1.weight". Their layers, status and change are the same. Groups whose numbers are not
// all combinations of some stay as they are.
func foldNumbers(groups []Group) []Group {
	like := newClasses(len(groups))
	first := make([]int32, len(groups)) // group that is like each, -1 for the first of them
	next := make([]int32, len(groups))  // the next one that is like it, -1 for none
	last := make([]int32, len(groups))  // of each first, the last one like it
	for i := range groups {
		g := &groups[i]
		slices.Sort(g.Layers)
		first[i], next[i], last[i] = -1, -1, int32(i)
		pattern, numbers := splitNumbers(g.Names[0])
		if len(g.Layers) == 0 || len(numbers) == 0 {
			like.add(0)
			continue
		}
		sum := g.hash(func(h *maphash.Hash) {
			for _, part := range pattern {
				h.WriteString(part)
				h.WriteByte(0)
			}
			hashInts(h, g.Layers)
		})
		if at := like.find(sum, func(k int) bool { return first[k] < 0 && groups[k].isLike(g, pattern) }); at >= 0 {
			first[i] = int32(at)
			next[last[at]], last[at] = int32(i), int32(i)
		}
		like.add(sum)
	}
	out := make([]Group, 0, len(groups))
	for i := range groups {
		if first[i] >= 0 {
			continue
		}
		var same []*Group
		for k := int32(i); k >= 0; k = next[k] {
			same = append(same, &groups[k])
		}
		if folded := fold(same); folded != nil {
			out = append(out, *folded)
			continue
		}
		for _, g := range same {
			out = append(out, *g)
		}
	}
	return out
}

// isLike reports whether two groups differ in nothing but numbers of their names. pattern is that of the name of o.
func (g *Group) isLike(o *Group, pattern []string) bool {
	if g.List != o.List || g.Status != o.Status || g.Change != o.Change || !slices.Equal(g.Layers, o.Layers) {
		return false
	}
	own, _ := splitNumbers(g.Names[0])
	return slices.Equal(own, pattern)
}

// fold makes one group of several, or returns nil if it would name tensors that are not in them.
func fold(groups []*Group) *Group {
	if len(groups) == 1 {
		return groups[0]
	}
	pattern, first := splitNumbers(groups[0].Names[0])
	sets := make([][]int, len(first))
	for _, g := range groups {
		_, numbers := splitNumbers(g.Names[0])
		for k, n := range numbers {
			sets[k] = append(sets[k], n)
		}
	}
	combinations := 1
	for k := range sets {
		slices.Sort(sets[k])
		sets[k] = slices.Compact(sets[k])
		if combinations *= len(sets[k]); combinations > len(groups) {
			return nil
		}
	}
	if combinations != len(groups) {
		return nil
	}
	name := pattern[0]
	for k, set := range sets {
		name += strings.Join(Ranges(set), ",") + pattern[k+1]
	}
	all := &Group{List: groups[0].List, Layers: groups[0].Layers, Names: []string{name}, Status: groups[0].Status, Change: groups[0].Change}
	for _, g := range groups {
		all.Tensors = append(all.Tensors, g.Tensors...)
	}
	return all
}

// splitNumbers splits a name at its segments that are numbers. pattern is what is before, between and after them.
func splitNumbers(name string) (pattern []string, numbers []int) {
	text := ""
	for i, segment := range strings.Split(name, ".") {
		if i > 0 {
			text += "."
		}
		if n, err := strconv.Atoi(segment); err == nil && n >= 0 && strconv.Itoa(n) == segment {
			pattern, numbers, text = append(pattern, text), append(numbers, n), ""
			continue
		}
		text += segment
	}
	return append(pattern, text), numbers
}
