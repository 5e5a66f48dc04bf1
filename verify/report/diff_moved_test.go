package report

import (
	"math"
	"testing"

	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// What is said to have moved most did so, be it a layer or a tensor outside layers.
func TestTensorsOutsideLayersThatMoved(t *testing.T) {
	scaled := &explain.Explanation{Kind: explain.Scaled, Detail: "by 2"}
	for _, tt := range []struct {
		layers        map[int]float64 // distances of their tensors
		embed, norm   float64         // 0 if the tensor is the same
		others, alone string          // the sentence if the change of one more tensor is known, and if there is no such tensor
	}{
		{map[int]float64{2: 0.01}, 0.5, 0, "2 other tensors have other values, farthest apart in tensor embed, then in layer 2", "Tensor embed moved most, then layer 2."},
		{map[int]float64{2: 0.01, 3: 0.001}, 0.5, 0.3, "4 other tensors have other values, farthest apart in tensors embed and norm, then in layer 2", "Tensors embed and norm moved most, then layer 2."},
		{map[int]float64{2: 0.1}, 0.5, 0.15, "3 other tensors have other values, farthest apart in tensor embed, then in tensor norm and layer 2", "Tensor embed moved most, then tensor norm and layer 2."},
		{map[int]float64{2: 0.1, 3: 0.01}, 0.06, 0.01, "4 other tensors have other values, farthest apart in tensor embed and layer 2", "Tensor embed and layer 2 moved most."},
		{map[int]float64{2: 0.1}, 0.12, 0, "2 other tensors have other values, in tensor embed and layer 2", "Only tensor embed and layer 2 moved."},
		{map[int]float64{2: 0.1}, 0.01, 0, "2 other tensors have other values, in layer 2 and outside layers", "Of the layers, only layer 2 moved."},
		{map[int]float64{2: 0.1, 3: 0.01}, 0.01, 0, "3 other tensors have other values, farthest apart in layer 2", "Layer 2 moved most."},
		{map[int]float64{0: 0.1, 1: 0.1, 2: 0.1, 3: 0.1}, 1, 0, "5 other tensors have other values, farthest apart in tensor embed, in all 4 layers to a similar extent",
			"5 tensors have other values, farthest apart in tensor embed, in all 4 layers to a similar extent."},
		{map[int]float64{0: 0.1, 1: 0.1, 2: 0.1, 3: 0.5}, 1.5, 0, "5 other tensors have other values, farthest apart in tensor embed, then in layer 3", "Tensor embed moved most, then layer 3."},
		{map[int]float64{2: math.NaN(), 3: 0.01}, 0.5, 0, "3 other tensors have other values, farthest apart in tensor embed and layer 2", "Tensor embed and layer 2 moved most."},
	} {
		r := &diff.Result{Tensors: tensorsOf(4, "w", []int64{4}, func(i int, t *diff.TensorDiff) {
			if d := tt.layers[i]; d != 0 {
				differs(t, d, nil)
			}
		})}
		for name, distance := range map[string]float64{"embed": tt.embed, "norm": tt.norm} {
			x := diff.TensorDiff{Name: name, Status: diff.Equal, Elements: 4}
			if distance > 0 {
				differs(&x, distance, nil)
			}
			r.Tensors = append(r.Tensors, x)
		}
		if got := WhatWasDone(r); got != tt.alone {
			t.Errorf("got  %q\nwant %q", got, tt.alone)
		}
		r.Tensors = append(r.Tensors, tensorsOf(1, "v", []int64{4}, func(_ int, t *diff.TensorDiff) { differs(t, 9, scaled) })...)
		if got, want := WhatWasDone(r), "1 vector scaled by 2; "+tt.others+"."; got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// Layers with tensors that have no distance, because of NaN or infinities, moved as well, and nothing is said of how far all layers moved.
func TestLayersThatAreNotFinite(t *testing.T) {
	const layers = 26
	distances := func(byLayer map[int]float64) func(layer int, t *diff.TensorDiff) {
		return func(layer int, t *diff.TensorDiff) {
			if d, ok := byLayer[layer]; ok {
				differs(t, d, nil)
				t.Metrics.NaNB = map[bool]int64{true: 1}[d != d]
			}
		}
	}
	nan := math.NaN()
	for _, tt := range []struct {
		v, w    map[int]float64 // distances by layer
		outside float64         // of the embedding, 0 if it is the same
		want    string
	}{
		{map[int]float64{3: 0.1, 20: nan}, map[int]float64{3: 0.1, 20: nan}, 0, "Only layers 3, 20 moved; 2 of the tensors that differ have NaN or infinities, in layer 20."},
		{map[int]float64{3: 0.1, 4: 0.001, 20: nan}, nil, 0, "Layers 3, 20 moved most; 1 of the tensors that differ has NaN or infinities, in layer 20."},
		{map[int]float64{3: 0.1, 4: 0.001}, map[int]float64{4: nan}, 0, "Only layers 3, 4 moved; 1 of the tensors that differ has NaN or infinities, in layer 4."},
		{map[int]float64{3: 0.1}, nil, nan, "Of the layers, only layer 3 moved; 1 of the tensors that differ has NaN or infinities."},
		{map[int]float64{3: 0.1}, map[int]float64{5: nan}, nan, "Of the layers, only layers 3, 5 moved; 2 of the tensors that differ have NaN or infinities."},
		{map[int]float64{5: nan}, nil, 0.1, "Only tensor embed and layer 5 moved; 1 of the tensors that differ has NaN or infinities, in layer 5."},
		{map[int]float64{5: nan}, nil, 0, "1 tensor has NaN or infinities."},
		{map[int]float64{0: 1, 2: 1, 4: 1, 6: 1, 8: 1, 10: 1, 12: 1, 14: 1, 16: 1}, map[int]float64{18: nan}, 0,
			"10 tensors have other values, in 10 layers; 1 of the tensors that differ has NaN or infinities, in layer 18."},
		{map[int]float64{0: 1, 2: 1, 4: 1, 6: 1, 8: 1, 10: 1, 12: 1, 14: 1, 16: 1}, nil, 0.1, ""},
	} {
		r := &diff.Result{Tensors: append(tensorsOf(layers, "v", []int64{4}, distances(tt.v)), tensorsOf(layers, "w", []int64{4}, distances(tt.w))...)}
		embedding := diff.TensorDiff{Name: "embed", Status: diff.Equal, Elements: 4}
		if tt.outside != 0 {
			distances(map[int]float64{0: tt.outside})(0, &embedding)
		}
		r.Tensors = append(r.Tensors, embedding)
		for _, x := range r.Tensors {
			if x.Status == diff.Differs {
				r.Summary.Differ++
				r.Summary.NonFinite += int(x.Metrics.NaNB)
			}
		}
		if got := WhatWasDone(r); got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
	both := &diff.Result{Tensors: append(tensorsOf(2, "w", []int64{4}, distances(map[int]float64{0: 0.1, 1: nan})), embedded(0.1))}
	both.Summary = diff.Summary{Differ: 3, NonFinite: 1}
	if got, want := WhatWasDone(both), "3 tensors have other values, some of them in both layers; 1 of the tensors that differ has NaN or infinities, in layer 1."; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// embedded is a tensor outside layers that has other values.
func embedded(distance float64) diff.TensorDiff {
	t := diff.TensorDiff{Name: "embed", DType: "float32", Shape: []int64{2, 2}, Elements: 4}
	differs(&t, distance, nil)
	return t
}
