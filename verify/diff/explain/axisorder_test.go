package explain

import (
	"fmt"
	"slices"
	"testing"
)

// An order of indices is described by the simplest rule that it follows, or listed.
func TestDescribeOrder(t *testing.T) {
	for _, tt := range []struct {
		table []int32
		want  string
	}{
		{[]int32{4, 0, 1, 2, 3}, "indices rolled by 1"},
		{[]int32{3, 4, 0, 1, 2}, "indices rolled by 2"},
		{[]int32{2, 3, 4, 0, 1}, "indices rolled by -2"},
		{[]int32{1, 2, 3, 4, 0}, "indices rolled by -1"},
		{[]int32{3, 4, 5, 0, 1, 2}, "halves exchanged"},
		{[]int32{0, 3, 1, 4, 2, 5}, "taken as [2, 3] and transposed"},
		{[]int32{0, 2, 4, 1, 3, 5}, "taken as [3, 2] and transposed"},
		{[]int32{0, 2, 1, 3}, "taken as [2, 2] and transposed"},
		{[]int32{0, 3, 2, 1}, "indices 1 and 3 exchanged"},
		{[]int32{0, 1, 2, 4, 3}, "indices 3 and 4 exchanged"},
		{[]int32{1, 0, 3, 2}, "in each of 2 blocks of 2, halves exchanged"},
		{[]int32{2, 1, 0, 5, 4, 3}, "in each of 2 blocks of 3, indices reversed"},
		{[]int32{1, 2, 0, 4, 5, 3, 7, 8, 6}, "in each of 3 blocks of 3, indices rolled by -1"},
		{[]int32{0, 2, 1, 3, 4, 6, 5, 7}, "in each of 2 blocks of 4, taken as [2, 2] and transposed"},
		{[]int32{2, 3, 0, 1, 4, 5}, "3 blocks of 2, blocks 0 and 1 exchanged"},
		{[]int32{4, 5, 2, 3, 0, 1}, "3 blocks of 2, blocks reversed"},
		{[]int32{0, 1, 4, 5, 2, 3, 6, 7}, "4 blocks of 2, taken as [2, 2] and transposed"},
		{[]int32{4, 5, 0, 1, 6, 7, 2, 3}, "4 blocks of 2, 4 of 4 blocks in another order: 2, 0, 3, 1"},
		{[]int32{1, 0, 3, 2, 5, 4, 6, 7}, "6 of 8 indices in another order: 1, 0, 3, 2, 5, 4, 6, 7"}, // not in the last block
		{[]int32{3, 0, 7, 1, 5, 2, 6, 4}, "7 of 8 indices in another order: 3, 0, 7, 1, 5, 2, 6, 4"},
		{[]int32{3, 0, 7, 1, 8, 2, 5, 4, 6}, "9 of 9 indices in another order: 3, 0, 7, 1, 8, 2, 5, 4, …"},
	} {
		if got := describeOrder(tt.table); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.table, got, tt.want)
		}
	}
}

func TestExplanationOfAnAxis(t *testing.T) {
	for _, tt := range []struct {
		o    axisOrder
		want string
	}{
		{axisOrder{n: 2, reversed: true}, "reversed (along axis 1 (its two indices exchanged))"},
		{axisOrder{n: 3, reversed: true}, "reversed (along axis 1)"},
		{axisOrder{n: 3, table: []int32{2, 1, 0}}, "reversed (along axis 1)"},
		{axisOrder{n: 3, table: []int32{2, 0, 1}}, "block_permuted (axis 1: indices rolled by 1)"},
		{axisOrder{n: 1, table: []int32{0}}, "block_permuted (axis 1: indices rolled by 0)"},
	} {
		e := tt.o.explanation(1)
		if got := oneLine(&e); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.o, got, tt.want)
		}
	}
	for n, want := range []bool{false, false, true, true} {
		down := []int32{2, 1, 0}[3-n:]
		if isReversed(down) != want {
			t.Errorf("%v: %t", down, !want)
		}
	}
}

