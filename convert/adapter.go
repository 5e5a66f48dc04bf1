package convert

import (
	"context"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// WithAdapter returns the model that PEFT runs when it puts an adapter on this one: a model over a
// checkpoint whose tensors stream merged weights, in the layout and the types that they have here. It
// reads no weights. The adapter and the model's own checkpoint have to stay open as long as that is
// read, and closing it closes neither.
//
// Each element of an adapted matrix is W + scaling·Σ B[o,k]·A[k,i], computed in float64 with the sum
// in ascending k, and rounded once to the type of W. Products of float32 are exact in float64, so that
// the result is the same on every machine, and nearly always the correctly rounded one. Parameters that
// were trained in full are rounded to the type of what they replace.
//
// Where the output head is tied to an embedding that the adapter changes, or the head is changed and
// the embedding not, the result has a head of its own, since that is what PEFT runs; PEFT's own merge
// changes both. m is one whose head SettleHead has settled, and so must be the result's before use.
//
// An adapter that does not fit the model is a *tensor.FormatError.
func (m *Model) WithAdapter(a *peft.Adapter) (*Model, error) {
	if problems := m.check(); !problems.empty() {
		return nil, problems
	}
	g := &merging{model: m, adapter: a, adaptations: map[*tensor.Tensor][]*adaptation{}, changed: map[parameter]string{}}
	for i := range a.Changes {
		if err := g.change(&a.Changes[i]); err != nil {
			return nil, of(a.Changes[i].Parameter, err)
		}
	}
	if err := g.refuseUnknown(); err != nil {
		return nil, err
	}
	tied, err := m.tied()
	if err != nil {
		return nil, err
	}
	checkpoint, err := g.checkpoint(tied)
	if err != nil {
		return nil, err
	}
	merged, err := RecognizeNamed(checkpoint, m.asked)
	if err != nil {
		return nil, err
	}
	merged.KeepExtra, merged.Adapter = m.KeepExtra, a
	merged.headChanged, merged.resized = tied && g.splitsHead(), g.resized
	if !merged.headChanged {
		merged.Config.SeparateHead = m.Config.SeparateHead
	}
	return merged, nil
}

// tied reports whether logits are computed with the embedding.
func (m *Model) tied() (bool, error) {
	if m.Layout == HuggingFace {
		h, _, err := m.hfConfig()
		if h != nil || err != nil {
			return err == nil && h.TieWordEmbeddings, err
		}
	}
	return !m.Config.SeparateHead, nil
}

// merging works out which elements of which tensors of a model an adapter changes.
type merging struct {
	model       *Model
	adapter     *peft.Adapter
	adaptations map[*tensor.Tensor][]*adaptation
	head        []*adaptation        // of the output head
	changed     map[parameter]string // by the name that the adapter has for it
	unknown     []string
	resized     bool // the vocabulary has another size
	byName      map[string]parameter
}

// headParameter is what PEFT calls the output head.
const headParameter = "lm_head.weight"

// lookUp finds a parameter by the name that the adapted implementation has for it: transformers, with or
// without what surrounds its model, or the original torch, as far as it has the same matrices.
func (g *merging) lookUp(name string) (parameter, bool) {
	if g.byName == nil {
		g.byName = map[string]parameter{}
		for i, p := range parameters(g.model.Config.BlockTypes) {
			full := p.name(HuggingFace)
			p = g.model.parameters()[i]
			g.byName[full], g.byName[destRoots[HuggingFace]+full] = p, p
			if len(p.rule.at[Torch].op) == 0 {
				g.byName[p.name(Torch)] = p
			}
		}
	}
	p, ok := g.byName[name]
	return p, ok
}

// change adds the adaptation that a change of one parameter makes of the tensor that holds it.
func (g *merging) change(c *peft.Change) error {
	if c.Parameter == headParameter || c.Parameter == "model."+headParameter {
		return g.changeHead(c)
	}
	p, ok := g.lookUp(c.Parameter)
	if !ok {
		g.unknown = append(g.unknown, c.Parameter)
		return nil
	}
	if other := g.changed[p]; other != "" {
		return g.in(tensor.Bad("changes what %s is twice, as that and as %s", tensor.QuoteName(other), tensor.QuoteName(c.Parameter)))
	}
	g.changed[p] = c.Parameter
	m := g.model
	shape := m.sizes.shapeIn(p.rule, HuggingFace)
	if c.Value != nil && p.rule.axes == "VW" && len(c.Value.Shape) == 2 && c.Value.Shape[1] == shape[1] && c.Value.Shape[0] != shape[0] {
		g.resized = true
		shape = slices.Clone(c.Value.Shape)
	}
	e, err := newAdaptation(c, shape, p.rule.at[m.Layout].op)
	if err != nil {
		return g.in(err)
	}
	t := m.found[p.name(m.Layout)][0]
	g.adaptations[t] = append(g.adaptations[t], e)
	return nil
}

// changeHead adds an adaptation of the output head, which is held as transformers has it.
func (g *merging) changeHead(c *peft.Change) error {
	if len(g.head) > 0 {
		return g.in(tensor.Bad("changes the output head twice, under two names"))
	}
	shape := g.model.headShape()
	if c.Value != nil && len(c.Value.Shape) == 2 && c.Value.Shape[1] == shape[1] {
		shape = c.Value.Shape
	}
	e, err := newAdaptation(c, shape, same)
	if err != nil {
		return g.in(err)
	}
	g.head = append(g.head, e)
	return nil
}

func (g *merging) in(err error) error {
	if bad, ok := err.(*tensor.FormatError); ok {
		return bad.In(g.adapter.Path)
	}
	return err
}

// refuseUnknown refuses an adapter that changes what the model does not have.
func (g *merging) refuseUnknown() error {
	if len(g.unknown) == 0 {
		return nil
	}
	var names []string
	for _, n := range g.unknown {
		names = append(names, tensor.QuoteName(n))
	}
	bad := tensor.Bad("changes %d parameters that the model does not have: %s", len(names), tensor.JoinNames(names)).In(g.adapter.Path)
	if base := g.adapter.Config.Base; base != "" {
		bad.Advise("it was made for %s", tensor.QuoteName(base))
	}
	return bad
}

// splitsHead reports whether embedding and head may differ after the merge, where they were one.
func (g *merging) splitsHead() bool {
	for _, e := range g.adaptations[g.model.embedding()] {
		if e.rows == nil { // rows of single tokens are trained for both
			return true
		}
	}
	return len(g.head) > 0
}

// checkpoint returns the model's checkpoint with its changed tensors replaced.
func (g *merging) checkpoint(tied bool) (*tensor.Checkpoint, error) {
	m := g.model
	base := m.Checkpoint
	replaced := map[*tensor.Tensor]*tensor.Tensor{}
	for t, adaptations := range g.adaptations {
		shape := t.Shape
		if g.resized && t == m.embedding() {
			shape = adaptations[0].value.Shape
		}
		merged, err := newMerged(t, shape, adaptations)
		if err != nil {
			return nil, err
		}
		replaced[t] = merged
	}
	var added []*tensor.Tensor
	if g.splitsHead() && tied || len(g.head) > 0 {
		head, err := g.mergedHead(tied)
		if err != nil {
			return nil, err
		}
		// Copies of a tied head would be copies of what the embedding was.
		for _, h := range m.Heads {
			replaced[h.Tensor] = nil
		}
		added = append(added, head)
	} else if tied && len(g.adaptations[m.embedding()]) > 0 {
		for _, h := range m.Heads {
			replaced[h.Tensor] = nil
		}
	}
	var tensors []*tensor.Tensor
	for _, t := range base.Tensors() {
		if other, ok := replaced[t]; !ok {
			tensors = append(tensors, t)
		} else if other != nil {
			tensors = append(tensors, other)
		}
	}
	c, err := tensor.NewCheckpoint(base.Path, base.Format, append(tensors, added...))
	if err != nil {
		return nil, err
	}
	c.Details, c.Metadata, c.Notes = base.Details, base.Metadata, slices.Clone(base.Notes)
	return c, nil
}

// mergedHead returns the head that the merged model has of its own.
func (g *merging) mergedHead(tied bool) (*tensor.Tensor, error) {
	m := g.model
	base := m.embedding()
	if !tied {
		if len(m.Heads) == 0 {
			return nil, tensor.Bad("the model has no output head").In(m.Checkpoint.Path)
		}
		var err error
		if base, err = tensor.Viewed(m.Heads[0].Tensor, m.Heads[0].View()); err != nil {
			return nil, err
		}
	}
	outer := m.Prefix
	if m.Layout == HuggingFace {
		outer = strings.TrimSuffix(outer, destRoots[HuggingFace])
	}
	renamed := *base
	renamed.Name = outer + headParameter
	if len(g.head) == 0 {
		return &renamed, nil
	}
	shape := renamed.Shape
	if v := g.head[0].value; v != nil {
		shape = v.Shape
	}
	return newMerged(&renamed, shape, g.head)
}

// withAdapter opens the adapter that the options name and puts it on a model, whose head is settled.
func (o *Options) withAdapter(ctx context.Context, m *Model) (*Model, error) {
	a, err := peft.Read(o.Adapter)
	if err != nil {
		return nil, err
	}
	merged, err := m.WithAdapter(a)
	if err == nil {
		err = merged.SettleHead(ctx)
	}
	if err == nil {
		merged.record, err = recordAdapter(ctx, a)
	}
	if err != nil {
		a.Close()
		return nil, err
	}
	return merged, nil
}

// closeAdapter releases the files of an adapter that withAdapter opened.
func (m *Model) closeAdapter() error {
	if m == nil || m.Adapter == nil {
		return nil
	}
	return m.Adapter.Close()
}
