package diff

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// foldNumbers makes one group of those whose names differ only in numbers after that of the layer, such as the number
// of an expert: "mlp.experts.0-63.w1.weight". Their layers, status and change are the same. Groups whose numbers are not
// all combinations of some stay as they are.
func foldNumbers(groups []*Group) []*Group {
	like := map[string][]*Group{}
	var keys []string
	for _, g := range groups {
		slices.Sort(g.Layers)
		pattern, numbers := splitNumbers(g.Names[0])
		key := "\x00" + g.Names[0]
		if len(g.Layers) > 0 && len(numbers) > 0 {
			key = fmt.Sprintf("%s\x00%s\x00%s\x00%s\x00%v", g.List, strings.Join(pattern, "\x00"), g.Status, g.Change, g.Layers)
		}
		if like[key] == nil {
			keys = append(keys, key)
		}
		like[key] = append(like[key], g)
	}
	var out []*Group
	for _, key := range keys {
		if folded := fold(like[key]); folded != nil {
			out = append(out, folded)
		} else {
			out = append(out, like[key]...)
		}
	}
	return out
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
		name += ranges(set) + pattern[k+1]
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
