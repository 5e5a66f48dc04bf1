package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// Every kind of explanation gives a sentence, of one tensor, of several, and of several that are not told apart.
func TestEveryKindIsASentence(t *testing.T) {
	then := func(e explain.Explanation, then explain.Explanation) explain.Explanation {
		e.Then = &then
		return e
	}
	bf16 := explain.Explanation{Kind: explain.Rounded, Detail: "to bfloat16"}
	for _, tt := range []struct {
		explanation        explain.Explanation
		one, many, several string
	}{
		{explain.Explanation{Kind: explain.Zeroed}, "1 matrix zeroed.", "2 matrices zeroed.", ""},
		{then(explain.Explanation{Kind: explain.Zeroed}, explain.Explanation{Kind: explain.Added, Detail: "0.5"}), "1 matrix zeroed, then 0.5 added.", "2 matrices zeroed, then 0.5 added.", ""},
		{explain.Explanation{Kind: explain.ZeroSigns}, "1 matrix changed in the signs of zeros.", "2 matrices changed in the signs of zeros.", "changed in the signs of zeros"},
		{explain.Explanation{Kind: explain.Swapped, With: "x"}, "1 matrix swapped with another.", "2 matrices swapped with others.", "swapped with others"},
		{explain.Explanation{Kind: explain.CopiedFrom, With: "x"}, "1 matrix copied from another.", "2 matrices copied from others.", "copied from others"},
		{explain.Explanation{Kind: explain.Transposed}, "1 matrix transposed.", "2 matrices transposed.", "transposed"},
		{explain.Explanation{Kind: explain.PermutedAxes, Detail: "axes 2, 0, 1"}, "1 matrix permuted to axes 2, 0, 1.", "2 matrices permuted to axes 2, 0, 1.", "permuted in several ways"},
		{explain.Explanation{Kind: explain.Reshaped}, "1 matrix reshaped.", "2 matrices reshaped.", "reshaped"},
		{explain.Explanation{Kind: explain.Reversed, Detail: "along axis 0"}, "1 matrix reversed along axis 0.", "2 matrices reversed along axis 0.", "reversed"},
		{explain.Explanation{Kind: explain.BlockPermuted, Detail: "axis 0: indices rolled by 1"}, "1 matrix permuted along axis 0: indices rolled by 1.", "2 matrices permuted along axis 0: indices rolled by 1.", "permuted in several ways"},
		{explain.Explanation{Kind: explain.Truncated, Detail: "to bfloat16"}, "1 matrix truncated to bfloat16, not rounded to nearest.", "2 matrices truncated to bfloat16, not rounded to nearest.", "truncated"},
		{explain.Explanation{Kind: explain.Scaled, Detail: "by 2"}, "1 matrix scaled by 2.", "2 matrices scaled by 2.", "scaled by several factors"},
		{explain.Explanation{Kind: explain.Added, Detail: "1"}, "1 was added to 1 matrix.", "1 was added to 2 matrices.", ""},
		{then(explain.Explanation{Kind: explain.Added, Detail: "1"}, bf16), "1 was added to 1 matrix, which was then rounded to bfloat16.", "1 was added to 2 matrices, which were then rounded to bfloat16.", ""},
		{bf16, "1 matrix rounded to bfloat16.", "2 matrices rounded to bfloat16.", "rounded"},
		{explain.Explanation{Kind: explain.Sparse, Changed: 1, Detail: "1 of 4 elements: [0 0]"}, "1 matrix changed in 1 of 4 elements.", "2 matrices changed in 2 of 8 elements.", "changed in few elements"},
		{explain.Explanation{Kind: explain.Pruned, Detail: "(elements were set to zero)"}, "1 matrix pruned (elements were set to zero).", "2 matrices pruned (elements were set to zero).", "pruned"},
		{explain.Explanation{Kind: explain.LowRank, Rank: 2}, "1 matrix changed by rank 2.", "2 matrices changed by rank 2.", "changed by low rank"},
		{explain.Explanation{Kind: explain.LowRank, Rank: 2, Ranks: []int{2, 1}}, "1 matrix changed by rank up to 2 at each of the 2 indices of axis 0.", "2 matrices changed by rank up to 2 at each of the 2 indices of axis 0.", "changed by low rank"},
		{then(explain.Explanation{Kind: explain.LowRank, Rank: 2}, bf16), "1 matrix changed by a matrix of rank 2, then rounded to bfloat16.", "2 matrices changed by a matrix of rank 2, then rounded to bfloat16.", ""},
		{explain.Explanation{Kind: explain.Resized, Detail: "from 2 to 3 rows"}, "1 matrix resized from 2 to 3 rows.", "2 matrices resized from 2 to 3 rows.", "resized"},
		{explain.Explanation{Kind: explain.Quantized, Detail: "to int8"}, "1 matrix quantised to int8.", "2 matrices quantised to int8.", "quantised"},
	} {
		for n, want := range map[int]string{1: tt.one, 2: tt.many} {
			r := &diff.Result{Tensors: tensorsOf(n, "w", []int64{2, 2}, func(_ int, t *diff.TensorDiff) { differs(t, 0.1, &tt.explanation) })}
			if got := WhatWasDone(r); got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		}
		if tt.several == "" {
			continue
		}
		if got, want := severalDeeds(tt.explanation.Kind, []*deed{{n: 1, detail: "by 2"}, {n: 2, detail: "by 3"}}).phrase(), "3 tensors "+tt.several; got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	// Of constants that differ, those that are rare are one phrase, unless it is only one.
	added := func(layers int) *diff.Result {
		return &diff.Result{Tensors: tensorsOf(layers, "w", []int64{4}, func(i int, t *diff.TensorDiff) {
			differs(t, 0.1, &explain.Explanation{Kind: explain.Added, Detail: fmt.Sprint(1 + i/4)})
		})}
	}
	if got, want := WhatWasDone(added(13)), "1 was added to 4 vectors; 2 was added to 4 vectors; 3 was added to 4 vectors; 4 was added to 1 vector."; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	r := added(13)
	r.Tensors[0].Explanation.Detail = "9"
	if got, want := WhatWasDone(r), "Several constants were added to 5 vectors; 2 was added to 4 vectors; 3 was added to 4 vectors."; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Of more than three ranks that are frequent, the range is given; a frequent one beside rare ones is named.
func TestManyRanks(t *testing.T) {
	for want, rankOf := range map[string]func(layer int) int{
		"20 matrices changed by low rank (4 to 8).":                               func(layer int) int { return 4 + layer/4 },
		"16 matrices changed by rank 2; 4 matrices changed by low rank (1 to 9).": func(layer int) int { return []int{1, 3, 4, 9, 2}[min(layer, 4)] },
	} {
		r := &diff.Result{Tensors: tensorsOf(20, "w", []int64{2, 2}, func(i int, t *diff.TensorDiff) {
			differs(t, 0.1, &explain.Explanation{Kind: explain.LowRank, Rank: rankOf(i)})
		})}
		if got := WhatWasDone(r); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// However many layers were changed in ways of their own, the sentence is short, and its layers are in the order of their numbers.
func TestFewClauses(t *testing.T) {
	const layers = 26
	byName := make([]int, layers)
	for i := range byName {
		byName[i] = i
	}
	slices.SortFunc(byName, func(a, b int) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	bf16 := &explain.Explanation{Kind: explain.Rounded, Detail: "to bfloat16"}
	from := func(kind explain.Kind, to, layer int, then *explain.Explanation) *explain.Explanation {
		if to == layer {
			return nil
		}
		return &explain.Explanation{Kind: kind, With: fmt.Sprintf("layers.%d.", layer), Then: then}
	}
	scaled := func(factor float64) *explain.Explanation {
		return &explain.Explanation{Kind: explain.Scaled, Detail: fmt.Sprint("by ", factor), Factor: factor}
	}
	for want, how := range map[string]func(layer int) *explain.Explanation{
		"48 vectors of 24 layers copied from others (layer 2 from 10, 3 from 11, …).":                           func(i int) *explain.Explanation { return from(explain.CopiedFrom, i, byName[i], nil) },
		"48 vectors of 24 layers copied from others (layer 2 from 10, 3 from 11, …), then rounded to bfloat16.": func(i int) *explain.Explanation { return from(explain.CopiedFrom, i, byName[i], bf16) },
		"52 vectors of 26 layers copied from others (layer 0 from 1, 1 from 2, …).":                             func(i int) *explain.Explanation { return from(explain.CopiedFrom, i, (i+1)%layers, nil) },
		"52 vectors of 26 layers swapped with others (layers 0 and 25, 1 and 24, …).":                           func(i int) *explain.Explanation { return from(explain.Swapped, i, layers-1-i, nil) },
		"2 vectors copied from layer 2; 2 vectors copied from layer 9; 2 vectors copied from layer 10.": func(i int) *explain.Explanation {
			if of := map[int]int{12: 10, 13: 9, 14: 2}[i]; of > 0 {
				return from(explain.CopiedFrom, i, of, nil)
			}
			return nil
		},
		"52 vectors of 26 layers scaled, each layer by a factor of its own (0.5 to 3.625).": func(i int) *explain.Explanation { return scaled(0.5 + float64(i)/8) },
		"52 vectors scaled by several factors (0.5 to 2.5).":                                func(i int) *explain.Explanation { return scaled(0.5 + float64(i%5)/2) },
		"36 vectors scaled by 2; 16 vectors scaled by several factors (3 to 6).":            func(i int) *explain.Explanation { return scaled(float64(max(2, i/2-6))) },
		"8 vectors pruned; 8 vectors reshaped; 8 vectors reversed; 8 vectors transposed; 20 vectors changed in other known ways.": func(i int) *explain.Explanation {
			return &explain.Explanation{Kind: []explain.Kind{explain.Pruned, explain.Reshaped, explain.Reversed, explain.Transposed, explain.Zeroed, explain.Truncated, explain.Quantized}[i%7]}
		},
	} {
		r := &diff.Result{}
		for _, name := range []string{"v", "w"} {
			r.Tensors = append(r.Tensors, tensorsOf(layers, name, []int64{4}, func(i int, t *diff.TensorDiff) {
				if e := how(i); e != nil {
					if e.With != "" {
						e.With += name
					}
					differs(t, 0.1, e)
				}
			})...)
		}
		if got := WhatWasDone(r); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// Nor are many lists of layers and many dtypes listed.
func TestFewListsAndDTypes(t *testing.T) {
	r := &diff.Result{}
	for _, list := range []string{"a", "b", "c", "d"} {
		for k := range 5 {
			r.Tensors = append(r.Tensors, diff.TensorDiff{Name: fmt.Sprintf("%s.3.w%d", list, k), Status: diff.OnlyA}, diff.TensorDiff{Name: fmt.Sprintf("%s.0.w%d", list, k), Status: diff.DType, DType: "float32", DTypeB: "type " + list})
		}
	}
	r.Summary = diff.Summary{OnlyA: 20}
	if got, want := WhatWasDone(r), "20 tensors became another dtype; 20 tensors are only in A."; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	r.Tensors, r.Summary.OnlyA = r.Tensors[:30], 15
	if got, want := WhatWasDone(r), "5 tensors became type a instead of float32; 5 tensors became type b instead of float32; 5 tensors became type c instead of float32; "+
		"layer 3 of a, layer 3 of b, layer 3 of c are only in A."; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
