package verify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// FindingGroup is findings that say the same of tensors in several layers, or of several tensors of a layer.
type FindingGroup struct {
	Findings []int // indexes, ascending
	layers   *layerGroup
	renaming *renaming
	said     string // what the summary of the section says of them, "" for nothing
}

// layerGroup is a group of tensors in layers.
type layerGroup struct {
	items *diff.Items
	group diff.Group
}

// Described reports whether the summary of the section says what the findings of the group do.
func (g *FindingGroup) Described() bool { return g.said != "" }

// Where names the tensors of a group of some findings, in lines of limited length, or the field: "recurrent layers (18) of model.layers:
// temporal_block.conv_1d.bias".
func (g *FindingGroup) Where(of strictjson.List[Finding]) []string {
	switch {
	case g.said != "":
		return []string{g.said}
	case len(g.Findings) > 1:
		return g.layers.items.Where(&g.layers.group)
	}
	f := of.At(g.Findings[0])
	return []string{cmp.Or(f.Field, f.Tensor)}
}

// Change says what was done to the tensors of a group of some findings: "temporal_block renamed to tb". It is "" unless they were renamed, or
// if Where says it.
func (g *FindingGroup) Change(of strictjson.List[Finding]) string {
	if f := of.At(g.Findings[0]); f.Kind == RenamedTensor && g.said == "" {
		return g.renaming.change(&f)
	}
	return ""
}

// GroupFindings groups findings, in their order.
func (v *Verdict) GroupFindings(findings strictjson.List[Finding]) []FindingGroup {
	inLayers := []int{}
	var out []FindingGroup
	var names []string
	var whats []diff.Status
	shared := map[string]diff.Status{} // there are few texts for very many findings
	alone := make([]int, findings.Len())
	moved := FindingGroup{said: v.renaming.words()}
	for i := range alone {
		f := findings.At(i)
		if _, layer, _ := diff.SplitLayer(f.Tensor); layer < 0 {
			alone[i] = i
			out = append(out, FindingGroup{Findings: alone[i : i+1 : i+1]})
			continue
		}
		what := f.sameness(v.renaming)
		if v.renaming.says(&f) {
			moved.Findings, what = append(moved.Findings, i), inNoGroup
		}
		if _, known := shared[what]; !known {
			shared[what] = diff.Status(what)
		}
		inLayers, names, whats = append(inLayers, i), append(names, f.Tensor), append(whats, shared[what])
	}
	if len(inLayers) == 0 {
		return out
	}
	n := len(names)
	items := &diff.Items{Len: n, What: func(i int) (diff.Status, string, bool) {
		if i >= n || whats[i] == inNoGroup {
			return "", "", false
		}
		return whats[i], "", true
	}}
	if v.expected != nil { // the other tensors of the layers, and their kinds
		var r *renaming
		if f := findings.At(inLayers[0]); f.Kind == WrongWeights {
			r = v.renaming // they have the names of the converted checkpoint
		}
		names = append(names, v.expected.without(names, r)...)
		items.Len, items.BlockTypes = len(names), v.expected.kinds(r)
	}
	items.Name = func(i int) string { return names[i] }
	for _, g := range items.Groups() {
		group := FindingGroup{Findings: g.Tensors, renaming: v.renaming}
		for k, i := range g.Tensors {
			g.Tensors[k] = inLayers[i]
		}
		if len(g.Tensors) > 1 {
			group.layers = &layerGroup{items, g}
		}
		out = append(out, group)
	}
	slices.SortStableFunc(out, func(a, b FindingGroup) int { return cmp.Compare(a.Findings[0], b.Findings[0]) })
	if moved.Findings != nil {
		out = slices.Insert(out, 0, moved)
	}
	return out
}

// inNoGroup is the status of findings that the summary of their section describes.
const inNoGroup = ""

// expectedTensors are the tensors that a converted checkpoint should have. Groups of findings name layers by them.
type expectedTensors struct{ plan *convert.Plan }

// kindNames returns the names of kinds of blocks.
func kindNames(blocks []model.BlockType) (names []string) {
	for _, kind := range blocks {
		names = append(names, string(kind))
	}
	return names
}

// kinds returns the kinds of the layers, by the numbers that they have after a renaming: "" if there is none of a number.
func (e *expectedTensors) kinds(r *renaming) []string {
	kinds := kindNames(e.plan.Config.BlockTypes)
	if r == nil || r.layers == nil {
		return kinds
	}
	moved := make([]string, r.layers.B[len(r.layers.B)-1]+1)
	for k, n := range r.layers.B {
		if from := r.layers.A[k]; from < len(kinds) {
			moved[n] = kinds[from]
		}
	}
	return moved
}

