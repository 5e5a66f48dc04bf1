package convert

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// destRoots precede the model's root in the names of a destination, as the implementation that reads
// it has them.
var destRoots = [layoutCount]string{Flax: "params.", HuggingFace: "model."}

// PlanOptions choose what a plan makes of a model.
type PlanOptions struct {
	Settings                  // what shapes cannot tell
	To           Target       // ToHF, ToTorch or ToOrbax
	DType        tensor.DType // of all tensors; Invalid keeps each one's own
	MatchRuntime string       // ToHF: MatchTransformers5 or ""
	AllowInexact bool         // plan a model that the destination cannot express exactly
}

// NewPlan plans the conversion of a model to another layout, or to its own. It reads no weights;
// SettleHead and SettleScale have to be called before it where there are output heads.
//
// Settings are asked for only where the destination states them, which is the Hugging Face layout,
// and the source does not. Tensors that are missing, unexpected, misshapen or mistyped are a
// *PlanError that lists them all, settings that nothing tells a *SettingsError, and a model that the
// destination cannot express a *tensor.FormatError.
func NewPlan(m *Model, o PlanOptions) (*Plan, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if problems := m.check(); !problems.empty() {
		return nil, problems
	}
	p := &Plan{Source: m, Layout: o.To.Layout(), Config: m.Config, Keep: o.DType == tensor.Invalid, Left: m.Rest}
	if err := p.settle(o.Settings); err != nil {
		return nil, err
	}
	if err := p.settleHead(); err != nil {
		return nil, err
	}
	if p.Layout == HuggingFace {
		if err := p.express(o); err != nil {
			return nil, err
		}
	}
	if err := p.fill(o.DType); err != nil {
		return nil, err
	}
	p.noteAdapter()
	p.chooseDType()
	if p.Layout == HuggingFace {
		if err := p.checkExpressed(o.AllowInexact); err != nil {
			return nil, err
		}
		p.annotate()
	}
	return p, nil
}

func (o *PlanOptions) check() error {
	if o.DType != tensor.Invalid && !isWeightType(o.DType) {
		return &SettingsError{Problem: fmt.Sprintf("no weights are written as %s", o.DType), Hint: "--dtype takes keep, float32, bfloat16 or float16"}
	}
	return checkRuntime(o.MatchRuntime)
}

// settle completes p.Config, as far as the destination needs it.
func (p *Plan) settle(s Settings) error {
	config, preset, err := p.Source.complete(s)
	var unknown *unsettled
	if errors.As(err, &unknown) && p.Layout != HuggingFace {
		return nil
	}
	if err != nil {
		return err
	}
	if p.Source.Layout == HuggingFace && p.Layout == HuggingFace {
		if p.config, err = p.Source.sourceConfig(); err != nil {
			return err
		}
	}
	p.Config, p.Preset, p.Settled = p.Source.original(config), preset, true
	if p.config != nil && !p.Source.noCap {
		p.Config.LogitsSoftCap = config.LogitsSoftCap // of a large one nobody says what it stands for
	}
	return nil
}

// settleHead decides what becomes of an output head that is not tied.
func (p *Plan) settleHead() error {
	m := p.Source
	if !p.Config.SeparateHead {
		return nil
	}
	switch {
	case m.relation == headWhole && !p.asIs():
		p.whole = m.Heads[0].Tensor
		p.Config.EmbeddingScale, p.Config.SeparateHead = false, false
		p.Notes = append(p.Notes, fmt.Sprintf("%s is the embedding of a model that does not scale it; %s, the same divided by %g, is not needed",
			p.whole.Name, m.embedding().Name, huggingface.EmbeddingScale(m.Config.Width)))
	case p.Layout == HuggingFace || m.KeepExtra:
	case m.relation == headCopied:
		p.Config.SeparateHead = false
	default:
		return tensor.Bad("an output head of its own, which the original implementations do not have: they compute logits with the embedding, and this is neither that nor sqrt(width) times it").
			In(m.Checkpoint.Path).Of(m.Heads[0].Tensor.Name).Advise("--extra keep writes it beside the model, where they do not look for it")
	}
	return nil
}

