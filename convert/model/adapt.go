package model

import (
	"errors"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/adapter"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// merge returns a model with the adapter of the options. It reads no weights; the head of the result
// is not resolved yet.
func merge(m *Model, o *Options) (*Model, error) {
	if problems := m.Problems(); problems != nil {
		return nil, problems
	}
	a := o.Adapter
	g := &merger{model: m, adapter: a, changed: map[parameter]string{}, updates: map[*tensor.Tensor][]*adapter.Update{}}
	changes := a.Changes()
	g.index(changes)
	for i := range changes {
		if err := g.change(&changes[i]); err != nil {
			return nil, tensor.Annotate(err, tensor.Location{Tensor: changes[i].Parameter})
		}
	}
	g.byName, g.changed = nil, nil
	if err := g.refuseUnknown(); err != nil {
		return nil, err
	}
	tied := !m.Config.SeparateHead
	if m.Layout == HuggingFace && m.files.config != nil {
		tied = m.files.config.TieWordEmbeddings
	}
	lacks, err := g.refuseIncomplete(changes, tied, o.PartialAdapter)
	if err != nil {
		return nil, err
	}
	checkpoint, err := g.checkpoint(tied)
	if err != nil {
		return nil, err
	}
	// Nothing below refers to m, g or changes, which take much memory if there are very many tensors.
	number, headChanged, resized := len(changes), tied && g.splitsHead(), g.vocab != 0
	notes, stacked, separate, described := m.Notes, m.Stacked, m.Config.SeparateHead, m.files
	merged, err := recognize(checkpoint, o, described)
	if err != nil {
		return nil, err
	}
	merged.Adapter, merged.AdapterChanges, merged.AdapterLacks = a, number, lacks
	merged.Notes, merged.Stacked = notes, stacked
	merged.headChanged, merged.resized = headChanged, resized
	if !headChanged {
		merged.Config.SeparateHead = separate
	}
	return merged, nil
}

// merger works out which elements of which tensors of a model an adapter changes.
type merger struct {
	model   *Model
	adapter *peft.Adapter
	changed map[parameter]string // parameters, each with the name that the adapter has for it
	unknown []string             // parameters that the model does not have
	byName  map[string]parameter // under the names that the adapter has; without a rule if the model does not have it

	updates map[*tensor.Tensor][]*adapter.Update
	vocab   int64 // size of the vocabulary after the merge; 0 if it stays
	splits  bool  // the embedding changes in more than the rows of single tokens, which are trained for the head too

	head      *adapter.Update // of the output head, or nil
	headShape []int64         // of the head after that
}

// index finds the parameters that change, by the names that the adapted implementation has for them: transformers' names
// with or without their prefix, or those of the original torch for matrices that both have.
func (g *merger) index(changes []peft.Change) {
	g.byName = make(map[string]parameter, len(changes))
	for i := range changes {
		g.byName[changes[i].Parameter] = parameter{}
	}
	f := g.model.Family
	for _, p := range g.model.parameters() {
		full := f.nameOf(p, HuggingFace)
		names := []string{full, f.Roots[HuggingFace] + full}
		if at := &p.rule.At[Torch]; at.Tail != "" && len(at.Op) == 0 {
			names = append(names, f.nameOf(p, Torch))
		}
		for _, name := range names {
			if _, ok := g.byName[name]; ok {
				g.byName[name] = p
			}
		}
	}
}

// change adds the update that a change of one parameter makes to the tensor that has it.
func (g *merger) change(c *peft.Change) error {
	f := g.model.Family
	if c.Parameter == f.HeadName() || c.Parameter == f.Roots[HuggingFace]+f.HeadName() {
		return g.changeHead(c)
	}
	p := g.byName[c.Parameter]
	if p.rule == nil {
		g.unknown = append(g.unknown, c.Parameter)
		return nil
	}
	if other := g.changed[p]; other != "" {
		return g.in(tensor.Bad("changes a parameter twice, as %s and as %s", tensor.QuoteName(other), tensor.QuoteName(c.Parameter)))
	}
	g.changed[p] = c.Parameter
	m := g.model
	shape := m.sizes.shapeIn(p.rule, HuggingFace)
	if p.rule.Name == f.Embedding {
		if v := c.Value; v != nil && len(v.Shape) == 2 && v.Shape[1] == shape[1] && v.Shape[0] != shape[0] {
			g.vocab = v.Shape[0]
			shape = slices.Clone(v.Shape)
		}
		g.splits = g.splits || c.Rows == nil
	}
	t := m.found.first[f.nameOf(p, m.Layout)]
	if c.Parameter == t.Name {
		c.Parameter = t.Name // very many names are kept once
	}
	stored, first := p.rule.At[m.Layout].Op.inverse().apply(tensor.RowMajor(shape...))
	u, err := adapter.NewUpdate(c, shape, stored, first)
	if err != nil {
		return g.in(err)
	}
	g.updates[t] = append(g.updates[t], u)
	return nil
}

// changeHead adds an update of the output head, which is stored as transformers has it.
func (g *merger) changeHead(c *peft.Change) error {
	if g.head != nil {
		return g.in(tensor.Bad("changes the output head twice, under two names"))
	}
	g.headShape = headShape(g.model)
	if v := c.Value; v != nil && len(v.Shape) == 2 && v.Shape[1] == g.headShape[1] {
		g.headShape = v.Shape
	}
	var err error
	g.head, err = adapter.NewUpdate(c, g.headShape, tensor.RowMajor(g.headShape...), 0)
	return g.in(err)
}

func (g *merger) in(err error) error {
	var bad *tensor.FormatError
	if errors.As(err, &bad) && bad.Reason == adapter.ReasonShape {
		bad.Advise("%s", g.madeFor())
	}
	return tensor.Annotate(err, tensor.Location{File: g.adapter.Path})
}

// refuseUnknown refuses an adapter that changes what the model does not have.
func (g *merger) refuseUnknown() error {
	if len(g.unknown) == 0 {
		return nil
	}
	var names []string
	for _, n := range g.unknown {
		names = append(names, tensor.QuoteName(n))
	}
	return tensor.Bad("changes %s that the model does not have: %s", text.Count(len(names), "tensor"), tensor.JoinNames(names)).In(g.adapter.Path).Advise("%s", g.madeFor())
}

// madeFor says what the adapter was made for, if it does not fit the model.
func (g *merger) madeFor() string {
	if base := g.adapter.Config.Base; base != "" {
		return "the adapter was made for " + tensor.QuoteName(base)
	}
	return "the adapter was likely made for another base"
}

// splitsHead reports whether embedding and head may differ after the merge, if they were one before.
func (g *merger) splitsHead() bool { return g.splits || g.head != nil }

// checkpoint returns the model's checkpoint with its changed tensors replaced.
func (g *merger) checkpoint(tied bool) (*tensor.Checkpoint, error) {
	m := g.model
	base := m.Checkpoint
	embedding := m.Embedding()
	replaced := map[*tensor.Tensor]*tensor.Tensor{}
	for t, updates := range g.updates {
		shape := t.Shape
		if g.vocab != 0 && t == embedding {
			rule, sizes := m.Family.rule(m.Family.Embedding), m.sizes
			sizes[rule.Axes[0]] = g.vocab
			shape = sizes.shapeIn(rule, m.Layout)
		}
		merged, err := adapter.Apply(t, shape, updates)
		if err != nil {
			return nil, err
		}
		replaced[t] = merged
	}
	var added []*tensor.Tensor
	if tied && g.splitsHead() || g.head != nil {
		head, err := g.mergedHead(tied)
		if err != nil {
			return nil, err
		}
		added = append(added, head)
	}
	if len(added) > 0 || tied && len(g.updates[embedding]) > 0 {
		for _, h := range m.Heads { // replaced, or copies of the embedding as it was
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
	if !g.adapter.Config.TargetsKnown() {
		c.Notes = append(c.Notes, "the adapter chooses its modules by an expression that griffin cannot read, so that it is not checked whether the adapter has all of them")
	}
	c.Source, c.Root = base.Source, base.Root
	return c, nil
}

// mergedHead returns the head that the merged model has of its own.
func (g *merger) mergedHead(tied bool) (*tensor.Tensor, error) {
	m := g.model
	base := m.Embedding()
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
		outer = outerOf(m)
	}
	renamed := *base
	renamed.Name = outer + m.Family.HeadName()
	if g.head == nil {
		return &renamed, nil
	}
	return adapter.Apply(&renamed, g.headShape, []*adapter.Update{g.head})
}
