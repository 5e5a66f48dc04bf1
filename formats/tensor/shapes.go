package tensor

import (
	"encoding/binary"
	"slices"
)

// Shapes has one copy of each shape, since most tensors of a model share few. The zero value is empty.
type Shapes struct{ known map[string][]int64 }

// Shared returns the copy of a shape, and whether there was one before. Callers do not change it. An empty shape is not nil.
func (s *Shapes) Shared(of []int64) (shape []int64, before bool) {
	key := make([]byte, 0, 256)
	for _, n := range of {
		key = binary.LittleEndian.AppendUint64(key, uint64(n))
	}
	if shape, before = s.known[string(key)]; before {
		return shape, true
	}
	if s.known == nil {
		s.known = map[string][]int64{}
	}
	shape = slices.Clip(append([]int64{}, of...))
	s.known[string(key)] = shape
	return shape, false
}