// asIs says that the tensors of a Hugging Face directory are copied, whatever they mean.
func (p *Plan) asIs() bool {
	return p.Source.Layout == HuggingFace && p.Layout == HuggingFace && p.Keep
}

// isWeightType reports whether transformers loads weights of that type as they are.
func isWeightType(d tensor.DType) bool {
	return slices.Contains([]tensor.DType{tensor.F64, tensor.F32, tensor.BF16, tensor.F16}, d)
}

// check lists all that keeps the model from being converted.
func (m *Model) check() *PlanError {
	e := &PlanError{Source: m.Checkpoint.Path, Conflict: m.clash}
	m.checkBlocks(e)
	seen := map[string]bool{} // ffw_up.w holds two parameters
	for _, p := range m.parameters() {
		name := p.name(m.Layout)
		if seen[name] {
			continue
		}
		seen[name] = true
		m.checkTensor(e, p, m.found[name])
	}
	m.checkExtras(e)
	m.checkHeads(e)
	return e
}

// parameters lists those that the model should have. Block i of the result is m.blocks[i].
func (m *Model) parameters() []parameter {
	all := parameters(m.Config.BlockTypes)
	for i := range all {
		if all[i].block >= 0 {
			all[i].block = m.blocks[all[i].block]
		}
	}
	return all
}

// checkBlocks finds gaps in the numbers of the blocks.
func (m *Model) checkBlocks(e *PlanError) {
	next := 0
	for _, b := range m.blocks {
		if b > next {
			name := fmt.Sprintf("%s%s%d", m.Prefix, blockRoots[m.Layout], next)
			if b > next+1 {
				name += fmt.Sprintf(" to %d", b-1)
			}
			e.Missing = append(e.Missing, Problem{name, "the whole block"})
		}
		next = b + 1
	}
}

func (m *Model) checkTensor(e *PlanError, p parameter, found []*tensor.Tensor) {
	want := m.sizes.shapeIn(p.rule, m.Layout)
	known := m.sizes.knows(p.rule)
	if len(found) == 0 {
		detail := ""
		if known {
			detail = tensor.ShapeString(want)
		}
		e.Missing = append(e.Missing, Problem{m.Prefix + p.name(m.Layout), detail})
		return
	}
	for _, t := range found[1:] {
		e.Unexpected = append(e.Unexpected, Problem{t.Name, "a second " + p.name(m.Layout) + ", beside " + tensor.QuoteName(found[0].Name)})
	}
	t := found[0]
	if (known || len(want) != len(t.Shape)) && !slices.Equal(want, t.Shape) {
		e.Misshapen = append(e.Misshapen, Problem{t.Name, m.whyMisshapen(t, want, known)})
	}
	if !isWeightType(t.DType) {
		e.Mistyped = append(e.Mistyped, Problem{t.Name, fmt.Sprintf("%s; weights are float64, float32, bfloat16 or float16", t.DType)})
	}
}

func (m *Model) whyMisshapen(t *tensor.Tensor, want []int64, known bool) string {
	have := tensor.ShapeString(t.Shape)
	if !known {
		return fmt.Sprintf("%s, not of %d axes", have, len(want))
	}
	why := fmt.Sprintf("%s, not %s", have, tensor.ShapeString(want))
	if len(want) == 2 && len(t.Shape) == 2 && t.Shape[0] == want[1] && t.Shape[1] == want[0] {
		why += "; it looks transposed"
		switch {
		case strings.HasSuffix(t.Name, ".kernel"):
			why += " (a Flax kernel is [in, out], a torch weight [out, in])"
		case strings.HasSuffix(t.Name, ".weight") && m.Layout == Torch:
			why += " (a torch weight is [out, in], a Flax kernel [in, out])"
		}
	}
	return why
}

