package diff

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// maxAligned bounds the pairs of tensors that are compared to find layers that belong together: each layer with each.
const maxAligned = 1 << 22

// layer is the tensors of a layer of one side, by what follows the number in their keys.
type layer struct {
	number   int
	operands map[string]*operand
}

// longestList returns the name of the list of layers that has the most tensors, and the numbers of its layers, ascending.
func longestList(s *side) (list string, numbers []int) {
	count := map[string]int{}
	all := map[string]map[int]bool{}
	for _, key := range s.keys {
		name, n, _ := SplitLayer(key)
		if n < 0 {
			continue
		}
		if all[name] == nil {
			all[name] = map[int]bool{}
		}
		all[name][n] = true
		if count[name]++; count[name] > count[list] || count[name] == count[list] && name < list {
			list = name
		}
	}
	return list, slices.Sorted(maps.Keys(all[list]))
}

// layersOf returns the layers of a list, in the order of their numbers.
func layersOf(s *side, list string, numbers []int) []*layer {
	byNumber := map[int]*layer{}
	var all []*layer
	for _, n := range numbers {
		byNumber[n] = &layer{n, map[string]*operand{}}
		all = append(all, byNumber[n])
	}
	for _, key := range s.keys {
		if name, n, rest := SplitLayer(key); n >= 0 && name == list {
			byNumber[n].operands[rest] = s.byKey[key]
		}
	}
	return all
}

// MovedLayers says which layers of two checkpoints hold the same, although they have other numbers, and which of the others hold the same as one
// of these.
type MovedLayers struct {
	List         string // that precedes the numbers: "model.layers"
	A, B         []int  // the numbers of layers that belong together, in order
	OnlyA, OnlyB []int  // the layers without counterpart
	Alike        bool   // some of them do not hold the same, but were made from each other

	DuplicatesA, DuplicatesB []Duplicate // of the layers without counterpart, in order

	copies map[*operand]*operand // tensors of A by those of duplicates that hold the same
}

// Duplicate is a layer without counterpart that was made from a layer which has one.
type Duplicate struct {
	Layer int  // its number, on its side
	Of    int  // the number that A has for the other
	Alike bool // it does not hold the same, but was made from it
}

// moved reports whether layers that belong together have other numbers. A nil MovedLayers has none.
func (m *MovedLayers) moved() bool { return m != nil && !slices.Equal(m.A, m.B) }

// Words describes the layers: "layers 0 to 3 of B are layers 1 to 4 of A; B lacks layer 0 of A". a and b are what to call the checkpoints.
func (m *MovedLayers) Words(a, b string) string {
	var parts []string
	verb := func(n int, one, many string) string { return map[bool]string{true: one, false: many}[n == 1] }
	if m.moved() {
		are := verb(len(m.B), "is", "are")
		if m.Alike {
			are = verb(len(m.B), "looks like", "look like")
		}
		parts = append(parts, fmt.Sprintf("%s of %s %s %s of %s", LayerWords(m.B), b, are, LayerWords(m.A), a))
	}
	if alone := withoutDuplicates(m.OnlyA, m.DuplicatesA); len(alone) > 0 && (m.moved() || len(alone) < len(m.OnlyA)) {
		parts = append(parts, fmt.Sprintf("%s lacks %s of %s", b, LayerWords(alone), a))
	}
	for _, alike := range []bool{false, true} {
		if layers, of := duplicates(m.DuplicatesA, alike); layers != nil {
			are := verb(len(layers), "which is a copy of", "which are copies of")
			if alike {
				are = verb(len(layers), "which looks like", "which look like")
			}
			parts = append(parts, fmt.Sprintf("%s lacks %s of %s, %s %s of %s", b, LayerWords(layers), a, are, LayerWords(of), a))
		}
	}
	for _, alike := range []bool{false, true} {
		if layers, of := duplicates(m.DuplicatesB, alike); layers != nil {
			are := verb(len(layers), "is a copy of", "are copies of")
			if alike {
				are = verb(len(layers), "looks like", "look like")
			}
			parts = append(parts, fmt.Sprintf("%s of %s %s %s of %s", LayerWords(layers), b, are, LayerWords(of), a))
		}
	}
	if alone := withoutDuplicates(m.OnlyB, m.DuplicatesB); len(alone) > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s %s no counterpart in %s", LayerWords(alone), b, verb(len(alone), "has", "have"), a))
	}
	return strings.Join(parts, "; ")
}

// duplicates returns the numbers of layers that hold the same as others, or that look like them, and the numbers of these, ascending.
func duplicates(all []Duplicate, alike bool) (layers, of []int) {
	for _, d := range all {
		if d.Alike == alike {
			layers, of = append(layers, d.Layer), append(of, d.Of)
		}
	}
	slices.Sort(of)
	return layers, slices.Compact(of)
}

