package convert

import (
	"context"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/adapter"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/storage"
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
	g := &merging{model: m, adapter: a, changed: map[parameter]string{}, updates: map[*tensor.Tensor][]*adapter.Update{}, adapted: map[*tensor.Tensor]bool{}}
	for i := range a.Changes {
		if err := g.change(&a.Changes[i]); err != nil {
			return nil, tensor.Annotate(err, tensor.Location{Tensor: a.Changes[i].Parameter})
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
	merged.KeepExtra, merged.Adapter, merged.adapted = m.KeepExtra, a, g.adapted
	merged.headChanged, merged.resized = tied && g.splitsHead(), g.vocab != 0
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
	model   *Model
	adapter *peft.Adapter
	changed map[parameter]string // parameters, each with the name that the adapter has for it
	unknown []string             // parameters that the model does not have
	byName  map[string]parameter

	updates map[*tensor.Tensor][]*adapter.Update
	vocab   int64 // size of the vocabulary after the merge; 0 if it stays
	splits  bool  // the embedding changes in more than the rows of single tokens, which are trained for the head too

	head      *adapter.Update // of the output head, or nil
	headShape []int64         // of the head after that
	adapted   map[*tensor.Tensor]bool
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

// change adds the update that a change of one parameter makes of the tensor that holds it.
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
	if p.rule.axes == "VW" {
		if v := c.Value; v != nil && len(v.Shape) == 2 && v.Shape[1] == shape[1] && v.Shape[0] != shape[0] {
			g.vocab = v.Shape[0]
			shape = slices.Clone(v.Shape)
		}
		g.splits = g.splits || c.Rows == nil
	}
	stored, first := p.rule.at[m.Layout].op.inverse().apply(tensor.RowMajor(shape...))
	u, err := adapter.NewUpdate(c, shape, stored, first)
	if err != nil {
		return g.in(err)
	}
	t := m.found[p.name(m.Layout)][0]
	g.updates[t] = append(g.updates[t], u)
	return nil
}

// changeHead adds an update of the output head, which is stored as transformers has it.
func (g *merging) changeHead(c *peft.Change) error {
	if g.head != nil {
		return g.in(tensor.Bad("changes the output head twice, under two names"))
	}
	g.headShape = g.model.headShape()
	if v := c.Value; v != nil && len(v.Shape) == 2 && v.Shape[1] == g.headShape[1] {
		g.headShape = v.Shape
	}
	var err error
	g.head, err = adapter.NewUpdate(c, g.headShape, tensor.RowMajor(g.headShape...), 0)
	return g.in(err)
}

func (g *merging) in(err error) error {
	return tensor.Annotate(err, tensor.Location{File: g.adapter.Path})
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

// splitsHead reports whether embedding and head may differ after the merge, if they were one before.
func (g *merging) splitsHead() bool { return g.splits || g.head != nil }

// checkpoint returns the model's checkpoint with its changed tensors replaced.
func (g *merging) checkpoint(tied bool) (*tensor.Checkpoint, error) {
	m := g.model
	base := m.Checkpoint
	embedding := m.embedding()
	replaced := map[*tensor.Tensor]*tensor.Tensor{}
	for t, updates := range g.updates {
		shape := t.Shape
		if g.vocab != 0 && t == embedding {
			shape = []int64{g.vocab, shape[1]}
		}
		merged, err := adapter.Apply(t, shape, updates)
		if err != nil {
			return nil, err
		}
		replaced[t], g.adapted[merged] = merged, true
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
	c.Source, c.Root = base.Source, base.Root
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
	if g.head == nil {
		return &renamed, nil
	}
	merged, err := adapter.Apply(&renamed, g.headShape, []*adapter.Update{g.head})
	if err != nil {
		return nil, err
	}
	g.adapted[merged] = true
	return merged, nil
}

// withAdapter opens the adapter that the options name and puts it on a model, whose head is settled.
func (o *Options) withAdapter(ctx context.Context, m *Model) (*Model, error) {
	source, dir, err := storage.Locate(o.Adapter)
	if err != nil {
		return nil, err
	}
	a, err := peft.Read(source, dir)
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
