package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// deed is what was done to tensors.
type deed struct {
	words  string      // after one tensor
	many   string      // after several
	detail string      // of the first step
	added  string      // the constant, if that was done first: the sentence begins with it
	ranks  map[int]int // of the tensors
	least  int         // rank of the change, if that is what was done
	most   int
	n      int

	became  string // precedes words: "became bfloat16, ", if that was not done by rounding alone
	few, of int64  // elements that were changed, and all of the tensors, if few were; otherwise 0
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
	switch noun = countNoun(d.n, noun); {
	case d.added == "":
		return noun + " " + words
	case words == "":
		return d.added + " added to " + noun
	}
	return d.added + " added to " + noun + ", " + words
}

// fewDeeds returns the deeds, the most frequent first. Of a kind with more than three, those that are rarer than four times are one:
// "25 vectors scaled by several factors". So are all of more than three ranks.
func fewDeeds(byWords map[explain.Kind]map[string]*deed) []*deed {
	var out []*deed
	for kind, deeds := range byWords {
		var rare []*deed
		frequent := 0
		for _, d := range deeds {
			if d.n >= 4 {
				frequent++
			}
		}
		for _, d := range deeds {
			if len(deeds) > 3 && d.n < 4 || kind == explain.LowRank && frequent > 3 {
				rare = append(rare, d)
			} else {
				out = append(out, d)
			}
		}
		if len(rare) > 1 {
			rare = []*deed{severalDeeds(kind, rare)}
		}
		out = append(out, rare...)
	}
	slices.SortFunc(out, func(a, b *deed) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.phrase(), b.phrase())) })
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
	d := &deed{detail: e.Detail, ranks: map[int]int{}}
	d.least, d.most = e.Rank, e.Rank
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

// severalDeeds are deeds of one kind that are not told apart.
func severalDeeds(k explain.Kind, all []*deed) *deed {
	d := &deed{many: strings.ReplaceAll(string(k), "_", " "), ranks: map[int]int{}}
	isOther := func(one *deed) bool { return one.detail != all[0].detail }
	switch same := !slices.ContainsFunc(all, isOther); k {
	case explain.ZeroSigns:
		d.many = "changed in the signs of zeros"
	case explain.Swapped:
		d.many = "swapped with others"
	case explain.CopiedFrom:
		d.many = "copied from others"
	case explain.PermutedAxes, explain.BlockPermuted:
		d.many = "permuted in several ways"
	case explain.Scaled:
		if d.many = "scaled by several factors"; same {
			d.many = "scaled " + all[0].detail + ", then changed in several ways"
		}
	case explain.Added:
		if d.added, d.many = "several constants were", ""; same {
			d.added, d.many = all[0].added, "which were then changed in several ways"
		}
	case explain.Sparse:
		d.many = "changed in few elements"
	case explain.LowRank:
		d.many = "changed by low rank"
	case explain.Quantized:
		d.many = "quantised"
	}
	becameOther := func(one *deed) bool { return one.became != all[0].became }
	if d.added == "" && !slices.ContainsFunc(all, becameOther) {
		d.many = all[0].became + d.many
	}
	d.least = all[0].least
	for _, one := range all {
		d.n += one.n
		d.least, d.most = min(d.least, one.least), max(d.most, one.most)
		for rank, n := range one.ranks {
			d.ranks[rank] += n
		}
	}
	if d.least < d.most {
		d.many += fmt.Sprintf(" (%d to %d)", d.least, d.most)
	}
	return d
}