// withoutDuplicates returns the numbers of layers that are no duplicates.
func withoutDuplicates(layers []int, all []Duplicate) (out []int) {
	for _, n := range layers {
		if !slices.ContainsFunc(all, func(d Duplicate) bool { return d.Layer == n }) {
			out = append(out, n)
		}
	}
	return out
}

// NameInA returns the name of a tensor of B with the number that A has for its layer. A nil MovedLayers changes no name.
func (m *MovedLayers) NameInA(name string) string {
	if m == nil {
		return name
	}
	list, layer, rest := SplitLayer(name)
	if k := slices.Index(m.B, layer); k >= 0 && list == m.List {
		return fmt.Sprintf("%s.%d.%s", list, m.A[k], rest)
	}
	return name
}

// copied returns the tensor of A of which the one side of a pair without counterpart is a copy, nil for none.
func (m *MovedLayers) copied(p *pair) *operand {
	if m == nil || p.a != nil && p.b != nil {
		return nil
	}
	return m.copies[p.only()]
}

// belong reports whether two tensors, one of each side, are in layers that belong together.
func (m *MovedLayers) belong(a, b string) bool {
	if m == nil {
		return false
	}
	listA, layerA, _ := SplitLayer(a)
	listB, layerB, _ := SplitLayer(b)
	k := slices.Index(m.B, layerB)
	return k >= 0 && m.A[k] == layerA && listA == m.List && listB == m.List
}

// alignLayers pairs the layers of two sides that have other layers by their content, so that a layer that
// was removed or added is one difference, and not one of every layer behind it. It returns nil if
// layers of one number belong together, and the others are no copies of them. Both sides are read once, unless their layers have the same numbers. Layers also
// belong together if most of their values are alike, as after more training.
func alignLayers(ctx context.Context, a, b *side, progress *progress) (*MovedLayers, error) {
	list, numbersA := longestList(a)
	other, numbersB := longestList(b)
	if n, m := len(numbersA), len(numbersB); list != other || slices.Equal(numbersA, numbersB) || n < 2 || m < 2 {
		return nil, nil
	}
	x, y := layersOf(a, list, numbersA), layersOf(b, list, numbersB)
	if len(x)*tensorsOf(y) > maxAligned {
		return nil, nil
	}
	contents, err := contentsOf(ctx, slices.Concat(x, y), progress)
	if err != nil {
		return nil, err
	}
	m := &matcher{contents: contents, samples: map[*layer]samples{}}
	pairs := matchLayers(len(x), len(y), func(i, j int) int { return m.common(x[i], y[j]) })
	areAlike := false
	if len(x)*len(y) <= maxAlike && len(x)+len(y) <= maxLayers && len(pairs) < max(len(x), len(y)) {
		if err := m.sampleAll(ctx, slices.Concat(x, y)); err != nil {
			return nil, err
		}
		if len(pairs) < min(len(x), len(y)) {
			pairs, areAlike = m.matchAlike(x, y, pairs)
		}
	}
	if 2*len(pairs) < min(len(x), len(y)) {
		return nil, nil
	}
	moved := &MovedLayers{List: list, Alike: areAlike}
	numbers := map[int]int{} // of A's layers by those of B's
	for _, p := range pairs {
		numbers[y[p[1]].number] = x[p[0]].number
		moved.A, moved.B = append(moved.A, x[p[0]].number), append(moved.B, y[p[1]].number)
	}
	moved.OnlyA, moved.OnlyB = numbersWithout(x, moved.A), numbersWithout(y, moved.B)
	m.findDuplicates(moved, x, y, pairs)
	if moved.moved() {
		b.renumber(list, numbers)
		return moved, nil
	}
	if moved.DuplicatesA == nil && moved.DuplicatesB == nil {
		return nil, nil
	}
	return moved, nil
}

// numbersWithout returns the numbers of layers that are not in a list.
func numbersWithout(all []*layer, without []int) []int {
	var out []int
	for _, l := range all {
		if !slices.Contains(without, l.number) {
			out = append(out, l.number)
		}
	}
	return out
}

// unpaired precedes the keys of B's layers without counterpart, of which the numbers may be those of other layers of A.
const unpaired = "B:"

// CutUnpaired returns the name that B has for a tensor or a list, and whether the name that a result has says that its layer is only in B,
// beside layers that have the numbers of A.
func CutUnpaired(name string) (string, bool) { return strings.CutPrefix(name, unpaired) }

