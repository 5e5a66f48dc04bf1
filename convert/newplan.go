package convert

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/adapter"
	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// PlanOptions choose what a plan makes of a model.
type PlanOptions struct {
	Settings     model.Settings // what shapes do not show
	To           Target
	DType        tensor.DType // of all tensors; Invalid keeps each one's own
	MatchRuntime Runtimes     // ToHF: configure the model so that these agree with the original, where a configuration decides
	AllowInexact bool         // plan a model that the destination cannot express exactly

	// Like is a model of the destination's layout, or nil. If the layout is an original one, which is
	// read under any prefix, the tensors of the destination are named like Like's.
	Like *model.Model

	LeaveExtra bool // leave out the tensors that are not parameters of the family
}

// NewPlan plans the conversion of a model to another layout, or to its own. It reads no weights.
//
// Settings are needed only if the destination states them, which the Hugging Face layout does, and the
// source does not. Tensors that are missing, unexpected, misshapen or mistyped are a
// *model.MismatchError that lists all of them, missing settings an *OptionError, and a model that the
// destination cannot express a *tensor.FormatError.
func NewPlan(m *model.Model, o PlanOptions) (*Plan, error) {
	if !slices.Contains(modelTargets, o.To) {
		return nil, &OptionError{Option: "To", Problem: fmt.Sprintf("the target %s has no layout for a model", o.To)}
	}
	if o.DType != tensor.Invalid && !model.IsWeightType(o.DType) {
		return nil, &OptionError{Option: "DType", Problem: fmt.Sprintf("weights are not written as %s", o.DType)}
	}
	if problems := m.Problems(); problems != nil {
		return nil, problems
	}
	p := &planner{options: o, Plan: &Plan{Source: m, Layout: o.To.Layout(), Config: m.Config, Keep: o.DType == tensor.Invalid, Left: m.Rest,
		allowInexact: o.AllowInexact}}
	for _, note := range m.Notes {
		p.note(OtherNote, "the source: %s", note)
	}
	if err := p.configure(); err != nil {
		return nil, err
	}
	if err := p.refuseBeyond(); err != nil {
		return nil, err
	}
	if err := p.chooseHead(); err != nil {
		return nil, err
	}
	if p.Layout == model.HuggingFace {
		if err := p.express(); err != nil {
			return nil, err
		}
	}
	p.addParameters()
	p.addHead()
	if err := p.addExtra(); err != nil {
		return nil, err
	}
	p.nameLike()
	if name := OwnHead(p.Plan); name != "" && p.Layout != model.HuggingFace {
		p.note(HeadNote, "the original implementation does not compute the model: %s", model.HeadIgnored(name))
	}
	p.noteAdapter()
	p.chooseDType()
	if p.Layout == model.HuggingFace {
		if err := p.checkExpressed(); err != nil {
			return nil, err
		}
		p.noteForm()
	}
	return p.Plan, nil
}

// planner makes a Plan.
type planner struct {
	*Plan
	options    PlanOptions
	configured *model.Configured // nil if settings are missing and not needed
	unscaled   *tensor.Tensor    // the output head, if it replaces the embedding of a model that does not scale it
}

// configure completes p.Config as far as the destination needs it.
func (p *planner) configure() error {
	m := p.Source
	configured, err := m.Configure(p.options.Settings)
	var missing *OptionError
	if errors.As(err, &missing) && len(missing.Missing) > 0 && p.Layout != model.HuggingFace {
		return nil
	}
	if err != nil {
		return err
	}
	p.configured, p.SettingsKnown, p.SettingsRecorded = configured, true, configured.Recorded
	p.SettingsOrigins = configured.Origins
	p.Config, p.Preset, p.WindowAssumed = configured.Original, configured.Preset, configured.WindowAssumed
	if p.WindowAssumed && len(m.Family.BeyondOriginal(&p.Config)) == 0 {
		p.note(WindowNote, "%s", configured.WindowDoubt())
	}
	if note := configured.Overruled("", model.WasGiven); note != "" {
		p.note(RecordNote, "%s", note)
	}
	stated, err := m.StatedConfig()
	if err != nil {
		return err
	}
	if stated != nil {
		for _, note := range stated.Notes {
			p.note(OtherNote, "config.json of the source: %s", note)
		}
		if !stated.Has("attention_window_size") && !stated.Has(hfconfig.SlidingWindow) && p.Config.Has(model.Attention) {
			p.note(OtherNote, "config.json of the source does not state attention_window_size: transformers takes %d", stated.AttentionWindowSize)
		}
		if !stated.Has("logits_soft_cap") {
			p.note(OtherNote, "config.json of the source does not state logits_soft_cap: transformers takes %g", stated.LogitsSoftCap)
		}
	}
	if m.Layout == model.HuggingFace && p.Layout == model.HuggingFace {
		p.stated = stated
	}
	return nil
}

