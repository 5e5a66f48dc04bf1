package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// WhatWasDone says in a sentence what was done to A to get B, first what is known: "13 matrices changed by rank 2; 5 other tensors have
// other values." It is "" if nothing was, or if that is only how many tensors have other values.
func WhatWasDone(r *diff.Result) string {
	s := &r.Summary
	phrases := whatIsExplained(r)
	moved := whatMoved(r, len(phrases) == 0)
	if moved != "" {
		phrases = append(phrases, moved)
	}
	phrases = append(phrases, whatIsNotFinite(r, len(phrases) > 0)...)
	phrases = append(phrases, whatIsAlone(r)...)
	if len(phrases) == 1 && moved == otherValues(s.Differ, "tensor") {
		return ""
	}
	if len(r.Config) > 0 {
		phrases = append(phrases, whatIsConfigured(r.Config))
	}
	if s.OnlyA+s.OnlyB > 0 && s.Equal > 0 && s.OnlyA+s.OnlyB+s.Equal-s.Renamed == s.Tensors {
		phrases = append(phrases, "the other "+text.CountAre(int64(s.Equal), "tensor")+strings.TrimRight(" equal "+r.Within(), " "))
	}
	if len(phrases) == 0 {
		return ""
	}
	sentence := strings.Join(phrases, "; ") + "."
	return strings.ToUpper(sentence[:1]) + sentence[1:]
}

// whatIsConfigured says in which fields the configurations differ: the only one with its values, a few by their names with short values, or how
// many they are.
func whatIsConfigured(fields []diff.ConfigDifference) string {
	const (
		few       = 3
		maxLength = 40 // of a value: the types of all blocks are too long for a sentence
		maxShort  = 12 // of a value beside others
	)
	var names []string
	for _, c := range fields {
		name := text.Printable(c.Field)
		if a, b := text.Printable(c.A), text.Printable(c.B); len(fields) > 1 && a != "" && b != "" && max(len(a), len(b)) <= maxShort {
			name += fmt.Sprintf(" (%s, %s)", a, b)
		}
		names = append(names, name)
	}
	switch c := &fields[0]; {
	case len(fields) > few:
		return text.Agree(int64(len(fields)), "config field", "differs", "differ")
	case len(fields) > 1:
		last := len(names) - 1
		return "config fields " + strings.Join(names[:last], ", ") + " and " + names[last] + " differ"
	case c.A == "":
		return "config field " + names[0] + " is only in B"
	case c.B == "":
		return "config field " + names[0] + " is only in A"
	case len(c.A) > maxLength || len(c.B) > maxLength:
		return "config field " + names[0] + " differs"
	default:
		return fmt.Sprintf("config field %s is %s in A and %s in B", names[0], text.Printable(c.A), text.Printable(c.B))
	}
}

// whatIsAlone says what only one side has: whole layers by their numbers, and other tensors by how many they are.
func whatIsAlone(r *diff.Result) []string {
	var phrases []string
	groups := r.Groups()
	for _, x := range []struct {
		status diff.Status
		n      int
		side   string
	}{{diff.OnlyA, r.Summary.OnlyA, "A"}, {diff.OnlyB, r.Summary.OnlyB, "B"}} {
		var layers []string
		several, change := false, ""
		for i := range groups {
			if g := &groups[i]; g.Status == x.status && g.Every {
				layers = append(layers, r.LayersOf(g)+" of "+g.List)
				several = several || len(g.Layers) > 1
				x.n -= len(g.Tensors)
				change = g.Change
			}
		}
		if len(layers) == 1 {
			layers[0], _, _ = strings.Cut(layers[0], " of ")
			if change != "" && x.n == 0 {
				layers[0] += ", " + change + ","
			}
		}
		switch {
		case len(layers) == 0 && x.n > 0:
			layers = append(layers, text.CountAre(int64(x.n), "tensor"))
		case len(layers) == 1 && x.n == 0 && !several:
			layers[0] += " is"
		case len(layers) > 0 && x.n > 0:
			layers = []string{strings.Join(layers, ", ") + " and " + text.Count(int64(x.n), "other tensor") + " are"}
		case len(layers) > 0:
			layers[len(layers)-1] += " are"
		}
		if len(layers) > 0 {
			phrases = append(phrases, strings.Join(layers, ", ")+" only in "+x.side)
		}
	}
	return phrases
}

func otherValues(tensors int, noun string) string {
	return text.Agree(int64(tensors), noun, "has", "have") + " other values"
}

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

