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

func TestSizeString(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.00 kB", 5_365_724_160: "5.37 GB", 2_718_848: "2.72 MB", 3e12: "3.00 TB"} {
		if got := SizeString(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