// refuseBeyond refuses a model that the original implementations do not compute, if it shall have their layout.
func (p *planner) refuseBeyond() error {
	if p.Layout == model.HuggingFace {
		return nil
	}
	if beyond := p.Source.Family.BeyondOriginal(&p.Config); len(beyond) > 0 {
		return tensor.Bad("the original implementation does not compute such a model: %s", strings.Join(beyond, "; ")).
			In(p.Source.Checkpoint.Path).Because(ReasonBeyondOriginal)
	}
	return nil
}

// chooseHead decides what becomes of an output head that is not tied.
func (p *planner) chooseHead() error {
	m := p.Source
	if !p.Config.SeparateHead {
		return nil
	}
	switch {
	case m.HeadRelation == model.UnscaledHead && !p.copiesTensors():
		p.unscaled = m.Heads[0].Tensor
		p.Config.EmbeddingScale, p.Config.SeparateHead = false, false
		p.note(OtherNote, "%s is the embedding of a model that does not scale it; %s, the same divided by %g, is not needed",
			p.unscaled.Name, m.Embedding().Name, huggingface.EmbeddingScale(m.Config.Width))
	case m.HeadRelation == model.CopiedHead && (p.Layout != model.HuggingFace || tiedLike(p.options.Like)):
		p.Config.SeparateHead = false
	case p.Layout == model.HuggingFace || m.KeepExtra:
	default:
		return tensor.Bad("a separate output head, which the original implementations do not have: they compute logits with the embedding, and this is neither the embedding nor sqrt(width) times it").
			In(m.Checkpoint.Path).Of(m.Heads[0].Tensor.Name).Because(ReasonSeparateHead)
	}
	return nil
}

// tiedLike reports whether a model of a Hugging Face directory has no output head but the embedding.
func tiedLike(like *model.Model) bool {
	return like != nil && like.Layout == model.HuggingFace && len(like.Heads) == 0
}

// addParameters adds the parameters of the model to the destination.
func (p *planner) addParameters() {
	index := map[string]int{} // of destinations of several transfers
	root := p.Source.Family.Roots[p.Layout]
	p.Dests, p.Moves = make([]moves.Dest, 0, len(p.Source.Tensors)), make([]moves.Move, 0, len(p.Source.Tensors))
	for t := range p.Source.Transfers(p.Layout) {
		if t.Embedding && p.unscaled != nil {
			t.Source = p.unscaled
		}
		i, ok := index[t.Name]
		if !ok {
			i = len(p.Dests)
			if !t.Whole {
				index[t.Name] = i
			}
			p.Dests = append(p.Dests, moves.Dest{Name: rooted(root, t), DType: cmp.Or(p.options.DType, t.Source.DType), Shape: t.Shape, Rule: t.Rule})
		} else {
			d := &p.Dests[i]
			d.Rule += "; " + t.Rule
			d.DType = cmp.Or(p.options.DType, wider(d.DType, t.Source.DType))
		}
		if t.Embedding {
			p.Embedding = i
		}
		p.Moves = append(p.Moves, moves.Move{Source: t.Source, View: t.View, Dest: i, Offset: t.First})
	}
	slices.SortStableFunc(p.Moves, func(a, b moves.Move) int { return cmp.Compare(a.Dest, b.Dest) })
	if p.unscaled == nil {
		p.Copies = p.Source.HeadCopies(&p.Config)
	}
}

// rooted returns the name of a transfer's destination: that of its source if it is the same, so that very many names are kept once.
func rooted(root string, t model.Transfer) string {
	if rest, ok := strings.CutPrefix(t.Source.Name, root); ok && rest == t.Name {
		return t.Source.Name
	}
	return root + t.Name
}

// addHead adds an output head to the destination: one of the model's own, or the embedding of a model
// that does not scale it, if the directory's embedding is divided. The original implementations have no
// head; beside them it is an extra tensor.
func (p *planner) addHead() {
	name := p.Source.Family.HeadName()
	if p.Layout != model.HuggingFace {
		name = p.Source.Family.Roots[p.Layout] + name
	}
	p.divideEmbedding(name)
	if h := p.Source.SeparateHead(&p.Config); h != nil {
		view := h.View()
		p.add(moves.Dest{Name: name, DType: cmp.Or(p.options.DType, h.Tensor.DType), Shape: view.Shape, Rule: h.Op.String()}, h.Tensor, view)
	}
}

