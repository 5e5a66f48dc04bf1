package convert

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Sample returns what a plan puts at single elements of p.Dests[dest], given by their row-major
// index. A source that is compressed is read once for it.
func (p *Plan) Sample(dest int, at []int64) ([][]byte, error) {
	elements := make([][]byte, len(at))
	for i := range p.Moves {
		if m := &p.Moves[i]; m.Dest == dest {
			err := sample(m, at, elements)
			if err == nil {
				err = convertSample(m, p.Dests[dest].DType, at, elements)
			}
			if err != nil {
				return nil, of(m.Source.Name, err)
			}
		}
	}
	for k := range elements {
		if elements[k] == nil {
			return nil, fmt.Errorf("plan does not fill element %d of %s", at[k], p.Dests[dest].Name)
		}
	}
	return elements, nil
}

// convertSample gives the elements that the move fills what the destination has of them.
func convertSample(m *Move, to tensor.DType, at []int64, elements [][]byte) error {
	cast, err := m.Cast(to)
	if err != nil || cast == nil {
		return err
	}
	for k, element := range at {
		if element >= m.Offset && element < m.Offset+m.View.Elements() {
			made := make([]byte, to.Size())
			cast(made, elements[k])
			elements[k] = made
		}
	}
	return nil
}

// sample fills in the elements that the move fills, as the source has them.
func sample(m *Move, at []int64, elements [][]byte) error {
	type wanted struct {
		from int64 // element of the source
		k    int
	}
	var all []wanted
	n := m.View.Elements()
	for k, element := range at {
		if element >= m.Offset && element < m.Offset+n {
			all = append(all, wanted{m.View.Offset + dot(tensor.Unravel(element-m.Offset, m.View.Shape), m.View.Strides), k})
		}
	}
	size := m.Source.DType.Size()
	lay, ok, err := tensor.Layout(m.Source)
	if err != nil {
		return err
	}
	if ok {
		for _, w := range all {
			one := lay.View
			for axis, index := range tensor.Unravel(w.from, m.Source.Shape) {
				one = one.Narrow(axis, index, 1)
			}
			elements[w.k] = make([]byte, size)
			if err := lay.Gather(elements[w.k], one); err != nil {
				return err
			}
		}
		return nil
	}
	slices.SortFunc(all, func(a, b wanted) int { return cmp.Compare(a.from, b.from) })
	stream := tensor.NewCursor(m.Source)
	defer stream.Close()
	for i, w := range all {
		if i > 0 && w.from == all[i-1].from {
			elements[w.k] = elements[all[i-1].k]
			continue
		}
		elements[w.k] = make([]byte, size)
		if _, err := stream.ReadAt(elements[w.k], w.from*size); err != nil {
			return err
		}
	}
	return nil
}

func dot(index, strides []int64) int64 {
	n := int64(0)
	for k, i := range index {
		n += i * strides[k]
	}
	return n
}
