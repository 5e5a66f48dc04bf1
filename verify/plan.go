package verify

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/internal/statement"
)

// planFor plans what the conversion of a model should be. found is the model in the converted checkpoint, or nil. The
// converted checkpoint shows which options the conversion had: whether tensors kept their dtypes or were all given one,
// whether extra tensors were kept, and whether the attention window was written to match transformers 5.
func planFor(source *model.Model, s model.Settings, converted *tensor.Checkpoint, found *model.Model) (*convert.Plan, error) {
	o := convert.PlanOptions{Settings: s, To: targetOf(source, converted, found), AllowInexact: true, Like: found}
	plain, err := convert.NewPlan(source, o)
	if err != nil {
		return nil, err
	}
	seen := o
	if plain.HF != nil && plain.Config.Has(model.Attention) && len(source.Family.BeyondOriginal(&plain.Config)) == 0 { // else no other window computes the same
		window, written := plain.Config.AttentionWindow, statement.Window(converted)
		if written == window+1 || written != window && statement.WasMatched(found, window) {
			seen.MatchRuntime = statement.Match(found)
		}
	}
	isKept := func(extra int) bool { return converted.Tensor(plain.Dests[extra].Name) != nil }
	seen.LeaveExtra = len(plain.Extra) > 0 && !slices.ContainsFunc(plain.Extra, isKept)
	seen.DType = commonDType(plain, converted)
	if seen == o {
		return plain, nil
	}
	p, err := convert.NewPlan(source, seen)
	if err != nil && seen.DType == tensor.F64 { // not all has a form in it
		return plain, nil
	}
	return p, err
}

// targetOf returns the target that a checkpoint was converted to: by the names of its tensors if they are those of the
// family, or all those of the source, otherwise by its format.
func targetOf(source *model.Model, c *tensor.Checkpoint, found *model.Model) convert.Target {
	isOther := func(t *tensor.Tensor) bool { return source.Checkpoint.Tensor(t.Name) == nil }
	isPart := !slices.ContainsFunc(c.Tensors(), isOther)
	for _, t := range []convert.Target{convert.ToHF, convert.ToTorch, convert.ToOrbax} {
		if found != nil && found.Layout == t.Layout() || found == nil && isPart && source.Layout == t.Layout() {
			return t
		}
	}
	switch {
	case strings.HasPrefix(c.Format, "orbax"), strings.HasPrefix(c.Format, "flax"):
		return convert.ToOrbax
	case strings.HasPrefix(c.Format, "torch"):
		return convert.ToTorch
	}
	return convert.ToHF
}

// notePart notes that the converted checkpoint is a part of the model, if all that is wrong is that tensors are missing, and why they are: most of
// them, or those that its conversion.json does not record, or that are in other files.
func notePart(r *run) error {
	v := r.verdict
	missing := v.Structure.Findings.Len()
	if v.Weights.Tensors == 0 || v.Weights.Findings.Len() > 0 || missing == 0 || slices.ContainsFunc(v.Structure.Findings.All(), func(f Finding) bool { return f.Kind != MissingTensor }) {
		return nil
	}
	recorded, lost := 0, 0
	if r.record.Record != nil {
		err := r.record.Each(func(_ manifest.Span, t *manifest.Tensor) error {
			recorded++
			if r.converted.Tensor(strings.TrimPrefix(t.Name, removedPrefix(r.convertedModel))) == nil {
				lost++
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	why := ""
	switch {
	case formats.IsShard(path.Base(r.converted.Root)):
		why = ", those of one of its files"
	case recorded > 0 && lost == 0:
		why = fmt.Sprintf(", which are all that %s records", filepath.Base(r.record.path))
	case 2*missing <= len(r.plan.Dests):
		return nil
	}
	v.Part = fmt.Sprintf("a part of the source: %d of %s%s", len(r.plan.Dests)-missing, text.Count(len(r.plan.Dests), "tensor"), why)
	v.Notes = append(v.Notes, "the conversion is "+v.Part)
	return nil
}

// commonDType returns the dtype that all tensors seem to have been given, or Invalid if they seem to have kept theirs,
// whichever leaves fewer of them wrong. plain is the plan that keeps them.
func commonDType(plain *convert.Plan, converted *tensor.Checkpoint) tensor.DType {
	most := mostFrequent(converted)
	if most == tensor.Invalid {
		return most
	}
	kept, given, known := 0, 0, false // tensors with another dtype than expected
	for i, d := range plain.Dests {
		t := converted.Tensor(d.Name)
		if t == nil {
			continue
		}
		known = true
		if t.DType != d.DType {
			kept++
		}
		if t.DType != most && !slices.Contains(plain.Extra, i) || t.DType != d.DType && slices.Contains(plain.Extra, i) {
			given++
		}
	}
	if given < kept || !known { // even if no name is right, the dtypes tell
		return most
	}
	return tensor.Invalid
}

// mostFrequent returns the dtype that most elements have, of those of weights; Invalid if none has one.
func mostFrequent(c *tensor.Checkpoint) tensor.DType {
	elements := map[tensor.DType]int64{}
	for _, t := range c.Tensors() {
		elements[t.DType] += t.Elements()
	}
	most := tensor.Invalid
	for _, d := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F16, tensor.F64} {
		if elements[d] > elements[most] {
			most = d
		}
	}
	return most
}

// leftOut returns the names of the extra tensors of the source that are not in the conversion.
func leftOut(p *convert.Plan) (names []string) {
	if len(p.Extra) > 0 {
		return nil
	}
	for _, t := range p.Source.Extra {
		names = append(names, t.Name)
	}
	return names
}

// leftOutNotes say which tensors of the source are not in the conversion: those that leftOut returns, and what is beside the model. Tensors of several
// layers are named together.
func leftOutNotes(p *convert.Plan) (notes []string) {
	add := func(names []string, one, many string) {
		if len(names) == 0 {
			return
		}
		notes = append(notes, text.Agree(len(names), "tensor", one, many)+" not in the conversion: "+inLayers(names, p))
	}
	add(leftOut(p), "of the source is no parameter of the family, and is", "of the source are no parameters of the family, and are")
	var beside []string
	for _, t := range p.Left {
		beside = append(beside, t.Name)
	}
	add(beside, "of the source does not belong to the model, and is", "of the source do not belong to the model, and are")
	return notes
}

// inLayers names tensors of the source of a plan, those of several layers together.
func inLayers(names []string, p *convert.Plan) string {
	const most = 20_000 // more than a model has; others would take much memory
	if len(names) > most {
		return tensor.JoinNames(names)
	}
	left := len(names)
	converted := map[string]bool{}
	for i := range p.Moves {
		if name := p.Moves[i].Source.Name; !converted[name] { // the other tensors of the layers
			converted[name] = true
			names = append(names, name)
		}
	}
	items := &diff.Items{Len: len(names), Name: func(i int) string { return names[i] }, BlockTypes: kindNames(p.Config.BlockTypes),
		What: func(i int) (diff.Status, string, bool) { return diff.OnlyA, "", i < left }}
	return items.Words()
}