// without returns the names of the tensors that are not among some, as they are after a renaming.
func (e *expectedTensors) without(names []string, r *renaming) []string {
	listed := make([]bool, len(e.plan.Dests))
	find := e.plan.Finder()
	if r != nil {
		renamed := map[string]int{}
		for i := range e.plan.Dests {
			renamed[r.name(e.plan.Dests[i].Name)] = i + 1
		}
		find = func(name string) int { return renamed[name] - 1 }
	}
	for _, name := range names {
		if i := find(name); i >= 0 {
			listed[i] = true
		}
	}
	var rest []string
	for i := range listed {
		if name := r.name(e.plan.Dests[i].Name); !listed[i] && name != "" {
			rest = append(rest, name)
		}
	}
	return rest
}

// lines describes the first groups of findings, at most so many, and returns how many groups and findings there are, without those that
// the summary of the section describes. A group is one line, which may be broken.
func (v *Verdict) lines(findings strictjson.List[Finding], most int) (lines []string, groups, n int) {
	all := slices.DeleteFunc(v.GroupFindings(findings), func(g FindingGroup) bool { return g.said != "" })
	for k := range all {
		n += len(all[k].Findings)
		if k < most {
			lines = append(lines, all[k].line(findings))
		}
	}
	return lines, len(all), n
}

// line describes a group of some findings.
func (g *FindingGroup) line(findings strictjson.List[Finding]) string {
	first := findings.At(g.Findings[0])
	if len(g.Findings) == 1 {
		return text.Printable(first.String())
	}
	differing, elements := g.Count(findings)
	line := ": " + text.Count(len(g.Findings), "tensor")
	switch {
	case first.Kind == MissingTensor && g.layers.group.Every:
		layers := g.layers.items.LayersOf(&g.layers.group) + " of " + g.layers.group.List
		return text.Printable(fmt.Sprintf("%s %s missing (%s)", layers, map[bool]string{true: "is", false: "are"}[len(g.layers.group.Layers) == 1], text.Count(len(g.Findings), "tensor")))
	case first.Kind == MissingTensor:
		line += " missing" + g.common(findings, func(f *Finding) string { return f.Want })
	case first.Kind == RenamedTensor:
		line += ", " + g.renaming.change(&first)
	case first.Kind == ExtraTensor:
		line += " that the model does not have" + g.common(findings, func(f *Finding) string { return f.Got })
	case differing == 0:
		line += fmt.Sprintf(", %s instead of %s", first.Got, first.Want)
	default:
		line += ", " + elementsDiffer(differing, elements)
	}
	if detail := g.detail(findings); detail != "" {
		line += "; " + detail
	}
	where := g.Where(findings)
	for i := range where {
		where[i] = text.Printable(where[i])
	}
	if len(where) > 1 {
		where[len(where)-1] += ":"
		where, line = append(where, ""), strings.TrimPrefix(line, ": ")
	}
	return strings.Join(where, "\n      ") + text.Printable(line)
}

// detail returns what all findings of a group say of their tensors, with what is not finite in all of them.
func (g *FindingGroup) detail(findings strictjson.List[Finding]) string {
	first := findings.At(g.Findings[0])
	n := stats.NotFinite{}
	for _, i := range g.Findings {
		switch f := findings.At(i); {
		case f.notFinite.NaN == uncountedNaN || n.NaN == uncountedNaN:
			n.NaN = uncountedNaN
		default:
			n.NaN, n.Inf = n.NaN+f.notFinite.NaN, n.Inf+f.notFinite.Inf
		}
	}
	return strings.Trim(first.withoutLayer(first.uncounted())+"; "+sayNotFinite(n), "; ")
}

// Count returns how many elements of the tensors of a group of some findings differ, and how many there are.
func (g *FindingGroup) Count(of strictjson.List[Finding]) (differing, elements int64) {
	for _, i := range g.Findings {
		f := of.At(i)
		differing, elements = differing+f.Differing, elements+f.Elements
	}
	return differing, elements
}

// common returns ", " and what all findings of a group have, "" if they do not have the same.
func (g *FindingGroup) common(findings strictjson.List[Finding], of func(*Finding) string) string {
	first := findings.At(g.Findings[0])
	for _, i := range g.Findings {
		if f := findings.At(i); of(&f) != of(&first) {
			return ""
		}
	}
	return ", " + of(&first)
}

// sameness is equal for findings that say the same of their tensors. r is the renaming of the verdict.
func (f *Finding) sameness(r *renaming) string {
	parts := []string{string(f.Kind), f.withoutLayer(f.uncounted()), fmt.Sprint(f.notFinite.NaN != 0, f.notFinite.NaN == 0 && f.notFinite.Inf > 0)}
	if f.Kind == RenamedTensor {
		return parts[0] + r.change(f)
	}
	if f.Differing == 0 && f.Kind != MissingTensor && f.Kind != ExtraTensor {
		parts = append(parts, f.Want, f.Got)
	}
	return strings.Join(parts, "\x00")
}

