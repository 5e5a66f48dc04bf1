package convert

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Sample returns what a plan puts at single elements of p.Dests[dest], given by their row-major
// index, in the dtype of the source. It reports false where the source cannot be read element by
// element (because it is compressed).
func (p *Plan) Sample(dest int, at []int64) (elements [][]byte, ok bool, err error) {
	elements = make([][]byte, len(at))
	for i := range p.Moves {
		m := &p.Moves[i]
		if m.Dest != dest {
			continue
		}
		lay, ok, err := tensor.Layout(m.Source)
		if !ok || err != nil {
			return nil, false, err
		}
		n := m.View.Elements()
		for k, element := range at {
			if element < m.Offset || element >= m.Offset+n {
				continue
			}
			// The element of the source, and then its place in the store.
			from := m.View.Offset + dot(unravel(element-m.Offset, m.View.Shape), m.View.Strides)
			one := lay.View
			for axis, index := range unravel(from, m.Source.Shape) {
				one = one.Narrow(axis, index, 1)
			}
			elements[k] = make([]byte, m.Source.DType.Size())
			if err := lay.Gather(elements[k], one); err != nil {
				return nil, false, of(m.Source.Name, err)
			}
		}
	}
	for k := range elements {
		if elements[k] == nil {
			return nil, false, fmt.Errorf("plan does not fill element %d of %s", at[k], p.Dests[dest].Name)
		}
	}
	return elements, true, nil
}

func dot(index, strides []int64) int64 {
	n := int64(0)
	for k, i := range index {
		n += i * strides[k]
	}
	return n
}
