package tensor

import (
	"slices"
	"testing"
)

func TestShapes(t *testing.T) {
	var s Shapes
	own := []int64{2, 3}
	first, before := s.Shared(own)
	if own[0] = 7; before || !slices.Equal(first, []int64{2, 3}) {
		t.Errorf("first %v, before %v", first, before)
	}
	if again, before := s.Shared([]int64{2, 3}); !before || &again[0] != &first[0] {
		t.Errorf("the same shape again: %v, before %v", again, before)
	}
	for _, other := range [][]int64{{3, 2}, {2}, {2, 3, 0}, {}, nil} {
		if shape, _ := s.Shared(other); !slices.Equal(shape, other) || shape == nil {
			t.Errorf("%v became %#v", other, shape)
		}
	}
}
