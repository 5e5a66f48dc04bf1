package convert

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// op turns a tensor of one layout into that of another, step by step. It moves elements and
// changes none, so it has an inverse, which is derived from it.
type op []step

type step struct {
	kind  stepKind
	axes  []int // stepPermute: axis k of the result is axis axes[k]
	axis  int   // stepDropUnit, stepAddUnit
	index int64 // stepTake, stepPut
	of    int64 // stepTake, stepPut: the length of the leading axis
}

type stepKind uint8

const (
	stepPermute  stepKind = iota
	stepDropUnit          // removes an axis of length 1
	stepAddUnit           // inserts an axis of length 1 before axis
	stepTake              // keeps one index of the leading axis, which disappears
	stepPut               // the inverse of stepTake: one index of a new leading axis is filled
)

func permute(axes ...int) step { return step{kind: stepPermute, axes: axes} }
func dropUnit(axis int) step   { return step{kind: stepDropUnit, axis: axis} }
func addUnit(axis int) step    { return step{kind: stepAddUnit, axis: axis} }
func take(i, of int64) step    { return step{kind: stepTake, index: i, of: of} }

// inverse returns the op that undoes o. That of an op that takes an index fills just that part of
// the tensor.
func (o op) inverse() op {
	inv := make(op, 0, len(o))
	for _, s := range slices.Backward(o) {
		inv = append(inv, s.inverse())
	}
	return inv
}

func (s step) inverse() step {
	switch s.kind {
	case stepPermute:
		back := make([]int, len(s.axes))
		for k, a := range s.axes {
			back[a] = k
		}
		s.axes = back
	case stepDropUnit:
		s.kind = stepAddUnit
	case stepAddUnit:
		s.kind = stepDropUnit
	case stepTake:
		s.kind = stepPut
	case stepPut:
		s.kind = stepTake
	}
	return s
}

// between returns the op from a parameter's tensor in one layout to that in another. Where both
// layouts keep several parameters in that tensor in the same way, it is the op of the whole tensor.
func (r *rule) between(from, to Layout) op {
	o := slices.Clone(r.at[from].op)
	for _, s := range r.at[to].op.inverse() {
		if n := len(o); n > 0 && o[n-1].undoes(s) {
			o = o[:n-1]
		} else {
			o = append(o, s)
		}
	}
	return o
}

func (s step) undoes(t step) bool {
	inv := t.inverse()
	return s.kind == inv.kind && s.axis == inv.axis && s.index == inv.index && s.of == inv.of && slices.Equal(s.axes, inv.axes)
}

// rearrange returns what o makes of a shape, or of anything else that has one item per axis.
// number gives the item of an axis whose length o itself knows.
func rearrange[T any](o op, axes []T, number func(int64) T) []T {
	out := slices.Clone(axes)
	for _, s := range o {
		switch s.kind {
		case stepPermute:
			p := make([]T, len(s.axes))
			for k, a := range s.axes {
				p[k] = out[a]
			}
			out = p
		case stepDropUnit:
			out = slices.Delete(out, s.axis, s.axis+1)
		case stepAddUnit:
			out = slices.Insert(out, s.axis, number(1))
		case stepTake:
			out = out[1:]
		case stepPut:
			out = slices.Insert(out, 0, number(s.of))
		}
	}
	return out
}

// apply returns the elements of v in the order that o gives them, and the index of the first of
// them in the tensor they belong to: not 0 where o fills one part of it. (The parts of a leading
// axis lie one after another, so that they stay one run of elements.)
func (o op) apply(v tensor.View) (tensor.View, int64) {
	first := int64(0)
	for _, s := range o {
		switch s.kind {
		case stepPermute:
			v = v.Permute(s.axes...)
		case stepDropUnit:
			v = v.Index(s.axis, 0)
		case stepAddUnit:
			v = v.Unsqueeze(s.axis)
		case stepTake:
			v = v.Index(0, s.index)
		case stepPut:
			first = s.index * v.Elements()
			v = v.Unsqueeze(0)
		}
	}
	return v, first
}

// String says what o does: "copy", "transpose", "part 0, transpose".
func (o op) String() string {
	var words []string
	for _, s := range o {
		switch s.kind {
		case stepPermute:
			if slices.Equal(s.axes, []int{1, 0}) {
				words = append(words, "transpose")
			} else {
				words = append(words, fmt.Sprintf("permute %v", s.axes))
			}
		case stepDropUnit:
			words = append(words, fmt.Sprintf("drop axis %d", s.axis))
		case stepAddUnit:
			words = append(words, fmt.Sprintf("add axis %d", s.axis))
		case stepTake:
			words = append(words, fmt.Sprintf("part %d", s.index))
		case stepPut:
			words = append(words, fmt.Sprintf("into part %d", s.index))
		}
	}
	if len(words) == 0 {
		return "copy"
	}
	return strings.Join(words, ", ")
}
