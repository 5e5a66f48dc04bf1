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

// The most groups, and the most tensors of a list of layers, of which whole layers and parts are folded. Nobody reads more.
const (
	maxFolded = 1 << 12
	maxParts  = 1 << 16
)

// foldWhole makes one group of those that together have all tensors of some layers, whatever kinds these are, and one name of those of all
// tensors of a part of a layer: "temporal_block.*". The groups have the layers of their lists.
func (r *Items) foldWhole(groups []Group) []Group {
	if len(groups) > maxFolded {
		return groups
	}
	type class struct {
		list   string
		status Status
		change string
	}
	members := map[class][]*Group{}
	for i := range groups {
		if g := &groups[i]; g.list != nil && g.list.parts != nil && (g.Change != "" || g.Status != Differs) {
			c := class{g.List, g.Status, g.Change}
			members[c] = append(members[c], g)
		}
	}
	for _, same := range members {
		r.foldLayers(same)
		mergeLayers(same)
		for _, g := range same {
			r.foldParts(g)
		}
		mergeEqual(same)
	}
	return slices.DeleteFunc(groups, func(g Group) bool { return len(g.Tensors) == 0 })
}

// foldLayers makes a group of the layers of which the groups have all tensors, unless there would be more groups than before.
func (r *Items) foldLayers(groups []*Group) {
	list, count := groups[0].list, map[int]int{}
	for _, g := range groups {
		for _, i := range g.Tensors {
			_, layer, _ := SplitLayer(r.Name(i))
			count[layer]++
		}
	}
	isWhole := func(layer int) bool { return count[layer] > fewNames && count[layer] == list.count(layer) }
	var emptied *Group
	left := 0
	for _, g := range groups {
		if slices.ContainsFunc(g.Layers, func(layer int) bool { return !isWhole(layer) }) {
			left++
		} else if emptied == nil {
			emptied = g
		}
	}
	if left+1 > len(groups) {
		return
	}
	whole := Group{List: emptied.List, Status: emptied.Status, Change: emptied.Change, list: list}
	for _, g := range groups {
		rest := Group{List: g.List, Status: g.Status, Change: g.Change, Names: g.Names, list: list}
		for _, layer := range g.Layers {
			to := &rest
			if isWhole(layer) {
				to = &whole
			}
			to.Layers = append(to.Layers, layer)
		}
		if len(rest.Layers) < len(g.Layers) {
			whole.Names = append(whole.Names, g.Names...)
		}
		for _, i := range g.Tensors {
			to := &rest
			if _, layer, _ := SplitLayer(r.Name(i)); isWhole(layer) {
				to = &whole
			}
			to.Tensors = append(to.Tensors, i)
		}
		*g = rest
	}
	slices.Sort(whole.Tensors)
	slices.Sort(whole.Layers)
	whole.Layers = slices.Compact(whole.Layers)
	*emptied = whole
}

// foldParts gives one name to the names of a group that are all of a part of each of its layers, and more than a few.
func (r *Items) foldParts(g *Group) {
	if len(g.Names) <= fewNames || g.list.hasAll(g) {
		return
	}
	count, names := map[string]int{}, map[string]int{}
	for _, i := range g.Tensors {
		_, _, rest := SplitLayer(r.Name(i))
		count[partOf(rest)]++
	}
	for _, name := range g.Names {
		names[partOf(name)]++
	}
	isWhole := map[string]bool{}
	for part, n := range names {
		all := 0
		for _, layer := range g.Layers {
			all += g.list.parts[layerPart{layer, part}]
		}
		isWhole[part] = part != "" && n > fewNames && count[part] == all
	}
	exceptions := map[string]string{} // " but " and names, by the part that has them
	for part, n := range names {
		if lacks := r.lacking(g, part); part != "" && !isWhole[part] && len(lacks) > 0 && n >= 3*len(lacks) && n > fewNames {
			isWhole[part], exceptions[part] = true, " but "+strings.Join(lacks, " and ")
		}
	}
	listed := map[string]bool{}
	var out []string
	for _, name := range g.Names {
		switch part := partOf(name); {
		case !isWhole[part]:
			out = append(out, name)
		case !listed[part]:
			listed[part] = true
			out = append(out, part+".*"+exceptions[part])
		}
	}
	g.Names = out
}

// lacking returns the one or two names of a part, without it, that the layers of a group all have beside those of the group; nil if there are
// none or more.
func (r *Items) lacking(g *Group, part string) []string {
	const most, few = 1 << 13, 2
	if r.Len > most {
		return nil
	}
	has := map[string]bool{}
	for _, name := range g.Names {
		has[name] = true
	}
	count := map[string]int{}
	var lacks []string
	for i := range r.Len {
		if r.renamed != nil {
			if list, layer, rest := SplitLayer(r.renamed(i)); list == strings.TrimPrefix(g.List, unpaired) && partOf(rest) == part && slices.Contains(g.Layers, layer) {
				return nil // it belongs to a tensor of A that has another name
			}
		}
		list, layer, rest := SplitLayer(r.Name(i))
		if list != g.List || partOf(rest) != part || has[rest] {
			continue
		}
		if _, in := slices.BinarySearch(g.Layers, layer); !in {
			continue
		}
		if count[rest]++; count[rest] == 1 {
			lacks = append(lacks, strings.TrimPrefix(rest, part+"."))
		}
		if len(lacks) > few {
			return nil
		}
	}
	for _, n := range count {
		if n != len(g.Layers) {
			return nil
		}
	}
	return lacks
}

// mergeLayers makes one group of those of the same layers.
func mergeLayers(groups []*Group) {
	for i, g := range groups {
		for _, o := range groups[:i] {
			if len(o.Tensors) > 0 && len(g.Tensors) > 0 && slices.Equal(o.Layers, g.Layers) {
				o.Tensors, o.Names = append(o.Tensors, g.Tensors...), append(o.Names, g.Names...)
				slices.Sort(o.Tensors)
				g.Tensors = nil
				break
			}
		}
	}
}

// mergeEqual makes one group of those that have the same names, as those of a part that layers of several kinds have.
func mergeEqual(groups []*Group) {
	for i, g := range groups {
		for _, o := range groups[:i] {
			if len(o.Tensors) > 0 && len(g.Tensors) > 0 && slices.Equal(o.Names, g.Names) {
				o.Tensors, o.Layers = append(o.Tensors, g.Tensors...), append(o.Layers, g.Layers...)
				slices.Sort(o.Tensors)
				slices.Sort(o.Layers)
				g.Tensors = nil
				break
			}
		}
	}
}
