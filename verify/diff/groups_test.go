package diff

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// Tensors of one name to which the same happened in several layers are one group, and so are several names to
// which the same happened in the same layers.
func TestGroups(t *testing.T) {
	half := &explain.Explanation{Kind: explain.Scaled, Detail: "by 0.5"}
	e := func(name string, s Status, x *explain.Explanation) TensorDiff {
		out := TensorDiff{Name: name, Status: s, Explanation: x, Elements: 10}
		if s == Differs {
			out.Metrics = &Metrics{Differing: 5, MaxAbs: 1, RelativeL2: 0.5}
		}
		return out
	}
	swap := func(with string) *explain.Explanation { return &explain.Explanation{Kind: explain.Swapped, With: with} }
	r := &Result{Tensors: []TensorDiff{
		e("only.me", OnlyA, nil),
		e("m.layers.0.mlp.gate", Differs, half), e("m.layers.1.mlp.gate", Differs, half), e("m.layers.2.mlp.gate", Differs, half),
		e("m.layers.0.mlp.up", Differs, half), e("m.layers.1.mlp.up", Differs, half), e("m.layers.2.mlp.up", Differs, half),
		e("m.layers.7.mlp.up", Differs, &explain.Explanation{Kind: explain.Scaled, Detail: "by 2"}),
		e("m.layers.3.q", Differs, swap("m.layers.3.k")), e("m.layers.5.q", Differs, swap("m.layers.5.k")), e("m.layers.6.q", Differs, swap("m.layers.4.k")),
		e("m.layers.3.k", Differs, swap("m.layers.3.q")), e("m.layers.5.k", Differs, swap("m.layers.5.q")),
		e("m.layers.3.v", Differs, &explain.Explanation{Kind: explain.Transposed, Then: &explain.Explanation{Kind: explain.Sparse, Detail: "1 of 10"}}),
		e("m.layers.0.x", Differs, &explain.Explanation{Kind: explain.Other}), e("m.layers.0.y", Differs, &explain.Explanation{Kind: explain.Other}),
		e("m.layers.0.same", Equal, nil),
	}}
	var got []string
	for _, g := range r.Groups() {
		got = append(got, string(g.Status)+" "+g.Where()+": "+g.Change)
	}
	want := []string{
		"only_a only.me: ",
		"differs m.layers.0-2.{mlp.gate, mlp.up}: scaled by 0.5",
		"differs m.layers.7.mlp.up: scaled by 2",
		"differs m.layers.3,5.q: swapped with k",
		"differs m.layers.6.q: swapped with m.layers.4.k",
		"differs m.layers.3,5.k: swapped with q",
		"differs m.layers.3.v: transposed, then changed in few elements",
		"differs m.layers.0.x: ",
		"differs m.layers.0.y: ",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	x := r.Extent(&r.Groups()[1])
	if x.Elements != 60 || x.Differing != 30 || x.RelativeL2 != 0.5 {
		t.Errorf("%+v", x)
	}
}

// Layers that were exchanged, copied, removed or added whole are one group each. NaN makes a group of its own.
func TestGroupsOfWholeLayers(t *testing.T) {
	var r Result
	add := func(layer int, name string, s Status, x *explain.Explanation) *TensorDiff {
		r.Tensors = append(r.Tensors, TensorDiff{Name: fmt.Sprintf("m.layers.%d.%s", layer, name), Status: s, Explanation: x, Elements: 10, Metrics: &Metrics{Differing: 5}})
		return &r.Tensors[len(r.Tensors)-1]
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		add(1, name, Equal, nil)
		for _, pair := range [][2]int{{3, 6}, {6, 3}} {
			add(pair[0], name, Differs, &explain.Explanation{Kind: explain.Swapped, With: fmt.Sprintf("m.layers.%d.%s", pair[1], name)})
		}
		add(4, name, OnlyA, nil)
		add(5, name, Differs, &explain.Explanation{Kind: explain.CopiedFrom, With: "m.layers.1." + name})
	}
	for layer := 7; layer < 9; layer++ {
		for _, name := range []string{"a", "b", "c", "d"} {
			if name == "d" {
				add(layer, name, Equal, nil)
				continue
			}
			add(layer, name, Differs, &explain.Explanation{Kind: explain.Sparse})
		}
	}
	r.Tensors[len(r.Tensors)-4].Metrics.NaNB = 1
	var got []string
	for _, g := range r.Groups() {
		got = append(got, fmt.Sprintf("%s %s: %s", g.Status, strings.Join(r.Where(&g), " "), g.Change))
	}
	want := []string{
		"differs every tensor of layers 3, 6 of m.layers: swapped between layers 3 and 6",
		"only_a every tensor of layer 4 of m.layers: ",
		"differs every tensor of layer 5 of m.layers: copied from layer 1",
		"differs m.layers.7.a: changed in few elements",
		"differs layers 7, 8 of m.layers: b, c: changed in few elements",
		"differs m.layers.8.a: changed in few elements, with NaN",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Every number of a name folds if all combinations are there; otherwise the names stay apart.
func TestGroupsFoldEveryNumber(t *testing.T) {
	var r Result
	add := func(name string, args ...any) {
		r.Tensors = append(r.Tensors, TensorDiff{Name: fmt.Sprintf(name, args...), Status: Differs})
	}
	for layer := range 2 {
		for expert := range 3 {
			for part := range 2 {
				add("m.layers.%d.experts.%d.w.%d.weight", layer, expert, part)
			}
		}
	}
	add("m.layers.5.experts.7.w.0.weight")
	add("m.layers.0.experts.0.x.0")
	add("m.layers.0.experts.1.x.1")
	add("m.layers.0.last.3")
	add("m.layers.0.last.9")
	add("m.layers.1.last.9")
	var got []string
	for _, g := range r.Groups() {
		got = append(got, fmt.Sprint(g.Where(), " ", len(g.Tensors)))
	}
	want := []string{
		"m.layers.0-1.experts.0-2.w.0-1.weight 12",
		"m.layers.5.experts.7.w.0.weight 1",
		"m.layers.0.experts.0.x.0 1",
		"m.layers.0.experts.1.x.1 1",
		"m.layers.0.last.3 1",
		"m.layers.0-1.last.9 2",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
