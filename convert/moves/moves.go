// Package moves describes what a conversion does to the elements of tensors: which tensors the
// destination has, and which elements of the source fill them. A List says it as a value. Package
// transfer executes a List; package proof checks a written checkpoint against one.
package moves

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"sort"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// List is the tensors of a destination and the moves that fill them, each element exactly once. It
// is not changed after it was made.
type List struct {
	Dests []Dest // in the order in which the destination lists them
	Moves []Move // in the order of the Dests that they fill
}

// Finder returns a function that returns the index of the Dest of a name, -1 if there is none. Of several it is the last.
func (l List) Finder() func(name string) int {
	names := tensor.IndexNames(len(l.Dests), func(i int) string { return l.Dests[i].Name })
	return func(name string) int {
		found := names.Of(name)
		if len(found) == 0 {
			return -1
		}
		return int(found[len(found)-1])
	}
}

// SourceFinder returns a function that returns the index of the first move from a source, -1 if there is none.
func (l List) SourceFinder() func(t *tensor.Tensor) int {
	order := make([]int32, len(l.Moves)) // by name; a tensor.NameIndex would look at all moves from a source, which may be very many
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return strings.Compare(l.Moves[a].Source.Name, l.Moves[b].Source.Name) })
	return func(t *tensor.Tensor) int {
		first := sort.Search(len(order), func(k int) bool { return l.Moves[order[k]].Source.Name >= t.Name })
		for _, i := range order[first:] {
			switch m := &l.Moves[i]; {
			case m.Source == t:
				return int(i)
			case m.Source.Name != t.Name:
				return -1
			}
		}
		return -1
	}
}

// MovesOf returns the moves that fill a Dest.
func (l List) MovesOf(dest int) []Move {
	first, end := l.RangeOf(dest)
	return l.Moves[first:end]
}

// RangeOf returns the indexes of the first of the moves that fill a Dest, and of the move after the last.
func (l List) RangeOf(dest int) (first, end int) {
	first = sort.Search(len(l.Moves), func(k int) bool { return l.Moves[k].Dest >= dest })
	end = first
	for end < len(l.Moves) && l.Moves[end].Dest == dest {
		end++
	}
	return first, end
}

// Sources returns the tensors that are moved, each once, in the order of their first moves.
func (l List) Sources() []*tensor.Tensor {
	var all []*tensor.Tensor
	seen := map[*tensor.Tensor]bool{}
	for _, m := range l.Moves {
		if !seen[m.Source] {
			seen[m.Source] = true
			all = append(all, m.Source)
		}
	}
	return all
}

// Copied returns the sources that become a Dest as they are, whole and unchanged, and the index of
// that Dest. Source and Dest have the same digest. A source may be copied several times.
func (l List) Copied() iter.Seq2[*tensor.Tensor, int] {
	return func(yield func(*tensor.Tensor, int) bool) {
		for i := range l.Moves {
			m := &l.Moves[i]
			d, elements := &l.Dests[m.Dest], m.Source.Elements()
			if m.View.IsRowMajor() && m.View.Elements() == elements && m.Divide == 0 && m.Source.DType == d.DType && d.Elements() == elements && !yield(m.Source, m.Dest) {
				return
			}
		}
	}
}

// Check reports a list that cannot be executed: a move whose view does not lie within its source, or
// a Dest that the moves do not fill exactly once.
func (l List) Check() error {
	for i := range l.Moves {
		m := &l.Moves[i]
		if m.Dest < 0 || m.Dest >= len(l.Dests) {
			return fmt.Errorf("plan moves %s to a destination that it does not have", m.Source.Name)
		}
		if i > 0 && m.Dest < l.Moves[i-1].Dest {
			return fmt.Errorf("plan is not in the order of its destinations: %s", m.Source.Name)
		}
		if err := tensor.CheckView(m.View, m.Source.Elements()); err != nil {
			return fmt.Errorf("plan for %s: %v", m.Source.Name, err)
		}
	}
	rest := l.Moves
	for i := range l.Dests {
		n := 0
		for n < len(rest) && rest[n].Dest == i {
			n++
		}
		if err := checkFilled(&l.Dests[i], rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// checkFilled reports moves that leave out a part of a Dest or fill a part twice.
func checkFilled(d *Dest, filling []Move) error {
	if len(filling) > 1 {
		filling = slices.SortedStableFunc(slices.Values(filling), func(a, b Move) int { return cmp.Compare(a.Offset, b.Offset) })
	}
	filled := int64(0)
	for i := range filling {
		m := &filling[i]
		if m.Offset != filled {
			return fmt.Errorf("plan fills elements %d to %d of %s not just once", min(filled, m.Offset), max(filled, m.Offset), d.Name)
		}
		filled += m.View.Elements()
	}
	elements, _, err := tensor.SizeOf(d.DType, d.Shape)
	if err != nil {
		return err
	}
	if filled != elements {
		return fmt.Errorf("plan fills %d of the %d elements of %s", filled, elements, d.Name)
	}
	return nil
}

// Dest is one tensor of the destination.
type Dest struct {
	Name  string
	DType tensor.DType
	Shape []int64
	Rule  string // what was done to the source, for people and conversion.json: "copy", "transpose", …
}

// Elements returns the number of the tensor's elements.
func (d *Dest) Elements() int64 { return (&tensor.Tensor{Shape: d.Shape}).Elements() }

// Move fills consecutive elements of one Dest from one source tensor.
type Move struct {
	Source *tensor.Tensor
	View   tensor.View // which of Source's row-major elements, in which order
	Dest   int         // index into List.Dests
	Offset int64       // first element of the Dest that the move fills, in row-major order

	// Divide, if not 0, divides each element before it is rounded, once, to the dtype of the Dest. It
	// is a positive number that float32 holds exactly.
	Divide float64
}

// IsBytewise reports whether the move copies a whole tensor of a packed type, byte by byte. Two elements of a packed type
// may lie in one byte, so only whole tensors of such a type can be moved.
func (m *Move) IsBytewise(to tensor.DType) bool {
	return m.Source.DType == to && to.Bits() > 0 && to.Size() == 0 && m.Offset == 0 && m.Divide == 0 &&
		m.View.IsRowMajor() && m.View.Offset == 0 && m.View.Elements() == m.Source.Elements()
}

// Cast returns the function that converts source elements to the dtype of the Dest, dividing them if
// the move divides. It is nil if elements are copied unchanged.
func (m *Move) Cast(to tensor.DType) (tensor.Divide, error) {
	if m.Divide != 0 {
		return tensor.NewDivide(m.Source.DType, to, m.Divide)
	}
	if m.Source.DType == to {
		return nil, nil
	}
	cast, err := tensor.NewCast(m.Source.DType, to)
	if err != nil {
		return nil, err
	}
	return func(dst, src []byte) (overflowed, inexact int64) { return cast(dst, src), 0 }, nil
}
