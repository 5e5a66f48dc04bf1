package diff

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Where names the tensors of a group, in lines of about 110 columns: "recurrent layers (18) of model.layers: temporal_block.conv_1d.bias",
// "every tensor of layer 4 of model.layers", or if they are some of one layer or in none as Group.Where does.
func (r *Result) Where(g *Group) []string { return r.items().Where(g) }

// Where is Result.Where.
func (r *Items) Where(g *Group) []string {
	names := g.Where()
	switch {
	case g.Every:
		return []string{fmt.Sprintf("every tensor of %s of %s", r.LayersOf(g), g.List)}
	case len(g.Layers) > 1:
		names = fmt.Sprintf("%s of %s: %s", r.LayersOf(g), g.List, strings.Join(g.Names, ", "))
	}
	const maxColumns = 110
	lines := []string{""}
	for i, word := range strings.SplitAfter(names, ", ") {
		last := len(lines) - 1
		if i > 0 && len(lines[last])+len(word) > maxColumns {
			lines[last] = strings.TrimSuffix(lines[last], " ")
			lines, last = append(lines, ""), last+1
		}
		lines[last] += word
	}
	return lines
}

// Words names the tensors that are in groups: "model.embed_tokens.weight, every tensor of layer 3 of model.layers". Groups that are lists themselves
// are divided by semicolons.
func (r *Items) Words() string {
	var where []string
	for _, g := range r.Groups() {
		where = append(where, strings.Join(r.Where(&g), " "))
	}
	const most = 8
	separator, rest := ", ", ""
	if len(where) > most {
		where, rest = where[:most], fmt.Sprintf(" and %d more", len(where)-most)
	}
	if slices.ContainsFunc(where, func(s string) bool { return strings.Contains(s, separator) }) {
		separator = "; "
	}
	return strings.Join(where, separator) + rest
}

// LayersOf names the layers of a group, which has some: "recurrent layers (18)" if they are all of that kind, "recurrent layers
// 0 to 10 (8)" if they are all of that kind between two, "attention layers but 20 (7) and layer 19" with few exceptions, "all layers (26)", or
// else their numbers: "layers 2 to 9, 12".
func (r *Result) LayersOf(g *Group) string { return r.items().LayersOf(g) }

// LayersOf is Result.LayersOf.
func (r *Items) LayersOf(g *Group) string {
	list := g.list
	if list == nil {
		list = &layerList{numbers: r.layersIn(g.List)}
		list.setKinds(r.BlockTypes)
	}
	if len(list.numbers) > 1 && !list.unpaired && slices.Equal(list.numbers, g.Layers) {
		return fmt.Sprintf("all layers (%d)", len(list.numbers))
	}
	if len(g.Layers) < 2 || list.kinds == nil {
		return LayerWords(g.Layers)
	}
	if kind := list.kinds[g.Layers[0]]; slices.Equal(list.ofKind[kind], g.Layers) {
		return fmt.Sprintf("%s layers (%d)", kind, len(g.Layers))
	}
	words := LayerWords(g.Layers)
	for _, kind := range slices.Sorted(maps.Keys(list.ofKind)) {
		if byKind := list.wordsByKind(kind, g.Layers); byKind != "" && spansIn(byKind) < spansIn(words) {
			words = byKind
		}
	}
	return words
}

// spansIn counts the numbers and ranges in what names layers.
func spansIn(words string) int {
	return 1 + strings.Count(words, ",") + strings.Count(words, " but ") + strings.Count(words, " and ")
}

// wordsByKind names ascending layers as those of a kind, with the exceptions; "" if fewer than three of them are of the kind, or
// not many more than there are exceptions.
func (l *layerList) wordsByKind(kind string, layers []int) string {
	var of, others []int
	for _, n := range layers {
		if l.kinds[n] == kind {
			of = append(of, n)
		} else {
			others = append(others, n)
		}
	}
	if len(of) < 3 {
		return ""
	}
	words, whole := kind+" layers", l.ofKind[kind]
	if of[0] != whole[0] || of[len(of)-1] != whole[len(whole)-1] {
		words += fmt.Sprintf(" %d to %d", of[0], of[len(of)-1])
	}
	isOut := func(n int) bool {
		_, has := slices.BinarySearch(of, n)
		return has || n < of[0] || n > of[len(of)-1]
	}
	lacks := slices.DeleteFunc(slices.Clone(whole), isOut)
	if len(of) < 2*(len(lacks)+len(others)) {
		return ""
	}
	if len(lacks) > 0 {
		words += " but " + numberWords(lacks)
	}
	words += fmt.Sprintf(" (%d)", len(of))
	if others != nil {
		words += " and " + LayerWords(others)
	}
	return words
}

// layerList is the layers of a list.
type layerList struct {
	numbers []int             // ascending
	tensors []int             // how many each has
	parts   map[layerPart]int // how many each part of a layer has; nil in a list of very many tensors
	kinds   []string          // nil if they are not known
	ofKind  map[string][]int  // the layers of each kind, ascending

	unpaired bool // only B's layers without counterpart: the list has others
}

