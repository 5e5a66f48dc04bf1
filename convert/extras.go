package convert

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// ParseExtra returns what Model.KeepExtra is to be for a value of Options.Extra: "keep", "refuse" or "",
// which is to refuse; another is a *SettingsError.
func ParseExtra(policy string) (keep bool, err error) {
	switch policy {
	case "keep":
		return true, nil
	case "refuse", "":
		return false, nil
	}
	return false, &SettingsError{Problem: fmt.Sprintf("nothing is done with extra tensors by the name of %q", policy), Hint: "--extra takes keep or refuse"}
}

// extraName returns the name of an extra tensor in a layout: its own from the model's root on, under what
// precedes the root there. So it comes back under its own name from a conversion to and fro.
func (m *Model) extraName(t *tensor.Tensor, to Layout) string {
	return destRoots[to] + strings.TrimPrefix(t.Name, m.Prefix)
}

// checkExtras refuses extra tensors, unless they are to be kept.
func (m *Model) checkExtras(e *PlanError) {
	for _, t := range m.Extra {
		if !m.KeepExtra {
			e.Unexpected = append(e.Unexpected, Problem{t.Name, m.whyExtra(t)})
			e.canKeep = true
		} else if t.DType.Size() == 0 {
			e.Mistyped = append(e.Mistyped, Problem{t.Name, fmt.Sprintf("%s; its elements are no whole bytes", t.DType)})
		}
	}
}

// keepExtras adds the extra tensors to the destination, as they are and in their own types.
func (p *Plan) keepExtras() error {
	taken := map[string]bool{}
	for _, d := range p.Dests {
		taken[d.Name] = true
	}
	for _, t := range p.Source.Extra {
		name := p.Source.extraName(t, p.Layout)
		if taken[name] {
			return tensor.Bad("an extra tensor that cannot be kept: its name in the %s layout, %s, is taken", p.Layout, tensor.QuoteName(name)).
				In(p.Source.Checkpoint.Path).Of(t.Name)
		}
		taken[name] = true
		p.add(moves.Dest{Name: name, DType: t.DType, Shape: t.Shape, Rule: "copy, extra"}, t, tensor.RowMajor(t.Shape...))
	}
	if names := p.Source.Extra; len(names) > 0 && p.Layout == HuggingFace {
		p.Notes = append(p.Notes, "kept what transformers does not load: "+tensorNames(names))
	}
	return nil
}

// keepHead adds an output head of the model's own to the destination, in dtype, or its own where that
// is tensor.Invalid. Of the original implementations none has one, so that it is an extra tensor there.
func (p *Plan) keepHead(dtype tensor.DType) {
	h := p.Source.OwnHead(&p.Config)
	if h == nil {
		return
	}
	name := "lm_head.weight"
	if p.Layout != HuggingFace {
		name = destRoots[p.Layout] + name
	}
	view := h.View()
	p.add(moves.Dest{Name: name, DType: cmp.Or(dtype, h.Tensor.DType), Shape: view.Shape, Rule: h.op.String()}, h.Tensor, view)
}

// tensorNames lists the names of tensors.
func tensorNames(tensors []*tensor.Tensor) string {
	var names []string
	for _, t := range tensors {
		names = append(names, tensor.QuoteName(t.Name))
	}
	return tensor.JoinNames(names)
}

// add appends a tensor that one move fills.
func (p *Plan) add(d moves.Dest, source *tensor.Tensor, view tensor.View) {
	p.Moves = append(p.Moves, moves.Move{Source: source, View: view, Dest: len(p.Dests)})
	p.Dests = append(p.Dests, d)
}