// renumber gives the layers of a list the numbers under which they are paired. Layers without such a number stay
// unpaired, and are marked, so that all of them are of one list.
func (s *side) renumber(list string, numbers map[int]int) {
	byKey := make(map[string]*operand, len(s.byKey))
	for i, key := range s.keys {
		name, n, rest := SplitLayer(key)
		renamed := key
		if n >= 0 && name == list {
			if to, ok := numbers[n]; ok {
				renamed = fmt.Sprintf("%s.%d.%s", list, to, rest)
			} else {
				renamed = unpaired + key
			}
		}
		s.keys[i], byKey[renamed] = renamed, s.byKey[key]
	}
	s.byKey = byKey
}

// contentsOf computes the content of each operand of layers.
func contentsOf(ctx context.Context, layers []*layer, progress *progress) (map[*operand]content, error) {
	var all []*operand
	total := int64(0)
	for _, l := range layers {
		for _, o := range l.operands {
			all = append(all, o)
			total += o.Bytes()
		}
	}
	slices.SortFunc(all, func(x, y *operand) int { return strings.Compare(x.Name, y.Name) })
	progress.start("looking for layers that were moved", total)
	var mu sync.Mutex
	contents := map[*operand]content{}
	err := inParallel(ctx, slices.Values(all), func(ctx context.Context, o *operand) error {
		sum, err := tensor.Digest(ctx, o.Tensor, digest.Default)
		if err != nil {
			return o.annotate(err)
		}
		progress.add(o.Bytes())
		mu.Lock()
		defer mu.Unlock()
		contents[o] = content{o.kind(), sum}
		return nil
	})
	return contents, err
}

// tensorsOf counts the tensors of layers.
func tensorsOf(layers []*layer) (n int) {
	for _, l := range layers {
		n += len(l.operands)
	}
	return n
}

// matcher says what layers have in common.
type matcher struct {
	contents map[*operand]content
	samples  map[*layer]samples // nil of a layer that was not sampled
}

// equal returns how many tensors of two layers are equal.
func (m *matcher) equal(x, y *layer) (n int) {
	for rest, o := range x.operands {
		if other := y.operands[rest]; other != nil && m.contents[o] == m.contents[other] {
			n++
		}
	}
	return n
}

// common returns how many tensors of two layers are equal, 0 if that is not more than half of them.
func (m *matcher) common(x, y *layer) int {
	n := m.equal(x, y)
	if 2*n <= max(len(x.operands), len(y.operands)) {
		return 0
	}
	return n
}

// findDuplicates finds layers without counterpart that were made from layers which have one.
func (m *matcher) findDuplicates(moved *MovedLayers, x, y []*layer, pairs [][2]int) {
	pairedA, pairedB := map[*layer]bool{}, map[*layer]bool{}
	for _, p := range pairs {
		pairedA[x[p[0]]], pairedB[y[p[1]]] = true, true
	}
	moved.copies = map[*operand]*operand{}
	of := func(all []*layer, paired map[*layer]bool) (out []Duplicate) {
		for _, l := range all {
			if paired[l] {
				continue
			}
			var nearest *layer
			best := 0
			for _, o := range x {
				if !pairedA[o] {
					continue
				}
				if n := m.likeness(o, l); n > best {
					nearest, best = o, n
				}
			}
			if nearest == nil {
				continue
			}
			isCopy := m.equal(nearest, l) == max(len(l.operands), len(nearest.operands))
			out = append(out, Duplicate{l.number, nearest.number, !isCopy})
			for rest, o := range l.operands {
				if isCopy {
					moved.copies[o] = nearest.operands[rest]
				}
			}
		}
		return out
	}
	moved.DuplicatesA, moved.DuplicatesB = of(x, pairedA), of(y, pairedB)
}

// matchLayers returns the pairs of n and m layers that have the most in common, in the order of both sides: their indexes. Layers that have
// nothing in common are no pair.
func matchLayers(n, m int, common func(i, j int) int) [][2]int {
	// best[i][j] is the most that the layers from i and j on have in common.
	best := make([][]int, n+1)
	same := make([][]int, n)
	for i := range best {
		best[i] = make([]int, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		same[i] = make([]int, m)
		for j := m - 1; j >= 0; j-- {
			same[i][j] = common(i, j)
			best[i][j] = max(best[i+1][j], best[i][j+1], best[i+1][j+1]+same[i][j])
		}
	}
	var pairs [][2]int
	for i, j := 0, 0; i < n && j < m; {
		switch {
		case same[i][j] > 0 && best[i][j] == best[i+1][j+1]+same[i][j]:
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
		case best[i][j] == best[i+1][j]:
			i++
		default:
			j++
		}
	}
	return pairs
}
