package reference

import (
	"fmt"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// Snapshot is the content of a State of one row, in a form that can be saved.
type Snapshot struct {
	Tokens        int   // tokens seen
	Position      int32 // of the last of them
	DocumentStart int   // first token of the current document for attention
	Arrays        []StateArray
}

// StateArray is one array of a Snapshot. The elements are in Float64 if the model computes in float64, otherwise
// in Float32. The names and shapes for block i are
//
//	h.i       [lru width]       state of the RG-LRU
//	conv.i    [3, lru width]    last inputs of the convolution, oldest first: as many as it has taps but one
//	keys.i    [n, head dim]     rotated keys of the last n tokens, oldest first; of all heads of keys and values
//	values.i  [n, head dim]     values of these
//
// where n is the number of tokens seen, at most as many as attention can see before a token.
type StateArray struct {
	Name    string
	Shape   []int
	Float32 []float32
	Float64 []float64
}

// Snapshot returns a copy of the state, which must be of one row.
func (s *State) Snapshot() (*Snapshot, error) {
	if len(s.rows) != 1 {
		return nil, fmt.Errorf("the state has %d rows, want 1", len(s.rows))
	}
	r := s.rows[0]
	out := &Snapshot{Tokens: r.tokens, Position: r.position, DocumentStart: r.documentStart}
	if s.float64 != nil {
		for _, a := range arrays(s.float64, r.tokens) {
			out.Arrays = append(out.Arrays, StateArray{Name: a.name, Shape: a.shape, Float64: a.elements()})
		}
		return out, nil
	}
	for _, a := range arrays(s.float32, r.tokens) {
		out.Arrays = append(out.Arrays, StateArray{Name: a.name, Shape: a.shape, Float32: a.elements()})
	}
	return out, nil
}

// Restore returns the state that a snapshot holds. It returns an error if the snapshot is of another model or
// precision.
func (m *Model) Restore(s *Snapshot) (*State, error) {
	if s.Tokens < 0 || s.Tokens > math.MaxInt32 || s.Position < 0 || s.DocumentStart < 0 || s.DocumentStart > s.Tokens {
		return nil, fmt.Errorf("%d tokens with the last at position %d and a document from token %d on", s.Tokens, s.Position, s.DocumentStart)
	}
	state := m.NewState(1)
	state.rows[0] = row{tokens: s.Tokens, position: s.Position, documentStart: s.DocumentStart}
	if state.float64 != nil {
		return state, restore(state.float64, s, func(a *StateArray) []float64 { return a.Float64 })
	}
	return state, restore(state.float32, s, func(a *StateArray) []float32 { return a.Float32 })
}

// restore copies the arrays of a snapshot into the states of the blocks.
func restore[T kernel.Float](blocks []blockState[T], s *Snapshot, elements func(*StateArray) []T) error {
	given := make(map[string]*StateArray, len(s.Arrays))
	for i := range s.Arrays {
		given[s.Arrays[i].Name] = &s.Arrays[i]
	}
	want := arrays(blocks, s.Tokens)
	if len(given) != len(want) || len(s.Arrays) != len(want) {
		return fmt.Errorf("the snapshot has %d arrays, want %d", len(s.Arrays), len(want))
	}
	for _, a := range want {
		g := given[a.name]
		if g == nil {
			return fmt.Errorf("the snapshot has no array %s", a.name)
		}
		x := elements(g)
		n := 1
		for _, d := range a.shape {
			n *= d
		}
		if !slices.Equal(g.Shape, a.shape) || len(x) != n {
			return fmt.Errorf("array %s has shape %v and %d elements, want %v", a.name, g.Shape, len(x), a.shape)
		}
		a.set(x)
	}
	return nil
}

// stateArray gives access to one array of the state of a row that has seen some tokens.
type stateArray[T kernel.Float] struct {
	name  string
	shape []int
	flat  []T      // the array itself, or
	ring  *ring[T] // the last shape[0] of seen vectors
	seen  int
}

// arrays lists the arrays of the first row of all blocks.
func arrays[T kernel.Float](blocks []blockState[T], seen int) []stateArray[T] {
	var out []stateArray[T]
	for i := range blocks {
		b := &blocks[i]
		if b.h != nil {
			out = append(out, stateArray[T]{name: fmt.Sprintf("h.%d", i), shape: []int{len(b.h)}, flat: b.h},
				stateArray[T]{name: fmt.Sprintf("conv.%d", i), shape: []int{len(b.tail) / len(b.h), len(b.h)}, flat: b.tail})
		}
		if b.keys != nil {
			for _, r := range []struct {
				name string
				ring *ring[T]
			}{{"keys", &b.keys[0]}, {"values", &b.values[0]}} {
				out = append(out, stateArray[T]{name: fmt.Sprintf("%s.%d", r.name, i), shape: []int{r.ring.held(seen), r.ring.width}, ring: r.ring, seen: seen})
			}
		}
	}
	return out
}

// elements returns a copy of the elements.
func (a *stateArray[T]) elements() []T {
	if a.ring == nil {
		return slices.Clone(a.flat)
	}
	out := make([]T, 0, a.shape[0]*a.shape[1])
	for i := a.seen - a.shape[0]; i < a.seen; i++ {
		out = append(out, a.ring.slot(i)...)
	}
	return out
}

// set copies elements into the array.
func (a *stateArray[T]) set(x []T) {
	if a.ring == nil {
		copy(a.flat, x)
		return
	}
	if a.shape[0] > 0 {
		a.ring.grow(a.seen)
	}
	for i := range a.shape[0] {
		copy(a.ring.slot(a.seen-a.shape[0]+i), x[i*a.shape[1]:])
	}
}
