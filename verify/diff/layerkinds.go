package diff

import (
	"fmt"
	"slices"
	"strings"
)

// Where names the tensors of a group, in lines of about 110 columns: "recurrent layers (18) of model.layers: temporal_block.conv_1d.bias",
// or if they are in one layer or in none as Group.Where does.
func (r *Result) Where(g *Group) []string {
	names := g.Where()
	if len(g.Layers) > 1 {
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

// LayersOf names the layers of a group, which has some: "recurrent layers (18)" if they are all of that kind, "recurrent layers
// 0 to 10 (8)" if they are all of that kind between two, "all layers (26)", or else their numbers: "layers 2 to 9, 12".
func (r *Result) LayersOf(g *Group) string {
	kinds := r.blockKinds()
	all := r.layersIn(g.List)
	if len(all) > 1 && slices.Equal(all, g.Layers) {
		return fmt.Sprintf("all layers (%d)", len(all))
	}
	if len(g.Layers) < 2 || len(kinds) != len(all) || all[len(all)-1] != len(kinds)-1 {
		return LayerWords(g.Layers)
	}
	kind := kinds[g.Layers[0]]
	var whole, between []int
	for i, k := range kinds {
		if k != kind {
			continue
		}
		whole = append(whole, i)
		if i >= g.Layers[0] && i <= g.Layers[len(g.Layers)-1] {
			between = append(between, i)
		}
	}
	switch {
	case slices.Equal(whole, g.Layers):
		return fmt.Sprintf("%s layers (%d)", kind, len(whole))
	case slices.Equal(between, g.Layers) && len(between) > 2 && between[len(between)-1] != between[0]+len(between)-1:
		return fmt.Sprintf("%s layers %d to %d (%d)", kind, between[0], between[len(between)-1], len(between))
	}
	return LayerWords(g.Layers)
}

// blockKinds returns the kinds of the blocks of both models, nil if they are not known or not the same.
func (r *Result) blockKinds() []string {
	a, b := r.A.BlockTypes, r.B.BlockTypes
	switch {
	case a == nil || slices.Equal(a, b):
		return b
	case b == nil:
		return a
	}
	return nil
}

// layersIn returns the numbers of the layers of a list, ascending.
func (r *Result) layersIn(list string) []int {
	var out []int
	for i := range r.Tensors {
		if name, n, _ := SplitLayer(r.Tensors[i].Name); n >= 0 && name == list {
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
	return "layers " + strings.Join(parts, ", ")
}