// addExtra adds the tensors that are not parameters of the family, as they are and in their own types.
func (p *planner) addExtra() error {
	m := p.Source
	if p.options.LeaveExtra || len(m.Extra) == 0 {
		return nil
	}
	taken := map[string]bool{}
	for _, d := range p.Dests {
		taken[d.Name] = true
	}
	var names []string
	for _, t := range m.Extra {
		name := m.ExtraName(t, p.Layout) // its own again after a conversion there and back
		if taken[name] {
			return tensor.Bad("an extra tensor that cannot be kept: its name in the %s layout, %s, is taken", p.Layout, tensor.QuoteName(name)).
				In(m.Checkpoint.Path).Of(t.Name)
		}
		taken[name] = true
		p.Extra = append(p.Extra, len(p.Dests))
		p.add(moves.Dest{Name: name, DType: t.DType, Shape: t.Shape, Rule: "copy, extra"}, t, tensor.RowMajor(t.Shape...))
		names = append(names, tensor.QuoteName(t.Name))
	}
	if len(names) > 0 && p.Layout == model.HuggingFace {
		p.note(ExtraKeptNote, "kept what transformers does not load: %s", tensor.JoinNames(names))
	}
	return nil
}

// add adds a tensor that one move fills.
func (p *planner) add(d moves.Dest, source *tensor.Tensor, view tensor.View) {
	p.Moves = append(p.Moves, moves.Move{Source: source, View: view, Dest: len(p.Dests)})
	p.Dests = append(p.Dests, d)
}

// nameLike gives the tensors of the destination the names that PlanOptions.Like has for them.
func (p *planner) nameLike() {
	like, f := p.options.Like, p.Source.Family
	if like == nil || like.Layout != p.Layout || p.Layout == model.HuggingFace && !model.LacksRoot(like) {
		return
	}
	names := map[string]string{}
	for _, t := range like.ParameterTensors(&like.Config) {
		names[t.Name] = t.Tensor.Name
	}
	for i := range p.Dests {
		d := &p.Dests[i]
		name := strings.TrimPrefix(d.Name, f.Roots[p.Layout])
		switch {
		case name != f.HeadName():
			d.Name = cmp.Or(names[name], like.Prefix+name)
		case len(like.Heads) > 0:
			d.Name = like.Heads[0].Tensor.Name
		}
	}
}

// noteAdapter notes the adapter, and marks the tensors that it changes.
func (p *planner) noteAdapter() {
	m := p.Source
	if m.Adapter == nil {
		return
	}
	const mark = ", adapted"
	for i := range p.Moves {
		if d := &p.Dests[p.Moves[i].Dest]; adapter.IsMerged(p.Moves[i].Source) && !strings.HasSuffix(d.Rule, mark) {
			d.Rule += mark
		}
	}
	note := fmt.Sprintf("merged the adapter %s, which changes %s", tensor.QuoteName(storage.BaseName(m.Adapter.Path)), text.Count(m.AdapterChanges, "tensor"))
	if m.HeadSplit() && p.Config.SeparateHead {
		note += "; embedding and output head are no longer one, as PEFT runs the adapter, though not as it merges it"
	}
	p.note(OtherNote, "%s", note)
	if m.AdapterLacks != "" {
		p.note(OtherNote, "the adapter %s", m.AdapterLacks)
	}
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
func (p *planner) chooseDType() {
	elements := map[tensor.DType]int64{}
	var types []tensor.DType
	for i := range p.Dests {
		d := &p.Dests[i]
		if !model.IsWeightType(d.DType) {
			continue // an extra tensor
		}
		if elements[d.DType] == 0 {
			types = append(types, d.DType)
		}
		elements[d.DType] += d.Elements()
	}
	slices.SortStableFunc(types, func(a, b tensor.DType) int { return cmp.Compare(elements[b], elements[a]) })
	p.DType = types[0]
	p.types = types
	if p.Layout == model.HuggingFace {
		if note := p.SeveralTypes(p.dtypeFields()); note != "" {
			p.note(TypesNote, "%s", note)
		}
	}
}

// dtypeFields returns the fields of the destination's config.json, as far as they state the dtype.
func (p *planner) dtypeFields() map[string]any {
	c := p.Source.Checkpoint
	if fields, err := hfconfig.Fields(c.Source, c.Beside(hfconfig.Name)); p.stated != nil && err == nil {
		if name, _ := hfconfig.TakenDType(fields); name == "" || hfconfig.LoadedDType(fields) != tensor.Invalid {
			return fields
		}
	}
	return map[string]any{"dtype": p.DType.String()}
}

// SeveralTypes says that the weights of the destination are of several types, and what transformers 5.23 makes of them; "" if all are of one. fields are
// those of the config.json beside them.
func (p *Plan) SeveralTypes(fields map[string]any) string {
	if len(p.types) < 2 {
		return ""
	}
	var names []string
	for _, d := range p.types {
		names = append(names, d.String())
	}
	says := "says " + hfconfig.LoadedDType(fields).String() + ", to which transformers rounds them all when it loads the model"
	if name, _ := hfconfig.TakenDType(fields); name == "" {
		says = "says none: transformers 5 rounds them all to that of the first that it reads, and 4 loads them in float32"
	}
	return fmt.Sprintf("tensors are of several types (%s) and keep them; config.json %s", strings.Join(names, ", "), says)
}