// Indices are matched by their digests, each of them once.
func TestMatchAxis(t *testing.T) {
	for _, tt := range []struct {
		a, b []uint64
		want []int64 // nil if they are not the same
	}{
		{nil, nil, nil},
		{[]uint64{1}, []uint64{1, 2}, nil},
		{[]uint64{1, 2}, []uint64{1}, nil},
		{[]uint64{1, 2, 3}, []uint64{1, 2, 4}, nil},
		{[]uint64{1, 1, 2}, []uint64{1, 2, 2}, nil},
		{[]uint64{1, 2, 3}, []uint64{1, 2, 3}, []int64{0, 1, 2}},
		{[]uint64{1, 2, 3, 4}, []uint64{4, 3, 2, 1}, []int64{3, 2, 1, 0}},
		{[]uint64{1, 2, 3, 4}, []uint64{3, 4, 1, 2}, []int64{2, 3, 0, 1}},
		{[]uint64{7, 7, 1, 7}, []uint64{7, 7, 7, 1}, []int64{3, 0, 1, 2}}, // rolled, though most are equal
		{[]uint64{5, 1, 5, 2}, []uint64{1, 5, 2, 5}, []int64{1, 2, 3, 0}},
		{[]uint64{1, 5, 2, 5, 3}, []uint64{3, 5, 1, 5, 2}, []int64{4, 1, 0, 3, 2}}, // those that can stay do
	} {
		o, ok := matchAxis(tt.a, tt.b)
		var got []int64
		for i := range tt.b {
			if ok {
				got = append(got, o.at(int64(i)))
			}
		}
		if ok != (tt.want != nil) || !slices.Equal(got, tt.want) {
			t.Errorf("%v to %v: %v, %t; want %v", tt.a, tt.b, got, ok, tt.want)
		}
		for i := range got {
			if back := o.inverse().at(got[i]); back != int64(i) {
				t.Errorf("%v: the inverse at %d is %d", tt.a, got[i], back)
			}
		}
	}
}

// Up to five axes, all orders are tried, and of more only that of the tensor.
func TestPermutations(t *testing.T) {
	for n, want := range []int{1, 1, 2, 6, 24, 120, 1, 1} {
		seen := map[string]bool{}
		first := ""
		permutations(n, func(axes []int) {
			if seen[fmt.Sprint(axes)] = true; first == "" {
				first = fmt.Sprint(axes)
			}
			if sorted := slices.Sorted(slices.Values(axes)); len(sorted) != n || n > 0 && (sorted[0] != 0 || sorted[n-1] != n-1) {
				t.Errorf("%v", axes)
			}
		})
		if axes := []int{0, 1, 2, 3, 4, 5, 6, 7}[:n]; len(seen) != want || first != fmt.Sprint(axes) {
			t.Errorf("%d axes: %d orders, first %s", n, len(seen), first)
		}
	}
}

// Axes are named by their numbers in A.
func TestPermutationWords(t *testing.T) {
	for _, tt := range []struct {
		a, b []int64
		axes []int
		want string
	}{
		{[]int64{2, 3}, []int64{3, 2}, []int{1, 0}, "transposed"},
		{[]int64{2, 3}, nil, []int{1, 0}, "transposed"},
		{[]int64{2, 3}, []int64{3, 1, 2}, []int{1, 0}, "permuted_axes (axes 1, 0 of [2, 3], as [3, 1, 2])"},
		{[]int64{2, 1, 3}, []int64{3, 2}, []int{1, 0}, "permuted_axes (axes 2, 0 of [2, 1, 3], as [3, 2])"},
		{[]int64{2, 1, 3}, []int64{1, 3, 2}, []int{1, 0}, "permuted_axes (axes 1, 2, 0)"},
		{[]int64{2, 1, 3, 1}, []int64{3, 1, 1, 2}, []int{1, 0}, "permuted_axes (axes 2, 1, 3, 0)"},
		{[]int64{2, 3, 4}, nil, []int{2, 0, 1}, "permuted_axes (axes 2, 0, 1)"},
	} {
		e := permutation(tt.a, tt.b, tt.axes)
		if got := oneLine(&e); got != tt.want {
			t.Errorf("%v to %v: %s, want %s", tt.a, tt.b, got, tt.want)
		}
	}
	for want, shapes := range map[string][2][]int64{"added": {{2}, {2, 1}}, "removed": {{2, 1}, {2}}, "moved": {{2, 1}, {1, 2}}} {
		if got := unitAxes(shapes[0], shapes[1]); got != "(only axes of length 1 were "+want+")" {
			t.Errorf("%v: %s", shapes, got)
		}
	}
}