// withoutLayer leaves the layer of the finding's own tensor, and that of its counterpart, out of names in a text.
func (f *Finding) withoutLayer(s string) string {
	for _, name := range append([]string{f.Tensor}, strings.Split(f.SourceName, " + ")...) {
		if list, layer, _ := diff.SplitLayer(name); layer >= 0 {
			s = strings.ReplaceAll(s, fmt.Sprintf("%s.%d.", list, layer), "")
		}
	}
	words := strings.Split(s, " ")
	for i := len(words) - 1; i > 0; i-- { // a name that both checkpoints have for it is said once: "gate (gate)"
		if rest, twice := strings.CutPrefix(words[i], "("+words[i-1]+")"); twice {
			words[i-1] += rest
			words = slices.Delete(words, i, i+1)
		}
	}
	return strings.Join(words, " ")
}

// layerNames are the names of the tensors of each layer, by what they begin with: "model.layers.6.".
type layerNames map[string][]string

func layersOf(tensors []*tensor.Tensor) layerNames {
	names := layerNames{}
	for _, t := range tensors {
		if list, layer, _ := diff.SplitLayer(t.Name); layer >= 0 {
			prefix := fmt.Sprintf("%s.%d.", list, layer)
			names[prefix] = append(names[prefix], t.Name)
		}
	}
	return names
}

// fold shortens a list of names of tensors: those that have the same beginning become one, "model.layers.6.*", unless others of the layer begin so,
// and those that several layers have, "model.layers.{0-5}.*". blocks are the kinds of the model's blocks, nil if they do not matter, and layers the
// names in its layers, where they are known.
func fold(names []string, blocks []model.BlockType, layers layerNames) []string {
	if len(names) < 2 {
		return names
	}
	var prefixes []string
	members := map[string][]string{}
	for _, name := range names {
		prefix := name
		if list, layer, _ := diff.SplitLayer(name); layer >= 0 {
			prefix = fmt.Sprintf("%s.%d.", list, layer)
		}
		if members[prefix] == nil {
			prefixes = append(prefixes, prefix)
		}
		members[prefix] = append(members[prefix], name)
	}
	var out []string
	for _, prefix := range prefixes {
		all := members[prefix]
		others := slices.DeleteFunc(slices.Clone(layers[prefix]), func(name string) bool { return slices.Contains(all, name) })
		out = append(out, foldApart(all, others)...)
	}
	return foldLayers(out, blocks)
}

// foldApart makes one of names that begin alike, and several if others begin so too.
func foldApart(names, others []string) []string {
	start := commonStart(names)
	switch isOther := func(name string) bool { return strings.HasPrefix(name, start) }; {
	case len(names) == 1:
		return names
	case !slices.ContainsFunc(others, isOther):
		return []string{start + "*"}
	}
	var out []string
	for len(names) > 0 {
		segment, _, inner := strings.Cut(names[0][len(start):], ".")
		if !inner {
			out, names = append(out, names[0]), names[1:]
			continue
		}
		var same, rest []string
		for _, name := range names {
			if strings.HasPrefix(name, start+segment+".") {
				same = append(same, name)
			} else {
				rest = append(rest, name)
			}
		}
		out, names = append(out, foldApart(same, others)...), rest
	}
	return out
}

// foldLayers makes one of the names that three or more layers have, where the first of them is: "model.layers.{0-3,5}.mlp_block.*", or if these
// are all of a kind, and many, "mlp_block.* of the recurrent layers".
func foldLayers(names []string, blocks []model.BlockType) []string {
	type place struct{ list, rest string }
	layers := map[place][]int{}
	for _, name := range names {
		list, layer, rest := diff.SplitLayer(name)
		layers[place{list, rest}] = append(layers[place{list, rest}], layer)
	}
	var out []string
	for _, name := range names {
		list, layer, rest := diff.SplitLayer(name)
		switch all := layers[place{list, rest}]; {
		case layer < 0 || len(all) < 3:
			out = append(out, name)
		case layer == all[0]:
			numbers := slices.Compact(slices.Sorted(slices.Values(all)))
			folded := list + ".{" + strings.Join(diff.Ranges(numbers), ",") + "}." + rest
			if kind := kindOf(numbers, blocks); kind != "" {
				if folded = "the " + kind + " layers"; rest != "*" {
					folded = rest + " of " + folded
				}
			}
			out = append(out, folded)
		}
	}
	return out
}

// kindOf returns the kind of ascending layers if they are all of that kind and a list of their numbers would be long, otherwise "".
func kindOf(layers []int, blocks []model.BlockType) string {
	const short = 3
	if len(diff.Ranges(layers)) <= short || layers[0] >= len(blocks) {
		return ""
	}
	var of []int
	for i, kind := range blocks {
		if kind == blocks[layers[0]] {
			of = append(of, i)
		}
	}
	if !slices.Equal(of, layers) {
		return ""
	}
	return string(blocks[layers[0]])
}

// commonStart returns the segments with which all names begin, with the dot behind them.
func commonStart(names []string) string {
	start := names[0]
	for _, name := range names[1:] {
		for !strings.HasPrefix(name, start) {
			start = start[:strings.LastIndexByte(strings.TrimSuffix(start, "."), '.')+1]
		}
	}
	return start[:strings.LastIndexByte(start, '.')+1]
}
