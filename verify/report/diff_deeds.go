package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// deed is what was done to tensors.
type deed struct {
	words  string      // after one tensor
	many   string      // after several
	where  string      // follows the number of tensors: " of 24 layers"
	detail string      // of the first step
	then   string      // the other steps
	added  string      // the constant, if that was done first: the sentence begins with it
	factor float64     // the constant, if they were scaled first
	ranks  map[int]int // of the tensors
	layers map[place]bool
	moves  map[move]bool // if the tensors are those of other layers
	least  int           // rank of the change, if that is what was done
	most   int
	n      int

	became  string // precedes words: "became bfloat16, ", if that was not done by rounding alone
	few, of int64  // elements that were changed, and all of the tensors, if few were; otherwise 0
}

// place is a layer of a list, or what is outside layers: "", -1.
type place struct {
	list  string
	layer int
}

// move says that a layer of B has tensors of another layer of A. Of two that were swapped, to is the first.
type move struct{ to, from int }

// newDeed returns what is counted of one tensor, without words.
func newDeed(t *diff.TensorDiff) *deed {
	e := t.Explanation
	list, layer, rest := diff.SplitLayer(t.Name)
	d := &deed{detail: e.Detail, factor: e.Factor, least: e.Rank, most: e.Rank, n: 1, ranks: map[int]int{len(t.Shape): 1}, layers: map[place]bool{{list, layer}: true}, moves: map[move]bool{}}
	if e.Then != nil {
		d.then = e.Then.Summary(func(string) string { return "another" })
	}
	if e.Kind == explain.Sparse {
		d.few, d.of = e.Changed, t.Elements
	}
	switch otherList, other, otherRest := diff.SplitLayer(e.With); {
	case layer < 0 || otherList != list || other == layer || otherRest != rest:
	case e.Kind == explain.Swapped:
		d.moves[move{min(layer, other), max(layer, other)}] = true
	default:
		d.moves[move{layer, other}] = true
	}
	return d
}

// add counts what was also done to the tensors of another deed.
func (d *deed) add(one *deed) {
	d.n, d.few, d.of = d.n+one.n, d.few+one.few, d.of+one.of
	d.least, d.most = min(d.least, one.least), max(d.most, one.most)
	for rank, n := range one.ranks {
		d.ranks[rank] += n
	}
	maps.Copy(d.layers, one.layers)
	maps.Copy(d.moves, one.moves)
}

// phrase says what was done to how many tensors.
func (d *deed) phrase() string {
	noun, words := "tensor", d.words
	switch d.n {
	case d.ranks[1]:
		noun = "vector"
	case d.ranks[2]:
		noun = "matrix"
	}
	if d.n > 1 {
		words = d.many
	}
	if d.few > 0 {
		words = fmt.Sprintf("%schanged in %s of %s", d.became, text.Grouped(d.few), text.Count(d.of, "element"))
	}
	switch noun = countNoun(d.n, noun) + d.where; {
	case d.added == "":
		return noun + " " + words
	case words == "":
		return d.added + " added to " + noun
	}
	return d.added + " added to " + noun + ", " + words
}

// deedKind is of deeds that may be told together.
type deedKind struct {
	kind   explain.Kind
	layers bool // the tensors are those of other layers
}

// fewDeeds returns the deeds, the most frequent first. Of a kind with more than three, those that are rarer than four times are one:
// "25 vectors scaled by several factors". So are all of a kind with more than three that are not rare, but for one that was done to most of the
// tensors. Of more than five in all, the rarest are one: "28 tensors changed in other known ways".
func fewDeeds(byWords map[deedKind]map[string]*deed) []*deed {
	const few = 5
	var out []*deed
	for kind, deeds := range byWords {
		var rare []*deed
		frequent, n := 0, 0
		for _, d := range deeds {
			if n += d.n; d.n >= 4 {
				frequent++
			}
		}
		for _, d := range deeds {
			if len(deeds) > 3 && d.n < 4 || frequent > 3 && 2*d.n <= n {
				rare = append(rare, d)
			} else {
				out = append(out, d)
			}
		}
		if len(rare) > 1 {
			rare = []*deed{severalDeeds(kind.kind, rare)}
		}
		out = append(out, rare...)
	}
	slices.SortFunc(out, func(a, b *deed) int {
		return cmp.Or(cmp.Compare(b.n, a.n), tensor.CompareNames(a.phrase(), b.phrase()))
	})
	if len(out) > few {
		others := sumOf(out[few-1:])
		others.many = "changed in other known ways"
		out = append(out[:few-1], others)
	}
	return out
}

// countNoun writes a number of things.
func countNoun(n int, noun string) string {
	if noun == "matrix" && n != 1 {
		return text.Grouped(int64(n)) + " matrices"
	}
	return text.Count(int64(n), noun)
}

