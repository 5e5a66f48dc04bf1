package convert

import (
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// HeadName is what an output head is called, from the model's root on.
const HeadName = "lm_head.weight"

// Placed is a tensor of a model as a layout has it.
type Placed struct {
	Name   string         // in that layout, from the model's root on: without "params.", "model." and other wrappers
	Stored *tensor.Tensor // that holds the elements
	View   tensor.View    // which of Stored's row-major elements, in which order
}

// In returns the model's tensors as a layout has them, in the order of the rules, and the tensors of the
// checkpoint that have no place there: those that are no parameters, and those whose shape is not that of
// their parameter. The model need not be complete, and nothing is read.
//
// The layout is m's own, or another that keeps no two of m's tensors in one: Hugging Face for all, and
// of the original layouts the other one.
func (m *Model) In(l Layout) (placed []Placed, left []*tensor.Tensor) {
	used, named := map[*tensor.Tensor]bool{}, map[string]bool{}
	for _, p := range m.parameters() {
		found := m.found[p.name(m.Layout)]
		name := p.name(l)
		if len(found) == 0 || named[name] {
			continue
		}
		view, ok := p.rule.viewIn(found[0], m.Layout, l)
		if !ok {
			continue
		}
		named[name] = true
		used[found[0]] = true
		placed = append(placed, Placed{name, found[0], view})
	}
	if len(m.Heads) > 0 && len(m.Heads[0].Tensor.Shape) == 2 {
		h := &m.Heads[0]
		used[h.Tensor] = true
		placed = append(placed, Placed{HeadName, h.Tensor, h.View()})
	}
	for _, t := range m.Checkpoint.Tensors() {
		if !used[t] {
			left = append(left, t)
		}
	}
	return placed, left
}

// viewIn returns the elements of the tensor that holds a parameter in a layout, as another layout has
// them, or false where its shape does not allow it.
func (r *rule) viewIn(t *tensor.Tensor, from, to Layout) (tensor.View, bool) {
	o := r.between(from, to)
	if len(o) == 0 {
		return tensor.RowMajor(t.Shape...), true
	}
	axes := r.axesIn(from)
	if len(t.Shape) != len(axes) {
		return tensor.View{}, false
	}
	for i, a := range axes {
		if n := int64(a - '0'); (a == '1' || a == '2') && t.Shape[i] != n {
			return tensor.View{}, false
		}
	}
	if slices.ContainsFunc(o, func(s step) bool { return s.kind == stepPut }) || t.DType.Size() == 0 {
		return tensor.View{}, false
	}
	view, _ := o.apply(tensor.RowMajor(t.Shape...))
	return view, true
}
