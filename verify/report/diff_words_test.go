package report

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// tensorsOf returns one tensor for each layer; how sets what differs.
func tensorsOf(layers int, name string, shape []int64, how func(layer int, t *diff.TensorDiff)) []diff.TensorDiff {
	var out []diff.TensorDiff
	for i := range layers {
		t := diff.TensorDiff{Name: fmt.Sprintf("layers.%d.%s", i, name), Status: diff.Equal, DType: "float32", Shape: shape, Elements: 4}
		how(i, &t)
		out = append(out, t)
	}
	return out
}

func differs(t *diff.TensorDiff, distance float64, e *explain.Explanation) {
	t.Status, t.Metrics, t.Explanation = diff.Differs, &diff.Metrics{Differing: 1, RelativeL2: diff.Number(distance)}, e
}

func TestWhatWasDone(t *testing.T) {
	matrix, vector := []int64{2, 2}, []int64{4}
	for want, tensors := range map[string][]diff.TensorDiff{
		"": tensorsOf(3, "w", matrix, func(int, *diff.TensorDiff) {}),
		"Layers 2 to 9 moved most; 13 matrices changed by rank 2.": append(
			tensorsOf(26, "w", matrix, func(i int, t *diff.TensorDiff) {
				differs(t, map[bool]float64{true: 0.1, false: 0.001}[i >= 2 && i <= 9], nil)
			}),
			tensorsOf(26, "q", matrix, func(i int, t *diff.TensorDiff) {
				if i < 13 {
					differs(t, 0.5, &explain.Explanation{Kind: explain.LowRank, Rank: 2})
				}
			})...),
		"Only layers 2 to 9 moved.": tensorsOf(26, "w", matrix, func(i int, t *diff.TensorDiff) {
			if i >= 2 && i <= 9 {
				differs(t, 0.1, nil)
			}
		}),
		"Only layer 3 moved.": tensorsOf(26, "w", matrix, func(i int, t *diff.TensorDiff) {
			if i == 3 {
				differs(t, math.Inf(1), nil)
			}
		}),
		"2 tensors have other values, in layers 3, 4; 2 vectors swapped between layers 0 and 1; 1 tensor has NaN or infinities.": tensorsOf(26, "w", vector, func(i int, t *diff.TensorDiff) {
			switch {
			case i < 2:
				differs(t, 0.1, &explain.Explanation{Kind: explain.Swapped, With: fmt.Sprintf("layers.%d.w", 1-i)})
			case i < 5 && i > 2:
				differs(t, 0.1, nil)
			}
		}),
		"26 tensors have other values, all 26 layers about equally far.": tensorsOf(26, "w", matrix, func(i int, t *diff.TensorDiff) { differs(t, 0.1+float64(i)/1000, nil) }),
		"18 vectors scaled by several factors; 8 vectors scaled by -1.": tensorsOf(26, "w", vector, func(i int, t *diff.TensorDiff) {
			factor := fmt.Sprintf("by %d", i)
			if i < 8 {
				factor = "by -1"
			}
			differs(t, 0.1, &explain.Explanation{Kind: explain.Scaled, Detail: factor})
		}),
		"2 tensors became bfloat16 instead of float32; 1 tensor has another shape; 1 tensor was renamed; 1 tensor is only in A; 2 tensors are only in B; 1 config field differs.": tensorsOf(7, "w", vector, func(i int, t *diff.TensorDiff) {
			t.Status = []diff.Status{diff.DType, diff.DType, diff.Shape, diff.Equal, diff.OnlyA, diff.OnlyB, diff.OnlyB}[i]
			if t.Renamed = i == 3; i < 2 {
				t.DTypeB = "bfloat16"
			}
		}),
		"1 matrix swapped with another.": tensorsOf(1, "w", matrix, func(i int, t *diff.TensorDiff) {
			differs(t, 0.1, &explain.Explanation{Kind: explain.Swapped, With: "<b>"})
		}),
	} {
		r := &diff.Result{Tensors: tensors}
		for _, x := range tensors {
			r.Summary.OnlyA += map[bool]int{true: 1}[x.Status == diff.OnlyA]
			r.Summary.OnlyB += map[bool]int{true: 1}[x.Status == diff.OnlyB]
		}
		if strings.Contains(want, "NaN") {
			r.Summary.NonFinite = 1
		}
		if strings.Contains(want, "config field") {
			r.Summary.Config = 1
		}
		if got := whatWasDone(r); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

func TestCounted(t *testing.T) {
	beyond := int64(1)
	r := &diff.Result{Tolerance: "abs=1", Summary: diff.Summary{Tensors: 12, Differ: 1, OnlyB: 2, Equal: 9, Renamed: 1, Differing: 1200, Beyond: &beyond}}
	want := "Of 12 tensors, 1 has other values, 2 are only in B, 1 was renamed, 8 are equal. Of 1,200 elements that differ bitwise, 1 is beyond abs=1."
	if got := counted(r); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
