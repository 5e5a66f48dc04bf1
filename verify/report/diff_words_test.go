package report

import (
	"fmt"
	"math"
	"slices"
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
		"13 matrices changed by rank 2; 26 other tensors have other values, farthest apart in layers 2 to 9.": append(
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
		"In 3 tensors, mlp was renamed to ffw; in 2 tensors, q was renamed to query.": append(
			tensorsOf(3, "mlp.w", matrix, func(i int, t *diff.TensorDiff) { t.Renamed, t.B = true, fmt.Sprintf("layers.%d.ffw.w", i) }),
			tensorsOf(2, "q.w", matrix, func(i int, t *diff.TensorDiff) { t.Renamed, t.B = true, fmt.Sprintf("layers.%d.query.w", i) })...),
		"4 tensors were renamed.": append(
			tensorsOf(3, "mlp.w", matrix, func(i int, t *diff.TensorDiff) { t.Renamed, t.B = true, fmt.Sprintf("layers.%d.ffw.w", i) }),
			tensorsOf(1, "q.w", matrix, func(i int, t *diff.TensorDiff) { t.Renamed, t.B = true, "head" })...),
		"3 tensors have other values, in all 3 layers to a similar extent; layer 3 is only in A.": append(
			tensorsOf(3, "w", matrix, func(_ int, t *diff.TensorDiff) { differs(t, 0.1, nil) }),
			func() (out []diff.TensorDiff) {
				for _, name := range []string{"a", "b", "c", "d"} {
					out = append(out, diff.TensorDiff{Name: "layers.3." + name, Status: diff.OnlyA})
				}
				return out
			}()...),
		"2 tensors have other values, in both layers to a similar extent.": tensorsOf(2, "w", matrix, func(_ int, t *diff.TensorDiff) { differs(t, 0.1, nil) }),
		"Only layer 3 moved.": tensorsOf(26, "w", matrix, func(i int, t *diff.TensorDiff) {
			if i == 3 {
				differs(t, math.Inf(1), nil)
			}
		}),
		"4 tensors have other values, in both layers; 1 of the tensors that differ has NaN or infinities.": append(tensorsOf(2, "w", matrix, func(i int, t *diff.TensorDiff) { differs(t, 0.1, nil) }),
			tensorsOf(2, "v", matrix, func(i int, t *diff.TensorDiff) { differs(t, []float64{0.1, math.NaN()}[i], nil) })...),
		"2 vectors swapped between layers 0 and 1; 2 other tensors have other values, in layers 3, 4; 1 of the tensors that differ has NaN or infinities.": tensorsOf(26, "w", vector, func(i int, t *diff.TensorDiff) {
			switch {
			case i < 2:
				differs(t, 0.1, &explain.Explanation{Kind: explain.Swapped, With: fmt.Sprintf("layers.%d.w", 1-i)})
			case i < 5 && i > 2:
				differs(t, 0.1, nil)
			}
		}),
		"26 tensors have other values, in all 26 layers to a similar extent.": tensorsOf(26, "w", matrix, func(i int, t *diff.TensorDiff) { differs(t, 0.1+float64(i)/1000, nil) }),
		"18 vectors scaled by several factors; 8 vectors scaled by -1.": tensorsOf(26, "w", vector, func(i int, t *diff.TensorDiff) {
			factor := fmt.Sprintf("by %d", i)
			if i < 8 {
				factor = "by -1"
			}
			differs(t, 0.1, &explain.Explanation{Kind: explain.Scaled, Detail: factor})
		}),
		"8 vectors scaled by 0.9; 4 vectors scaled by 0.9, then changed in several ways.": tensorsOf(12, "w", vector, func(i int, t *diff.TensorDiff) {
			e := explain.Explanation{Kind: explain.Scaled, Detail: "by 0.9"}
			if i > 7 {
				e.Then = &explain.Explanation{Kind: explain.Rounded, Detail: fmt.Sprint("to type ", i)}
			}
			differs(t, 0.1, &e)
		}),
		"0.5 was added to 4 vectors, which were then changed in several ways.": tensorsOf(4, "w", vector, func(i int, t *diff.TensorDiff) {
			differs(t, 0.1, &explain.Explanation{Kind: explain.Added, Detail: "0.5", Then: &explain.Explanation{Kind: explain.Rounded, Detail: fmt.Sprint("to type ", i)}})
		}),
		"1 tensor has another shape; 2 tensors became bfloat16 instead of float32; 1 tensor was renamed; 1 tensor is only in A; 2 tensors are only in B; config field x is 1 in A and 2 in B.": tensorsOf(7, "w", vector, func(i int, t *diff.TensorDiff) {
			t.Status = []diff.Status{diff.DType, diff.DType, diff.Shape, diff.Equal, diff.OnlyA, diff.OnlyB, diff.OnlyB}[i]
			if t.Renamed = i == 3; i < 2 {
				t.DTypeB = "bfloat16"
			}
		}),
		// The layers of the rest are named by their kind.
		"2 matrices changed by rank 2; 2 other tensors have other values, in attention layers (2).": append(
			tensorsOf(6, "w", matrix, func(i int, t *diff.TensorDiff) {
				if i%3 == 2 {
					differs(t, 0.1, nil)
				}
			}),
			tensorsOf(6, "q", matrix, func(i int, t *diff.TensorDiff) {
				if i%3 == 2 {
					differs(t, 0.5, &explain.Explanation{Kind: explain.LowRank, Rank: 2})
				}
			})...),
		"1 matrix changed in 1 of 4 elements; it has NaN or infinities.": tensorsOf(3, "w", matrix, func(i int, t *diff.TensorDiff) {
			if i == 1 {
				differs(t, math.NaN(), &explain.Explanation{Kind: explain.Sparse, Changed: 1})
			}
		}),
		"1 matrix swapped with another.": tensorsOf(1, "w", matrix, func(i int, t *diff.TensorDiff) {
			differs(t, 0.1, &explain.Explanation{Kind: explain.Swapped, With: "<b>"})
		}),
	} {
		r := &diff.Result{Tensors: tensors}
		if strings.Contains(want, "attention") {
			r.A.BlockTypes = []string{"recurrent", "recurrent", "attention", "recurrent", "recurrent", "attention"}
			r.B.BlockTypes = r.A.BlockTypes
		}
		for _, x := range tensors {
			r.Summary.Differ += map[bool]int{true: 1}[x.Status == diff.Differs]
			r.Summary.OnlyA += map[bool]int{true: 1}[x.Status == diff.OnlyA]
			r.Summary.OnlyB += map[bool]int{true: 1}[x.Status == diff.OnlyB]
		}
		if strings.Contains(want, "NaN") {
			r.Summary.NonFinite = 1
		}
		if strings.Contains(want, "config field") {
			r.Config = []diff.ConfigDifference{{Field: "x", A: "1", B: "2"}}
		}
		if got := WhatWasDone(r); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// Layers that only one side has are named, and values that are all NaN, of which no distance says how far they moved.
func TestWhatOnlyOneSideHas(t *testing.T) {
	only := func(status diff.Status, layers ...int) func(layer int, t *diff.TensorDiff) {
		return func(layer int, t *diff.TensorDiff) {
			if slices.Contains(layers, layer) {
				t.Status = status
			}
		}
	}
	nan := func(a, b int64) func(layer int, t *diff.TensorDiff) {
		return func(_ int, t *diff.TensorDiff) {
			differs(t, math.NaN(), nil)
			t.Metrics.NaNA, t.Metrics.NaNB = a, b
		}
	}
	for want, how := range map[string]func(layer int, t *diff.TensorDiff){
		"Layers 3 to 5 are only in A; the other 29 tensors are equal.": only(diff.OnlyA, 3, 4, 5),
		"Layer 3 is only in B; the other 37 tensors are equal.":        only(diff.OnlyB, 3),
		"All layers (10) are only in A; the other 1 tensor is equal.":  only(diff.OnlyA, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
		"Layer 3 and 1 other tensor are only in A; the other 36 tensors are equal.": func(layer int, t *diff.TensorDiff) {
			only(diff.OnlyA, 3)(layer, t)
			if t.Name == "layers.5.w2" {
				t.Status = diff.OnlyA
			}
		},
		"Layer 3 is only in A; layer 4 is only in B; the other 33 tensors are equal.": func(layer int, t *diff.TensorDiff) {
			only(diff.OnlyA, 3)(layer, t)
			only(diff.OnlyB, 4)(layer, t)
		},
		"Only layer 5 moved; layer 3 is only in A.": func(layer int, t *diff.TensorDiff) {
			only(diff.OnlyA, 3)(layer, t)
			if layer == 5 {
				differs(t, 0.1, nil)
			}
		},
		"Every value of B is NaN in 40 tensors.": nan(0, 4),
		"Every value of A is NaN in 40 tensors.": nan(4, 0),
		"40 tensors have NaN or infinities.":     nan(0, 3),
		"40 tensors have NaN or infinities; every value of B is NaN in 4 of them.": func(layer int, t *diff.TensorDiff) {
			nan(0, map[bool]int64{true: 4, false: 1}[layer == 3])(layer, t)
		},
		"Only layers 3, 5 moved; every value of B is NaN in 4 tensors.": func(layer int, t *diff.TensorDiff) {
			switch layer {
			case 3:
				nan(0, 4)(layer, t)
			case 5:
				differs(t, 0.1, nil)
			}
		},
	} {
		r := &diff.Result{Tensors: []diff.TensorDiff{{Name: "embed", Status: diff.Equal, Elements: 4}}}
		for k := range 4 {
			r.Tensors = append(r.Tensors, tensorsOf(10, fmt.Sprintf("w%d", k), []int64{4}, how)...)
		}
		if strings.Contains(want, " NaN ") {
			r.Tensors = r.Tensors[1:]
		}
		r.Summary.Tensors = len(r.Tensors)
		for _, x := range r.Tensors {
			*map[diff.Status]*int{diff.OnlyA: &r.Summary.OnlyA, diff.OnlyB: &r.Summary.OnlyB, diff.Equal: &r.Summary.Equal, diff.Differs: &r.Summary.Differ}[x.Status]++
			if m := x.Metrics; m != nil && m.NaNA+m.NaNB > 0 {
				r.Summary.NonFinite++
			}
		}
		if got := WhatWasDone(r); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// A sentence that only counts tensors with other values would repeat the line of results.
func TestNothingToSay(t *testing.T) {
	r := &diff.Result{Tensors: tensorsOf(3, "w", []int64{2, 3}, func(_ int, t *diff.TensorDiff) { differs(t, 0.1, nil) })}
	for i := range r.Tensors {
		r.Tensors[i].Name = fmt.Sprintf("w%d", i)
	}
	r.Summary = diff.Summary{Tensors: 3, Differ: 3}
	r.Config = make([]diff.ConfigDifference, 4)
	if got := WhatWasDone(r); got != "" {
		t.Errorf("%q", got)
	}
	r.Tensors[0].Explanation = &explain.Explanation{Kind: explain.Rounded, Detail: "to bfloat16"}
	if got, want := WhatWasDone(r), "1 matrix rounded to bfloat16; 2 other tensors have other values; 4 config fields differ."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The field that differs is named, or the few that do.
func TestWhatIsConfigured(t *testing.T) {
	window := diff.ConfigDifference{Field: "attention_window_size", A: "16", B: "20"}
	for want, fields := range map[string][]diff.ConfigDifference{
		"Config field attention_window_size is 16 in A and 20 in B.":    {window},
		"Config field x is only in B.":                                  {{Field: "x", B: "1"}},
		"Config field x is only in A.":                                  {{Field: "x", A: "1"}},
		"Config field x differs.":                                       {{Field: "x", A: strings.Repeat("1", 50), B: "2"}},
		"Config fields x, y and attention_window_size (16, 20) differ.": {{Field: "x"}, {Field: "y", A: strings.Repeat("1", 20), B: "2"}, window},
		"Config fields attention_window_size (16, 20) and z differ.":    {window, {Field: "z", A: "1"}},
		"4 config fields differ.":                                       {window, window, window, window},
		"The file config.json is only in A; config field x differs.":    {{Field: "config.json", A: "a file"}, {Field: "x", A: strings.Repeat("1", 50), B: "2"}},
	} {
		if got := WhatWasDone(&diff.Result{Config: fields}); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// Distances that are the same number in the legend have one colour.
func TestMapOfAlikeDistances(t *testing.T) {
	for other, keys := range map[float64]int{0.1: 1, 0.10001: 1, 0.2: 2} {
		r := &diff.Result{Tensors: tensorsOf(2, "w", []int64{4}, func(i int, t *diff.TensorDiff) { differs(t, []float64{0.1, other}[i], nil) })}
		cells := diffMaps(r, nil)[0]
		if row := cells.Rows[0].Cells; len(cells.Legend) != keys || (row[0].Class == row[1].Class) != (keys == 1) {
			t.Errorf("%v: %+v", other, cells)
		}
	}
}

// Without a distance there is no scale of colours to explain.
func TestCaptionWithoutDistances(t *testing.T) {
	for _, distance := range []float64{0.1, math.NaN()} {
		r := &diff.Result{Tensors: tensorsOf(3, "w", []int64{4}, func(_ int, t *diff.TensorDiff) { differs(t, distance, nil) })}
		maps := diffMaps(r, nil)
		if len(maps) != 1 || strings.Contains(maps[0].Caption, "colour") != (distance == 0.1) || len(maps[0].Legend) != 1 {
			t.Errorf("%v: %+v", distance, maps)
		}
	}
}

// The mark of a cell says that it is known what was done to the values, not only that the dtype is another.
func TestMarkOfKnownChanges(t *testing.T) {
	for _, tt := range []struct {
		explanation  *explain.Explanation
		mark, status string
	}{
		{&explain.Explanation{Kind: explain.Other}, "", "another dtype, other values"},
		{&explain.Explanation{Kind: explain.Scaled, Detail: "by 2"}, "•", "another dtype, other values"},
		{&explain.Explanation{Kind: explain.Rounded, Detail: "to bfloat16"}, "•", "another dtype"},
	} {
		tensors := tensorsOf(1, "w", []int64{4}, func(_ int, t *diff.TensorDiff) {
			differs(t, 0.1, tt.explanation)
			t.Status, t.DTypeB = diff.DType, "bfloat16"
		})
		if cell := diffCell(&tensors[0], distanceScale{0.1, 1}); cell.Mark != tt.mark || statusWords(&tensors[0]) != tt.status {
			t.Errorf("%s: %+v, %q", tt.explanation, cell, statusWords(&tensors[0]))
		}
	}
}

// A tensor of another dtype with the same values is not shown as one that is the same, beside one that differs.
func TestMapOfAnotherDType(t *testing.T) {
	r := &diff.Result{Tensors: append(
		tensorsOf(2, "q", []int64{4}, func(_ int, t *diff.TensorDiff) {
			t.Status, t.DType, t.DTypeB, t.Metrics = diff.DType, "bfloat16", "float32", &diff.Metrics{}
		}),
		tensorsOf(2, "k", []int64{4}, func(_ int, t *diff.TensorDiff) { differs(t, 0.1, nil) })...)}
	maps := diffMaps(r, nil)
	if len(maps) != 1 || len(maps[0].Legend) != 2 || maps[0].Legend[1].Text != "another dtype, the same values" {
		t.Fatalf("%d maps: %+v", len(maps), maps[0].Legend)
	}
	if cell := maps[0].Rows[1].Cells[1]; cell.Mark != "D" || cell.Text != "layers.1.q: bfloat16 became float32, the same values" {
		t.Errorf("%+v", cell)
	}
}

// A renamed tensor is not shown as one that is the same, and what is outside layers is not said to have columns.
func TestMapsOfRenamedTensors(t *testing.T) {
	r := &diff.Result{Tensors: append(
		tensorsOf(2, "q", []int64{4}, func(i int, t *diff.TensorDiff) { t.Renamed, t.B = true, fmt.Sprintf("layers.%d.query", i) }),
		diff.TensorDiff{Name: "head", Status: diff.OnlyA, Shape: []int64{4}, Elements: 4})}
	maps := diffMaps(r, nil)
	if len(maps) != 2 || len(maps[0].Legend) != 1 || maps[0].Legend[0].Text != "renamed, the same values" {
		t.Fatalf("%+v", maps)
	}
	if cell := maps[0].Rows[0].Cells[1]; cell.Mark != "R" || cell.Text != "layers.1.q: renamed to layers.1.query" {
		t.Errorf("%+v", cell)
	}
	if got, want := maps[1].Caption, "A row for each tensor outside layers."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Layers that only B has are named by their numbers in B, and there is no map of layers that are all the same.
func TestAddedLayers(t *testing.T) {
	r := &diff.Result{}
	for k := range 4 {
		name := fmt.Sprintf("w%d", k)
		r.Tensors = append(r.Tensors, tensorsOf(6, name, []int64{4}, func(int, *diff.TensorDiff) {})...)
		for layer := range 2 {
			r.Tensors = append(r.Tensors, diff.TensorDiff{Name: fmt.Sprintf("B:layers.%d.%s", 3+layer, name), Status: diff.OnlyB, Shape: []int64{4}, Elements: 4})
		}
	}
	r.Summary = diff.Summary{Tensors: 32, Equal: 24, OnlyB: 8}
	if got, want := WhatWasDone(r), "Layers 3, 4 are only in B; the other 24 tensors are equal."; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if maps := diffMaps(r, nil); len(maps) != 1 || len(maps[0].Columns) != 2 {
		t.Errorf("%d maps: %+v", len(maps), maps)
	}
	for i := range r.Tensors { // which may be copies of others
		if name, onlyB := diff.CutUnpaired(r.Tensors[i].Name); onlyB {
			_, layer, rest := diff.SplitLayer(name)
			r.Tensors[i].CopyOf = fmt.Sprintf("layers.%d.%s", layer-2, rest)
		}
	}
	if got, want := WhatWasDone(r), "Layers 3, 4, copies of layers 1, 2 of A, are only in B; the other 24 tensors are equal."; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if cell, want := diffMaps(r, nil)[0].Rows[0].Cells[1], "layers.4.w0: only in B, a copy of layers.2.w0"; cell.Text != want {
		t.Errorf("got %q, want %q", cell.Text, want)
	}
}

func TestCounted(t *testing.T) {
	beyond := int64(1)
	r := &diff.Result{Tolerance: "abs=1", Summary: diff.Summary{Tensors: 12, Differ: 1, OnlyB: 2, Equal: 9, Renamed: 1, Differing: 1200, Beyond: &beyond}}
	want := "Of 12 tensors, 1 has other values, 2 are only in B, 1 was renamed, 8 are equal. 1 of 1,200 elements that differ bitwise is beyond abs=1."
	if got := counted(r); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	r = &diff.Result{Tolerance: "abs=1", Summary: diff.Summary{Tensors: 1, Equal: 1}, Tensors: []diff.TensorDiff{{Status: diff.Equal, DTypeB: "x"}}}
	if got, want := counted(r), "The only tensor is equal within abs=1 (1 tensor has another dtype)."; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	r.Tensors, r.Summary = append(r.Tensors, diff.TensorDiff{Status: diff.OnlyA}), diff.Summary{Tensors: 2, Equal: 1, OnlyA: 1}
	if got, want := WhatWasDone(r), "1 tensor is only in A; the other 1 tensor is equal within abs=1."; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	r = &diff.Result{B: diff.Side{Quantized: "nf4"}, Summary: diff.Summary{Tensors: 1, Differ: 1}}
	if got, want := counted(r), "The only tensor has other values. B is a quantised copy, which is not the same model."; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	r = &diff.Result{Only: []string{"w*"}, Summary: diff.Summary{Tensors: 2, Unselected: 7, Differ: 1, Equal: 1}}
	if got, want := counted(r), "Of the 2 of 9 tensors that were selected, 1 has other values, 1 is equal."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.Summary = diff.Summary{Tensors: 2, Unselected: 7, Differ: 2}
	if got, want := counted(r), "All of the 2 of 9 tensors that were selected have other values."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r = &diff.Result{Summary: diff.Summary{Tensors: 484, Equal: 484}}
	if got, want := counted(r), "All 484 tensors are equal."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r = &diff.Result{Summary: diff.Summary{Tensors: 5, DType: 5, Changed: 3}}
	if got, want := counted(r), "Of 5 tensors, 3 have another dtype and other values, 2 have another dtype."; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Tensors that are equal within the tolerance have a mark, and no colour of the scale, on which they have no place.
func TestWithinTheTolerance(t *testing.T) {
	r := &diff.Result{Tensors: tensorsOf(3, "w", []int64{4}, func(layer int, t *diff.TensorDiff) {
		if layer > 0 {
			differs(t, float64(layer)/8, nil)
		}
		if layer == 1 {
			t.Status = diff.Equal
		}
	})}
	m := diffMaps(r, nil)[0]
	if cell := m.Rows[0].Cells[1]; cell.Class != "within" || cell.Mark != "≈" || cell.Text != "layers.1.w: relative L2 0.125, within the tolerance" {
		t.Errorf("%+v", cell)
	}
	var legend []string
	for _, k := range m.Legend {
		legend = append(legend, k.Text)
	}
	if got, want := strings.Join(legend, "; "), "the same; relative L2 0.25; other values, within the tolerance"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Tensors that became another dtype are said to have, beside what else was done to them or another shape.
func TestWhatWasDoneInAnotherDType(t *testing.T) {
	bf16 := func(status diff.Status, e *explain.Explanation) func(int, *diff.TensorDiff) {
		return func(i int, t *diff.TensorDiff) {
			if differs(t, 0.1, e); e != nil && e.With != "" {
				t.Explanation = &explain.Explanation{Kind: e.Kind, With: fmt.Sprintf(e.With, i)}
			}
			t.Metrics.Differing = t.Elements
			t.Status, t.DTypeB = status, "bfloat16"
			if status == diff.Shape {
				t.Metrics = nil
			}
		}
	}
	for want, how := range map[string]func(int, *diff.TensorDiff){
		"2 matrices became bfloat16, changed in 2 of 8 elements.":             bf16(diff.DType, &explain.Explanation{Kind: explain.Sparse, Changed: 1}),
		"2 matrices became bfloat16, changed by rank 4.":                      bf16(diff.DType, &explain.Explanation{Kind: explain.LowRank, Rank: 4}),
		"2 matrices became bfloat16, transposed.":                             bf16(diff.Shape, &explain.Explanation{Kind: explain.Transposed}),
		"2 matrices became bfloat16, swapped (k with w).":                     bf16(diff.DType, &explain.Explanation{Kind: explain.Swapped, With: "layers.%d.k"}),
		"2 tensors have other shapes and became bfloat16 instead of float32.": bf16(diff.Shape, nil),
		"0.5 was added to 2 matrices, which became bfloat16.":                 bf16(diff.DType, &explain.Explanation{Kind: explain.Added, Detail: "0.5"}),
		"2 matrices rounded to bfloat16.":                                     bf16(diff.DType, &explain.Explanation{Kind: explain.Rounded, Detail: "to bfloat16"}),
	} {
		r := &diff.Result{Tensors: tensorsOf(2, "w", []int64{2, 2}, how)}
		if got := WhatWasDone(r); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}
