package verify

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
)

// targetOf tells what a converted checkpoint was converted to: by its names where they are those of the
// family, else by its format.
func targetOf(c *tensor.Checkpoint, found *model.Model) convert.Target {
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
func planFor(m *model.Model, s model.Settings, converted *tensor.Checkpoint, found *model.Model) (*convert.Plan, error) {
	p := planner{m, converted, convert.PlanOptions{Settings: s, To: targetOf(converted, found), AllowInexact: true, Like: found}}
	keep, err := p.plan()
	if err != nil {
		return nil, err
	}
	if keep.HF != nil && keep.Config.Has(model.Attention) && writtenWindow(converted) == keep.Config.AttentionWindow+1 {
		p.options.MatchRuntime = convert.Transformers5
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
	source    *model.Model
	converted *tensor.Checkpoint
	options   convert.PlanOptions
}

func (p *planner) plan() (*convert.Plan, error) {
	plan, err := convert.NewPlan(p.source, p.options)
	if err != nil || len(plan.Extra) == 0 {
		return plan, err
	}
	kept := slices.ContainsFunc(plan.Extra, func(i int) bool { return p.converted.Tensor(plan.Dests[i].Name) != nil })
	if kept {
		return plan, nil
	}
	o := p.options
	o.LeaveExtra = true
	return convert.NewPlan(p.source, o)
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

// firstOfMany joins the first few of many names.
func firstOfMany(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + " and " + text.Grouped(int64(len(names)-most)) + " more"
}
