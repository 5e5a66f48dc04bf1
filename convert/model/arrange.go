package model

import (
	"iter"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Transfer is the destination of elements of one tensor of a model in another layout.
type Transfer struct {
	Source *tensor.Tensor
	View   tensor.View // which of Source's row-major elements, in which order

	Name  string  // of the destination tensor, from the model's root on
	Shape []int64 // of the destination tensor
	First int64   // element of the destination tensor at which the elements of View begin
	Rule  string  // what makes them of Source, for people: "copy", "transpose", …

	Embedding bool // the destination tensor is the embedding
	Whole     bool // no other transfer goes to the destination tensor
}

// Transfers gives what makes the parameters of the model in a layout, in the order of the rules, one after another: there may be very many.
// Elements of several transfers may go to one tensor, and fill it. The model must have no Problems. Shapes and views are shared.
func (m *Model) Transfers(to Layout) iter.Seq[Transfer] {
	return func(yield func(Transfer) bool) {
		filled := map[string]int64{} // elements of each destination of several parameters
		sharing := map[string]int{}  // rules, by the end of the name
		for i := range m.Family.Rules {
			sharing[m.Family.Rules[i].At[to].Tail]++
		}
		made := map[*Rule]*Transfer{} // the last transfer of each rule, and the shape of its source
		shapes := map[*Rule][]int64{}
		for _, p := range m.parameters() {
			r := p.rule
			source := m.found.first[m.Family.nameOf(p, m.Layout)]
			name := m.Family.nameOf(p, to)
			t := made[r]
			if t == nil || !slices.Equal(shapes[r], source.Shape) {
				t = transferOf(m, r, source, to)
				made[r], shapes[r] = t, source.Shape
			}
			next := *t
			next.Source, next.Name, next.Whole = source, name, sharing[r.At[to].Tail] == 1
			if n, ok := filled[name]; ok && n == tensor.RowMajor(next.Shape...).Elements() {
				continue // both layouts have two parameters in this tensor, which is moved as a whole
			}
			var part string
			if next.Source, next.View, part = inStored(m.parts, source, next.View); part != "" {
				next.Rule = part + ", " + next.Rule
			}
			if !next.Whole {
				filled[name] += next.View.Elements()
			}
			if !yield(next) {
				return
			}
		}
	}
}

// transferOf returns what makes the parameter of a rule in a layout of a tensor, without the names.
func transferOf(m *Model, r *Rule, source *tensor.Tensor, to Layout) *Transfer {
	t := &Transfer{Shape: m.sizes.shapeIn(r, to), Embedding: r.Name == m.Family.Embedding}
	op := r.between(m.Layout, to)
	t.View, t.First = op.apply(tensor.RowMajor(source.Shape...))
	t.Rule = op.String()
	return t
}

// inStored returns the tensor of the file whose elements a view of a tensor of the model shows, so that all parts of it
// are read in one go, and what selects the part, "" for all of it.
func inStored(parts map[*tensor.Tensor]part, t *tensor.Tensor, view tensor.View) (*tensor.Tensor, tensor.View, string) {
	p, ok := parts[t]
	if !ok {
		return t, view, ""
	}
	composed, ok := (&tensor.Strided{View: *p.view}).Compose(view)
	if !ok {
		return t, view, ""
	}
	return p.stored, composed, p.rule
}

// LayoutTensor is a tensor of a model as a layout has it.
type LayoutTensor struct {
	Name   string         // in that layout, from the model's root on: without "params.", "model." and other wrappers; "" if it has no place there
	Stored *tensor.Tensor // has the elements
	View   tensor.View    // which of Stored's row-major elements, in which order
}

// TensorsIn gives the model's tensors as a layout has them, in the order of the rules, one after another: there may be very many. After them come,
// without Name and View, the tensors of the checkpoint that the layout has no place for: those that are not parameters, and
// those whose shape is not that of their parameter. The model may have Problems, and nothing is read.
//
// The layout is the model's own, or another in which no two of the model's tensors share one: Hugging
// Face's for all models, and the other original layout for an original.
func (m *Model) TensorsIn(l Layout) iter.Seq[LayoutTensor] {
	return func(yield func(LayoutTensor) bool) {
		used, named := map[*tensor.Tensor]bool{}, map[string]bool{}
		block := -1
		for _, p := range m.parameters() {
			if p.block != block { // those of other blocks have other names
				clear(named)
				block = p.block
			}
			found := m.found.first[m.Family.nameOf(p, m.Layout)]
			name := m.Family.nameOf(p, l)
			if found == nil || named[name] {
				continue
			}
			view, ok := p.rule.viewIn(found, m.Layout, l)
			if !ok {
				continue
			}
			named[name] = true
			used[found] = true
			stored, view, _ := inStored(m.parts, found, view)
			if !yield(LayoutTensor{name, stored, view}) {
				return
			}
		}
		if len(m.Heads) > 0 && len(m.Heads[0].Tensor.Shape) == 2 {
			h := &m.Heads[0]
			used[h.Tensor] = true
			if !yield(LayoutTensor{m.Family.HeadName(), h.Tensor, h.View()}) {
				return
			}
		}
		for _, t := range m.Checkpoint.Tensors() {
			if !used[t] && !yield(LayoutTensor{Stored: t}) {
				return
			}
		}
	}
}

// viewIn returns the elements of the tensor that has a parameter in a layout, as another layout has
// them; false if the tensor's shape does not allow it.
func (r *Rule) viewIn(t *tensor.Tensor, from, to Layout) (tensor.View, bool) {
	o := r.between(from, to)
	if len(o) == 0 {
		return tensor.RowMajor(t.Shape...), true
	}
	axes := r.axesIn(from)
	if len(t.Shape) != len(axes) {
		return tensor.View{}, false
	}
	for i, a := range axes {
		if a >= '0' && a <= '9' && t.Shape[i] != int64(a-'0') {
			return tensor.View{}, false
		}
	}
	if slices.ContainsFunc(o, func(s Step) bool { return s.kind == stepPut }) || t.DType.Size() == 0 {
		return tensor.View{}, false
	}
	view, _ := o.apply(tensor.RowMajor(t.Shape...))
	return view, true
}
