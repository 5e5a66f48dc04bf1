package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
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
		phrases = append(phrases, whatIsConfigured(r.Config)...)
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

// whatIsConfigured says how the configurations differ: that only one side has a config.json, and in which fields.
func whatIsConfigured(all []diff.ConfigDifference) (phrases []string) {
	var fields []diff.ConfigDifference
	for _, c := range all {
		if only := c.OnlyFile(); only != "" {
			phrases = append(phrases, only)
		} else {
			fields = append(fields, c)
		}
	}
	if fields != nil {
		phrases = append(phrases, whichFields(fields))
	}
	return phrases
}

// whichFields says in which fields the configurations differ: the only one with its values, a few by their names with short values, or how many
// they are.
func whichFields(fields []diff.ConfigDifference) string {
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

// whatIsAlone says what only one side has: whole layers by their numbers, if they are of few lists, and other tensors by how many they are.
func whatIsAlone(r *diff.Result) []string {
	const few = 3
	var phrases []string
	groups := r.Groups()
	for _, x := range []struct {
		status diff.Status
		n      int
		side   string
	}{{diff.OnlyA, r.Summary.OnlyA, "A"}, {diff.OnlyB, r.Summary.OnlyB, "B"}} {
		var layers []string
		all, several, change := x.n, false, ""
		for i := range groups {
			if g := &groups[i]; g.Status == x.status && g.Every {
				layers = append(layers, r.LayersOf(g)+" of "+g.List)
				several = several || len(g.Layers) > 1
				x.n -= len(g.Tensors)
				change = g.Change
			}
		}
		if len(layers) > few {
			layers, x.n = nil, all
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

// whatIsExplained counts tensors by what was done to them, the most frequent first.
func whatIsExplained(r *diff.Result) []string {
	byWords := map[deedKind]map[string]*deed{}
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
		one := deedOf(t)
		kind, words := deedKind{t.Explanation.Kind, len(one.moves) > 0}, one.added+one.words
		if byWords[kind] == nil {
			byWords[kind] = map[string]*deed{}
		}
		if d := byWords[kind][words]; d != nil {
			d.add(one)
		} else {
			byWords[kind][words] = one
		}
	}
	var phrases []string
	for _, d := range fewDeeds(byWords) {
		phrases = append(phrases, d.phrase())
	}
	shapes, dtypes = fewWords(shapes, ""), fewWords(dtypes, "became another dtype")
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

// fewWords returns how many tensors some words are said of, or with very many words how many all of them are, of which others are said.
func fewWords(counts map[string]int, others string) map[string]int {
	const few = 3
	if len(counts) <= few {
		return counts
	}
	n := 0
	for _, k := range counts {
		n += k
	}
	return map[string]int{others: n}
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