// setKinds sets the kinds, if each layer has one. A number of which there is no layer has the kind "".
func (l *layerList) setKinds(kinds []string) {
	var numbers []int
	ofKind := map[string][]int{}
	for i, kind := range kinds {
		if kind != "" {
			numbers, ofKind[kind] = append(numbers, i), append(ofKind[kind], i)
		}
	}
	if numbers != nil && slices.Equal(numbers, l.numbers) {
		l.kinds, l.ofKind = kinds, ofKind
	}
}

// setNumbers sets the numbers, of which each is given as often as the layer has tensors.
func (l *layerList) setNumbers(numbers []int) {
	slices.Sort(numbers)
	l.numbers = numbers[:0]
	for i, n := range numbers {
		if i == 0 || n != l.numbers[len(l.numbers)-1] {
			l.numbers, l.tensors = append(l.numbers, n), append(l.tensors, 0)
		}
		l.tensors[len(l.tensors)-1]++
	}
}

// layerPart is the tensors of a layer whose names have one segment behind its number: "temporal_block".
type layerPart struct {
	layer   int
	segment string
}

// partOf returns the part that a tensor of a layer is in, by what follows the number: "" if that is one segment.
func partOf(rest string) string {
	segment, _, ok := strings.Cut(rest, ".")
	if !ok {
		return ""
	}
	return segment
}

// count returns how many tensors a layer has.
func (l *layerList) count(layer int) int {
	if i, ok := slices.BinarySearch(l.numbers, layer); ok {
		return l.tensors[i]
	}
	return 0
}

// hasAll reports whether a group has all tensors of its layers.
func (l *layerList) hasAll(g *Group) bool {
	n := 0
	for _, layer := range g.Layers {
		n += l.count(layer)
	}
	return n == len(g.Tensors)
}

// fewNames is how many names are listed even if their layers have no others.
const fewNames = 3

// setLists gives groups the layers of their lists.
func (r *Items) setLists(groups []Group) {
	lists := map[string]*layerList{}
	for i := range groups {
		if g := &groups[i]; len(g.Layers) > 1 || len(g.Layers) == 1 && len(g.Names) > fewNames {
			if lists[g.List] == nil {
				lists[g.List] = &layerList{parts: map[layerPart]int{}}
			}
		}
	}
	for i := range r.Len {
		if name, n, rest := SplitLayer(r.Name(i)); n >= 0 && lists[name] != nil {
			l := lists[name]
			l.numbers = append(l.numbers, n)
			if part := partOf(rest); part != "" && len(l.numbers) <= maxParts {
				l.parts[layerPart{n, part}]++
			}
		}
	}
	r.addRenamed(lists)
	for name, l := range lists {
		if len(l.numbers) > maxParts {
			l.parts = nil
		}
		l.setNumbers(l.numbers)
		if l.unpaired = strings.HasPrefix(name, unpaired); !l.unpaired {
			l.setKinds(r.BlockTypes)
		}
	}
	for i := range groups {
		groups[i].list = lists[groups[i].List]
	}
}

// addRenamed adds the names in B of renamed tensors to lists, so that a group of B's tensors has all of a layer, or of a part of it, only
// if none of these was paired with one of A.
func (r *Items) addRenamed(lists map[string]*layerList) {
	if r.renamed == nil {
		return
	}
	for i := range r.Len {
		list, layer, rest := SplitLayer(r.Name(i))
		newList, n, newRest := SplitLayer(r.renamed(i))
		l := lists[newList]
		if other := lists[unpaired+newList]; other != nil && list != newList {
			l = other // a list of layers that A calls otherwise
		}
		if n < 0 || l == nil {
			continue
		}
		if list == newList && layer != n {
			continue // the numbers of the list are those of A
		}
		if list != newList {
			l.numbers = append(l.numbers, n)
		}
		if part := partOf(newRest); part != "" && len(l.numbers) <= maxParts && (list != newList || partOf(rest) != part) {
			l.parts[layerPart{n, part}]++
		}
	}
}

// blockKinds returns the kinds of the blocks that both models have, and of those that only one of them has behind these; nil if they are
// not known or not the same. If B's layers have the numbers of those of A that they are compared with, they are A's.
func (r *Result) blockKinds() []string {
	if r.aligned {
		return r.A.BlockTypes
	}
	long, short := r.A.BlockTypes, r.B.BlockTypes
	if len(short) > len(long) {
		long, short = short, long
	}
	if !slices.Equal(long[:len(short)], short) {
		return nil
	}
	return long
}

// layersIn returns the numbers of the layers of a list, ascending.
func (r *Items) layersIn(list string) []int {
	var out []int
	for i := range r.Len {
		if name, n, _ := SplitLayer(r.Name(i)); n >= 0 && name == list {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// LayerWords writes ascending numbers of layers: "layer 3", "layers 2 to 9, 12".
func LayerWords(numbers []int) string {
	if len(numbers) == 1 {
		return fmt.Sprintf("layer %d", numbers[0])
	}
	return "layers " + numberWords(numbers)
}

// numberWords writes ascending numbers: "2 to 9, 12".
func numberWords(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		end := i
		for end+1 < len(numbers) && numbers[end+1] == numbers[end]+1 {
			end++
		}
		if end-i < 2 {
			end = i
			parts = append(parts, fmt.Sprint(numbers[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d to %d", numbers[i], numbers[end]))
		}
		i = end + 1
	}
	return strings.Join(parts, ", ")
}
