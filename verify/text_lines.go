package verify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
)

// expectedLayers returns the tensors of a plan as equal ones of a result, which names layers by their kinds: "recurrent layers (18)".
func expectedLayers(p *convert.Plan) *diff.Result {
	r := &diff.Result{}
	for _, kind := range p.Config.BlockTypes {
		r.A.BlockTypes = append(r.A.BlockTypes, string(kind))
	}
	for i := range p.Dests {
		r.Tensors = append(r.Tensors, diff.TensorDiff{Name: p.Dests[i].Name, Status: diff.Equal})
	}
	return r
}

// FindingGroup is findings that say the same of tensors in several layers, or of several tensors of a layer.
type FindingGroup struct {
	Where    []string // the tensors, in lines of limited length, or the field: "recurrent layers (18) of model.layers: temporal_block.conv_1d.bias"
	Findings []int    // indexes, ascending
	said     bool     // the summary of the section says what they do
}

// GroupFindings groups findings, in their order.
func (v *Verdict) GroupFindings(findings []Finding) []FindingGroup {
	r := &diff.Result{}
	wrong, layers := map[string]bool{}, false
	moved := FindingGroup{Where: []string{v.renaming.words()}, said: true}
	for i := range findings {
		f := &findings[i]
		wrong[f.Tensor] = true
		name := f.Tensor
		if _, layer, _ := diff.SplitLayer(name); layer < 0 || f.Field != "" {
			name = fmt.Sprintf("\x00%d", i) // a group of its own
		} else {
			layers = true
		}
		status := diff.Status(f.sameness())
		if v.renaming.says(f) {
			moved.Findings, status = append(moved.Findings, i), diff.Equal // no group but this
		}
		r.Tensors = append(r.Tensors, diff.TensorDiff{Name: name, Status: status})
	}
	if v.expected != nil && layers {
		expected := v.expected()
		r.A = expected.A
		for i := range expected.Tensors {
			if t := expected.Tensors[i]; !wrong[t.Name] {
				r.Tensors = append(r.Tensors, t)
			}
		}
	}
	var out []FindingGroup
	if moved.Findings != nil {
		out = append(out, moved)
	}
	for _, g := range r.Groups() {
		f := &findings[g.Tensors[0]]
		where := []string{cmp.Or(f.Field, f.Tensor)}
		if len(g.Tensors) > 1 {
			where = r.Where(&g)
		}
		out = append(out, FindingGroup{Where: where, Findings: g.Tensors})
	}
	return out
}

// lines describes findings, and says how many they are without those that the summary of the section describes. A group is one line, which
// may be broken.
func (v *Verdict) lines(findings []Finding) (n int, out []string) {
	for _, g := range v.GroupFindings(findings) {
		if g.said {
			continue
		}
		n += len(g.Findings)
		first := &findings[g.Findings[0]]
		if len(g.Findings) == 1 {
			out = append(out, text.Printable(first.String()))
			continue
		}
		var differing, elements int64
		for _, i := range g.Findings {
			differing, elements = differing+findings[i].Differing, elements+findings[i].Elements
		}
		line := ": " + text.Count(len(g.Findings), "tensor")
		switch {
		case first.Kind == MissingTensor:
			line += " missing" + common(findings, g.Findings, func(f *Finding) string { return f.Want })
		case first.Kind == RenamedTensor:
			line += ", " + diff.RenamedWords(first.Tensor, first.Got)
		case first.Kind == ExtraTensor:
			line += " that the model does not have" + common(findings, g.Findings, func(f *Finding) string { return f.Got })
		case differing == 0:
			line += fmt.Sprintf(", %s instead of %s", first.Got, first.Want)
		default:
			line += fmt.Sprintf(", %s of %s elements differ", text.Grouped(differing), text.Grouped(elements))
		}
		if detail := first.withoutLayer(first.Detail); detail != "" {
			line += "; " + detail
		}
		where := slices.Clone(g.Where)
		for i := range where {
			where[i] = text.Printable(where[i])
		}
		if len(where) > 1 {
			where[len(where)-1] += ":"
			where, line = append(where, ""), strings.TrimPrefix(line, ": ")
		}
		out = append(out, strings.Join(where, "\n      ")+text.Printable(line))
	}
	return n, out
}

// common returns ", " and what all of some findings have, "" if they do not have the same.
func common(findings []Finding, indexes []int, of func(*Finding) string) string {
	first := of(&findings[indexes[0]])
	for _, i := range indexes {
		if of(&findings[i]) != first {
			return ""
		}
	}
	return ", " + first
}

// sameness is equal for findings that say the same of their tensors.
func (f *Finding) sameness() string {
	parts := []string{string(f.Kind), f.withoutLayer(f.Detail)}
	if f.Kind == RenamedTensor {
		return parts[0] + diff.RenamedWords(f.Tensor, f.Got)
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
	return s
}

// fold shortens a list of names of tensors: those that have the same beginning become one, "model.layers.6.*".
func fold(names []string) []string {
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
		switch all := members[prefix]; {
		case len(all) == 1:
			out = append(out, all[0])
		default:
			out = append(out, commonStart(all)+"*")
		}
	}
	return out
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