// whatIsExplained counts tensors by what was done to them, the most frequent first.
func whatIsExplained(r *diff.Result) []string {
	byWords := map[explain.Kind]map[string]*deed{}
	dtypes, shapes, renamed := map[string]int{}, map[string]int{}, map[string]int{}
	for i := range r.Tensors {
		t := &r.Tensors[i]
		switch {
		case t.Renamed:
			renamed[t.Change()]++
			continue
		case t.Status == diff.DType && (t.Metrics == nil || t.Metrics.Differing == 0):
			dtypes[becameWords(t)]++
			continue
		case t.Status == diff.Shape && !t.Explained():
			shapes[becameWords(t)]++
			continue
		case t.Status == diff.Equal || !t.Explained():
			continue
		}
		kind, one := t.Explanation.Kind, deedOf(t)
		if byWords[kind] == nil {
			byWords[kind] = map[string]*deed{}
		}
		d := byWords[kind][one.added+one.words]
		if d == nil {
			d = one
			byWords[kind][one.added+one.words] = d
		}
		d.n++
		d.ranks[len(t.Shape)]++
		if kind == explain.Sparse {
			d.few, d.of = d.few+t.Explanation.Changed, d.of+t.Elements
		}
	}
	var phrases []string
	for _, d := range fewDeeds(byWords) {
		phrases = append(phrases, d.phrase())
	}
	for _, became := range slices.Sorted(maps.Keys(shapes)) {
		words := text.Agree(int64(shapes[became]), "tensor", "has another shape", "have other shapes")
		if became != "" {
			words += " and " + became
		}
		phrases = append(phrases, words)
	}
	for _, became := range slices.Sorted(maps.Keys(dtypes)) {
		phrases = append(phrases, text.Count(int64(dtypes[became]), "tensor")+" "+became)
	}
	return append(phrases, whatIsRenamed(renamed)...)
}

// becameWords says of which dtype a tensor is in B, if it is another: "became bfloat16 instead of float32".
func becameWords(t *diff.TensorDiff) string {
	if t.DTypeB == "" {
		return ""
	}
	return fmt.Sprintf("became %s instead of %s", t.DTypeB, t.DType)
}

// whatIsRenamed says what was renamed: parts of names that many tensors have, or how many tensors were. renamed counts tensors by
// the words of TensorDiff.Change.
func whatIsRenamed(renamed map[string]int) []string {
	const few = 3
	n, parts := 0, []string(nil)
	for _, change := range slices.Sorted(maps.Keys(renamed)) {
		n += renamed[change]
		if !strings.HasPrefix(change, "renamed ") && !strings.HasPrefix(change, "moved ") {
			was := strings.Replace(text.Printable(change), " renamed to ", " was renamed to ", 1)
			parts = append(parts, fmt.Sprintf("in %s, %s", text.Count(int64(renamed[change]), "tensor"), was))
		}
	}
	if n > 0 && (len(parts) < len(renamed) || len(parts) > few) {
		return []string{text.Agree(int64(n), "tensor", "was", "were") + " renamed"}
	}
	return parts
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

// counted says how many tensors are equal and how many are not.
func counted(r *diff.Result) string {
	s := &r.Summary
	equal := ""
	if allowed := r.Allowed(); allowed != "" {
		equal = " " + allowed
	}
	var parts []part
	for _, p := range []part{{s.Differ, "has other values", "have other values"}, {s.Changed, "has another dtype and other values", "have another dtype and other values"}, {s.DType - s.Changed, "has another dtype", "have another dtype"}, {s.Shape, "has another shape", "have another shape"},
		{s.OnlyA, "is only in A", "are only in A"}, {s.OnlyB, "is only in B", "are only in B"}, {s.Renamed, "was renamed", "were renamed"}, {s.Equal - s.Renamed, "is equal" + equal, "are equal" + equal}} {
		if p.n > 0 {
			parts = append(parts, p)
		}
	}
	line := ofAll(r, parts)
	for _, words := range []string{r.NotAllowed(), r.QuantizedCopy()} {
		if words != "" {
			line += " " + strings.ToUpper(words[:1]) + words[1:] + "."
		}
	}
	return line
}

// part is how many of the tensors are something, and the words for one and for several.
type part struct {
	n         int
	one, many string
}

func (p *part) words() string { return map[bool]string{true: p.one, false: p.many}[p.n == 1] }

// ofAll says of all tensors what they are, or how many of them are what.
func ofAll(r *diff.Result, parts []part) string {
	tensors := cmp.Or(r.Selection(), text.Count(int64(r.Summary.Tensors), "tensor"))
	switch {
	case len(parts) == 1 && len(r.Only) > 0:
		return fmt.Sprintf("All of %s %s.", tensors, parts[0].words())
	case len(parts) == 1 && r.Summary.Tensors == 1:
		return "The only tensor " + parts[0].words() + "."
	case len(parts) == 1:
		return fmt.Sprintf("All %s %s.", tensors, parts[0].words())
	}
	var all []string
	for _, p := range parts {
		all = append(all, text.Grouped(int64(p.n))+" "+p.words())
	}
	return fmt.Sprintf("Of %s, %s.", tensors, strings.Join(all, ", "))
}
