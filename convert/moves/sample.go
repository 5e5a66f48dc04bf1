package moves

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Sample returns what the list puts at single elements of Dests[dest], given by their row-major
// index. A source that has to be decoded is read once for it.
func (l List) Sample(dest int, elements []int64) ([][]byte, error) {
	sampled := make([][]byte, len(elements))
	for i := range l.Moves {
		if m := &l.Moves[i]; m.Dest == dest {
			if err := m.sample(l.Dests[dest].DType, elements, sampled); err != nil {
				return nil, tensor.Annotate(err, tensor.Location{Tensor: m.Source.Name})
			}
		}
	}
	for k, element := range elements {
		if sampled[k] == nil {
			return nil, fmt.Errorf("plan does not fill element %d of %s", element, l.Dests[dest].Name)
		}
	}
	return sampled, nil
}

// sample sets sampled[k] for the elements[k] that the move fills, converted to a dtype.
func (m *Move) sample(to tensor.DType, elements []int64, sampled [][]byte) error {
	cast, err := m.Cast(to)
	if err != nil {
		return err
	}
	type wanted struct {
		element int64 // of the source
		k       int
	}
	var all []wanted
	for k, element := range elements {
		if i := element - m.Offset; i >= 0 && i < m.View.Elements() {
			all = append(all, wanted{m.View.At(tensor.Unravel(i, m.View.Shape)), k})
		}
	}
	slices.SortFunc(all, func(a, b wanted) int { return cmp.Compare(a.element, b.element) })
	read, done, err := m.elementReader()
	if err != nil {
		return err
	}
	defer done()
	for i, w := range all {
		if i > 0 && w.element == all[i-1].element {
			sampled[w.k] = sampled[all[i-1].k]
			continue
		}
		p := make([]byte, m.Source.DType.Size())
		if err := read(p, w.element); err != nil {
			return err
		}
		if cast != nil {
			stored := p
			p = make([]byte, to.Size())
			cast(p, stored)
		}
		sampled[w.k] = p
	}
	return nil
}

// elementReader returns a function that reads single elements of the source, and one to call after
// the last.
func (m *Move) elementReader() (read func(p []byte, element int64) error, done func() error, err error) {
	s, ok, err := tensor.Layout(m.Source)
	if err != nil {
		return nil, nil, err
	}
	if ok {
		read = func(p []byte, element int64) error {
			at := s.View.At(tensor.Unravel(element, m.Source.Shape))
			return s.Gather(p, tensor.View{Offset: at})
		}
		return read, func() error { return nil }, nil
	}
	c := tensor.NewCursor(m.Source)
	read = func(p []byte, element int64) error {
		_, err := c.ReadAt(p, element*int64(len(p)))
		return err
	}
	return read, c.Close, nil
}
