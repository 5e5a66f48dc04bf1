package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Op rearranges the elements of a tensor, step by step. It moves elements and changes none, so that
// its inverse is derived from it. The zero Op leaves a tensor as it is.
type Op []Step

// Step is one step of an Op: Permute, DropUnit, AddUnit or Take, or the inverse of one.
type Step struct {
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

// Permute reorders the axes: axis k of the result is axis axes[k].
func Permute(axes ...int) Step { return Step{kind: stepPermute, axes: axes} }

// DropUnit removes an axis of length 1.
func DropUnit(axis int) Step { return Step{kind: stepDropUnit, axis: axis} }

// AddUnit inserts an axis of length 1 before axis.
func AddUnit(axis int) Step { return Step{kind: stepAddUnit, axis: axis} }

// Take keeps index i of the leading axis, which has length of and disappears. It can only be the
// first step of an Op.
func Take(i, of int64) Step { return Step{kind: stepTake, index: i, of: of} }

// inverse returns the Op that undoes o. The inverse of an Op that takes an index fills only that part
// of the tensor.
func (o Op) inverse() Op {
	inv := make(Op, 0, len(o))
	for _, s := range slices.Backward(o) {
		inv = append(inv, s.inverse())
	}
	return inv
}

func (s Step) inverse() Step {
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

// then returns the Op that applies o and then next. Steps that undo each other are left out.
func (o Op) then(next Op) Op {
	o = slices.Clone(o)
	for _, s := range next {
		if n := len(o); n > 0 && o[n-1].undoes(s) {
			o = o[:n-1]
		} else {
			o = append(o, s)
		}
	}
	return o
}

func (s Step) undoes(t Step) bool {
	inv := t.inverse()
	return s.kind == inv.kind && s.axis == inv.axis && s.index == inv.index && s.of == inv.of && slices.Equal(s.axes, inv.axes)
}

// rearrange applies o to a shape, or to any other list of one item an axis. number returns the item
// of an axis that o adds, given its length.
func rearrange[T any](o Op, axes []T, number func(int64) T) []T {
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

// apply returns the elements of v in the order of the result, and the index that the first of them
// has in the tensor to which they belong. The index is not 0 if o fills a part of that tensor; the
// parts of a leading axis are consecutive.
func (o Op) apply(v tensor.View) (tensor.View, int64) {
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

// String describes o: "copy", "transpose", "part 0, transpose".
func (o Op) String() string {
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
