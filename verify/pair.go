package verify

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
)

// targetOf tells what a converted checkpoint was converted to: by its names where they are those of the
// family, else by its format.
func targetOf(c *tensor.Checkpoint, found *convert.Model) convert.Target {
	for _, t := range []convert.Target{convert.ToHF, convert.ToTorch, convert.ToOrbax} {
		if found != nil && found.Layout == t.Layout() {
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

// planFor returns what a conversion of the source has to be. It is told from the converted
// checkpoint whether tensors kept their dtypes or were all given one, whichever leaves fewer of
// them wrong, whether extra tensors were kept, and whether the attention window was written to match
// transformers 5.
func planFor(m *convert.Model, s convert.Settings, converted *tensor.Checkpoint, found *convert.Model) (*convert.Plan, error) {
	p := planner{m, converted, found, convert.PlanOptions{Settings: s, To: targetOf(converted, found), AllowInexact: true}}
	keep, err := p.plan()
	if err != nil {
		return nil, err
	}
	if keep.HF != nil && keep.Config.Has(convert.Attention) && writtenWindow(converted) == keep.Config.AttentionWindow+1 {
		p.options.MatchRuntime = convert.MatchTransformers5
		if keep, err = p.plan(); err != nil {
			return nil, err
		}
	}
	if p.options.DType = mostOf(converted); p.options.DType == tensor.Invalid {
		return keep, nil
	}
	one, err := p.plan()
	if err != nil {
		return nil, err
	}
	known := slices.ContainsFunc(keep.Dests, func(d moves.Dest) bool { return converted.Tensor(d.Name) != nil })
	if mistyped(one, converted) < mistyped(keep, converted) || !known { // where no name is right the types still tell
		return one, nil
	}
	return keep, nil
}

// planner makes plans of one conversion.
type planner struct {
	source    *convert.Model
	converted *tensor.Checkpoint
	found     *convert.Model // in converted, or nil
	options   convert.PlanOptions
}

func (p *planner) plan() (*convert.Plan, error) {
	plan, err := convert.NewPlan(p.source, p.options)
	if err != nil {
		return nil, err
	}
	adoptNames(plan, p.found)
	dropExtras(plan, p.converted)
	return plan, nil
}

// writtenWindow returns the attention_window_size that transformers takes from a directory's config.json, 0 if there
// is none that it could read.
func writtenWindow(converted *tensor.Checkpoint) int64 {
	fields, err := hfconfig.Fields(converted.Source, converted.Beside(hfconfig.Name))
	if err != nil {
		return 0
	}
	for _, name := range windowNames {
		if n, ok := fields[name].(json.Number); ok {
			size, _ := strconv.ParseInt(string(n), 10, 64)
			return size
		}
	}
	return 0
}

// mostOf returns the dtype, of those that convert writes, that most elements have; Invalid where there is none.
func mostOf(c *tensor.Checkpoint) tensor.DType {
	elements := map[tensor.DType]int64{}
	for _, t := range c.Tensors() {
		elements[t.DType] += t.Elements()
	}
	most := tensor.Invalid
	for _, d := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F16} {
		if elements[d] > elements[most] {
			most = d
		}
	}
	return most
}

func mistyped(p *convert.Plan, converted *tensor.Checkpoint) (n int) {
	for _, d := range p.Dests {
		if t := converted.Tensor(d.Name); t != nil && t.DType != d.DType {
			n++
		}
	}
	return n
}

// planRoots precede the model's root in the names of a plan for an original layout.
var planRoots = map[convert.Layout]string{convert.Flax: "params.", convert.Torch: ""}

// adoptNames gives the tensors of a plan for an original layout the names that the converted checkpoint
// has for them: an original is read under any wrapper. (transformers wants its names exactly.)
func adoptNames(p *convert.Plan, found *convert.Model) {
	root, original := planRoots[p.Layout]
	if !original || found == nil || found.Layout != p.Layout {
		return
	}
	names := map[string]string{}
	for _, n := range found.Named(&found.Config) {
		names[n.Name] = n.Tensor.Name
	}
	for i := range p.Dests {
		d := &p.Dests[i]
		rest := strings.TrimPrefix(d.Name, root)
		switch {
		case rest == headName && len(found.Heads) > 0:
			d.Name = found.Heads[0].Tensor.Name
		case rest == headName:
		default:
			d.Name = cmp.Or(names[rest], found.Prefix+rest)
		}
	}
}

// extraRule begins the rule of a tensor that is no parameter of the family.
const extraRule = "copy, extra"

// dropExtras takes extra tensors out of a plan where the conversion kept none of them.
func dropExtras(p *convert.Plan, converted *tensor.Checkpoint) {
	kept, extras := 0, map[int]bool{}
	for i, d := range p.Dests {
		if d.Rule == extraRule {
			extras[i] = true
			if converted.Tensor(d.Name) != nil {
				kept++
			}
		}
	}
	if len(extras) == 0 || kept > 0 {
		return
	}
	var names []string
	for _, t := range p.Source.Extra {
		names = append(names, t.Name)
	}
	first := len(p.Dests) - len(extras) // they are the last
	p.Dests = p.Dests[:first]
	p.Moves = slices.DeleteFunc(p.Moves, func(m moves.Move) bool { return m.Dest >= first })
	p.Notes = slices.DeleteFunc(p.Notes, func(note string) bool { return strings.HasPrefix(note, "kept ") })
	p.Notes = append(p.Notes, text.Count(len(names), "tensor")+" of the source that are no parameter of the family are not in the conversion: "+firstOfMany(names))
}

// firstOfMany joins the first few of many names.
func firstOfMany(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + " and " + text.Grouped(int64(len(names)-most)) + " more"
}