func (m *Model) whyExtra(t *tensor.Tensor) string {
	rest := strings.TrimPrefix(t.Name, m.Prefix)
	for _, r := range rules {
		for l := Flax; l < layoutCount; l++ {
			if tail := r.at[l].tail; l != m.Layout && strings.HasSuffix(rest, tail) {
				return fmt.Sprintf("a name of the %s layout in a model of the %s layout", l, m.Layout)
			}
		}
	}
	return "no parameter of the family"
}

func (m *Model) embedding() *tensor.Tensor {
	for i := range rules {
		if rules[i].axes == "VW" {
			if found := m.found[rules[i].at[m.Layout].tail]; len(found) > 0 {
				return found[0]
			}
		}
	}
	return nil
}

// fill adds the tensors and moves of the destination.
func (p *Plan) fill(dtype tensor.DType) error {
	m := p.Source
	sizes := p.Config.sizes()
	at := map[string]int{}
	filled := map[int]int64{} // elements of each destination
	for _, param := range parameters(p.Config.BlockTypes) {
		source := p.sourceOf(param)
		o := param.rule.between(m.Layout, p.Layout)
		name := destRoots[p.Layout] + param.name(p.Layout)
		view, first := o.apply(tensor.RowMajor(source.Shape...))
		dest, ok := at[name]
		switch {
		case !ok:
			dest = len(p.Dests)
			at[name] = dest
			p.Dests = append(p.Dests, moves.Dest{Name: name, DType: cmp.Or(dtype, source.DType), Shape: sizes.shapeIn(param.rule, p.Layout), Rule: o.String()})
		case filled[dest] == (&tensor.Tensor{Shape: p.Dests[dest].Shape}).Elements():
			continue // two parameters in one tensor of either layout: it was moved whole
		default:
			d := &p.Dests[dest]
			d.Rule += "; " + o.String()
			d.DType = cmp.Or(dtype, wider(d.DType, source.DType))
		}
		filled[dest] += view.Elements()
		p.Moves = append(p.Moves, moves.Move{Source: source, View: view, Dest: dest, Offset: first})
	}
	if p.whole == nil {
		p.Copies = m.headCopies(&p.Config)
	}
	p.divide(dtype)
	p.keepHead(dtype)
	return p.keepExtras()
}

// sourceOf returns the tensor of the source that holds a parameter.
func (p *Plan) sourceOf(param parameter) *tensor.Tensor {
	if p.whole != nil && param.rule.name == reference.Embedding {
		return p.whole
	}
	return p.Source.found[param.name(p.Source.Layout)][0]
}

// wider returns the narrowest type that holds the elements of both.
func wider(a, b tensor.DType) tensor.DType {
	switch {
	case a == b || a.Size() > b.Size():
		return a
	case a.Size() < b.Size():
		return b
	}
	return tensor.F32 // of bfloat16 and float16
}

// chooseDType finds the destination's dtype.
func (p *Plan) chooseDType() {
	elements := map[tensor.DType]int64{}
	var kinds []tensor.DType
	for _, d := range p.Dests {
		if !isWeightType(d.DType) {
			continue // an extra tensor
		}
		if elements[d.DType] == 0 {
			kinds = append(kinds, d.DType)
		}
		elements[d.DType] += (&tensor.Tensor{Shape: d.Shape}).Elements()
	}
	slices.SortStableFunc(kinds, func(a, b tensor.DType) int { return cmp.Compare(elements[b], elements[a]) })
	p.DType = kinds[0]
	if len(kinds) > 1 && p.Layout == HuggingFace {
		var names []string
		for _, d := range kinds {
			names = append(names, d.String())
		}
		p.Notes = append(p.Notes, fmt.Sprintf("tensors are of several types (%s) and keep them; config.json says %s, to which transformers rounds them all when it loads the model",
			strings.Join(names, ", "), p.DType))
	}
}