// deedOf says what was done to a tensor, which is known, without names of others but of parts of the same layer.
func deedOf(t *diff.TensorDiff) *deed {
	e := t.Explanation
	d := newDeed(t)
	if t.DTypeB != "" && e.Kind != explain.Rounded && e.Kind != explain.Truncated && e.Kind != explain.Quantized {
		d.became = "became " + t.DTypeB + ", "
	}
	if e.Kind == explain.Added {
		d.added = e.Detail + " was"
		if e = e.Then; e == nil {
			if d.became != "" {
				d.words = "which " + strings.TrimSuffix(d.became, ", ")
			}
			d.many = d.words
			return d
		}
	}
	switch parts := swappedParts(e, t.Name); {
	case parts != "":
		d.words = "swapped (" + parts + ")"
		d.many = d.words
	case e.Kind == explain.LowRank && e.Then == nil && d.added == "":
		d.words = "changed by " + e.RankWords()
		d.many = d.words
	default:
		d.words = diff.ChangeWords(e, t.Name, func(string) string { return "another" })
		d.many = diff.ChangeWords(e, t.Name, func(string) string { return "others" })
	}
	switch {
	case d.added == "":
		d.words, d.many = d.became+d.words, d.became+d.many
	case d.became != "":
		d.words, d.many = "which "+d.became+"then "+d.words, "which "+d.became+"then "+d.many
	default:
		d.words, d.many = "which was then "+d.words, "which were then "+d.many
	}
	return d
}

// swappedParts names two parts of a layer that were swapped, the same words for both: "gate_proj with up_proj"; "" if that is not what was done
// to the tensor of a name.
func swappedParts(e *explain.Explanation, name string) string {
	list, layer, rest := diff.SplitLayer(name)
	otherList, otherLayer, otherRest := diff.SplitLayer(e.With)
	if e.Kind != explain.Swapped || e.Then != nil || layer < 0 || list != otherList || layer != otherLayer {
		return ""
	}
	a, b := strings.Split(rest, "."), strings.Split(otherRest, ".")
	for len(a) > 1 && len(b) > 1 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 1 && len(b) > 1 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	parts := []string{strings.Join(a, "."), strings.Join(b, ".")}
	slices.Sort(parts)
	return parts[0] + " with " + parts[1]
}

// sumOf counts what deeds were done to.
func sumOf(all []*deed) *deed {
	d := &deed{ranks: map[int]int{}, layers: map[place]bool{}, moves: map[move]bool{}, least: all[0].least}
	for _, one := range all {
		d.add(one)
	}
	d.few, d.of = 0, 0
	return d
}

// severalDeeds are deeds of one kind that are not told apart.
func severalDeeds(k explain.Kind, all []*deed) *deed {
	d := sumOf(all)
	d.many = strings.ReplaceAll(string(k), "_", " ")
	isAlike := func(of func(*deed) string) bool {
		return !slices.ContainsFunc(all, func(one *deed) bool { return of(one) != of(all[0]) })
	}
	same := isAlike(func(one *deed) string { return one.detail })
	switch k {
	case explain.ZeroSigns:
		d.many = "changed in the signs of zeros"
	case explain.Swapped, explain.CopiedFrom:
		d.setMoves(k)
	case explain.PermutedAxes, explain.BlockPermuted:
		d.many = "permuted in several ways"
	case explain.Scaled:
		if d.setFactors(all); same {
			d.many = "scaled " + all[0].detail + ", then changed in several ways"
		}
	case explain.Added:
		if d.added, d.many = "several constants were", ""; same {
			d.added, d.many = all[0].added, "which were then changed in several ways"
		}
	case explain.Sparse:
		d.many = "changed in few elements"
	case explain.LowRank:
		if d.many = "changed by low rank"; d.least < d.most {
			d.many += fmt.Sprintf(" (%d to %d)", d.least, d.most)
		}
	case explain.Quantized:
		d.many = "quantised"
	}
	if d.added == "" && all[0].then != "" && isAlike(func(one *deed) string { return one.then }) {
		d.many += ", then " + all[0].then
	}
	if d.added == "" && isAlike(func(one *deed) string { return one.became }) {
		d.many = all[0].became + d.many
	}
	return d
}

// setMoves says that layers have the tensors of other layers, and for the first of them which: "copied from others (layer 2 from 10, 3 from 11, …)".
func (d *deed) setMoves(k explain.Kind) {
	words, layer, between := "copied from others", "layer", "from"
	if k == explain.Swapped {
		words, layer, between = "swapped with others", "layers", "and"
	}
	if d.many = words; len(d.moves) == 0 {
		return
	}
	const few = 2
	all := slices.SortedFunc(maps.Keys(d.moves), func(a, b move) int { return cmp.Or(cmp.Compare(a.to, b.to), cmp.Compare(a.from, b.from)) })
	var first []string
	for _, m := range all[:min(few, len(all))] {
		first = append(first, fmt.Sprintf("%d %s %d", m.to, between, m.from))
	}
	if len(all) > few {
		first = append(first, "…")
	}
	d.where = " of " + text.Count(int64(len(d.layers)), "layer")
	d.many += " (" + layer + " " + strings.Join(first, ", ") + ")"
}

// setFactors says by which factors the tensors of deeds were scaled, and whether each layer was by one of its own.
func (d *deed) setFactors(all []*deed) {
	shared := func(one *deed) bool { return len(one.layers) != 1 || one.layers[place{"", -1}] }
	if d.many = "scaled by several factors"; len(d.layers) == len(all) && d.n > len(all) && !slices.ContainsFunc(all, shared) {
		d.where, d.many = " of "+text.Count(int64(len(all)), "layer"), "scaled, each layer by a factor of its own"
	}
	byFactor := func(a, b *deed) int { return cmp.Compare(a.factor, b.factor) }
	least, most := slices.MinFunc(all, byFactor), slices.MaxFunc(all, byFactor)
	number := func(one *deed) string {
		first, _, _ := strings.Cut(strings.TrimPrefix(one.detail, "by "), ",")
		return first
	}
	if least.factor < most.factor {
		d.many += fmt.Sprintf(" (%s to %s)", number(least), number(most))
	}
}
