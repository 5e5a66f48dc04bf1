package diff

import (
	"fmt"
	"reflect"
	"slices"
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
		e("only.me", OnlyA, nil), e("only.you", OnlyA, nil),
		e("m.layers.0.mlp.gate", Differs, half), e("m.layers.1.mlp.gate", Differs, half), e("m.layers.2.mlp.gate", Differs, half),
		e("m.layers.0.mlp.up", Differs, half), e("m.layers.1.mlp.up", Differs, half), e("m.layers.2.mlp.up", Differs, half),
		e("m.layers.7.mlp.up", Differs, &explain.Explanation{Kind: explain.Scaled, Detail: "by 2"}),
		e("m.layers.3.q", Differs, swap("m.layers.3.k")), e("m.layers.5.q", Differs, swap("m.layers.5.k")), e("m.layers.6.q", Differs, swap("m.layers.4.k")),
		e("m.layers.3.k", Differs, swap("m.layers.3.q")), e("m.layers.5.k", Differs, swap("m.layers.5.q")),
		e("m.layers.3.v", Differs, &explain.Explanation{Kind: explain.Transposed, Then: &explain.Explanation{Kind: explain.Sparse, Detail: "1 of 10"}}),
		e("m.layers.0.x", Differs, &explain.Explanation{Kind: explain.Other}), e("m.layers.0.y", Differs, &explain.Explanation{Kind: explain.Other}),
		e("m.layers.0.same", Equal, nil), e("n.layers.0.same", Equal, nil),
		e("m.layers.0.z", Differs, swap("m.layers.2.z")), e("m.layers.3.z", Differs, swap("n.layers.4.z")), e("m.layers.5.z", Differs, &explain.Explanation{Kind: explain.CopiedFrom, With: "m.layers.0.z"}),
		e("m.layers.6.z", Differs, swap("m.layers.0.z")), e("m.layers.7.z", Differs, &explain.Explanation{Kind: explain.CopiedFrom, With: "n.layers.0.z"}),
		e("m.layers.0.u", Differs, swap("m.layers.0.k")), e("m.layers.8.u", Differs, swap("n.layers.8.k")),
	}}
	var got []string
	for _, g := range r.Groups() {
		got = append(got, string(g.Status)+" "+g.Where()+": "+g.Change)
	}
	want := []string{
		"only_a only.me: ",
		"only_a only.you: ",
		"differs m.layers.0-2.{mlp.gate, mlp.up}: scaled by 0.5",
		"differs m.layers.7.mlp.up: scaled by 2",
		"differs m.layers.3,5.q: swapped with k",
		"differs m.layers.6.q: swapped with m.layers.4.k",
		"differs m.layers.3,5.k: swapped with q",
		"differs m.layers.3.v: transposed, then changed in few elements",
		"differs m.layers.0.x: ",
		"differs m.layers.0.y: ",
		"differs m.layers.0.z: swapped between layers 0 and 2",
		"differs m.layers.3.z: swapped with n.layers.4.z",
		"differs m.layers.5.z: copied from layer 0",
		"differs m.layers.6.z: swapped between layers 0 and 6",
		"differs m.layers.7.z: copied from n.layers.0.z",
		"differs m.layers.0.u: swapped with k",
		"differs m.layers.8.u: swapped with n.layers.8.k",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	x := r.Extent(&r.Groups()[2])
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

// The same that happened to all tensors of layers of several kinds is one group, unless it happened to more in other layers. One name
// stands for all tensors of a part of a layer.
func TestGroupsOfSeveralKinds(t *testing.T) {
	kinds := map[int][]string{0: {"t.x", "t.y", "t.b", "t.g"}, 1: {"t.x", "t.y", "t.b", "t.g"}, 2: {"t.q", "t.k", "t.v", "t.o"}}
	all := func(layer int) []string {
		return append([]string{"norm", "m.a", "m.b", "m.c", "m.d"}, kinds[layer%3]...)
	}
	renamed := func(old, now string) func(int, string) TensorDiff {
		return func(layer int, name string) TensorDiff {
			if after := strings.Replace(name, old, now, 1); after != name {
				return TensorDiff{Status: Equal, Renamed: true, B: fmt.Sprintf("l.%d.%s", layer, after)}
			}
			return TensorDiff{Status: Equal}
		}
	}
	only := func(layers ...int) func(int, string) TensorDiff {
		return func(layer int, name string) TensorDiff {
			if slices.Contains(layers, layer) {
				return TensorDiff{Status: OnlyA}
			}
			return TensorDiff{Status: Equal}
		}
	}
	for _, tt := range []struct {
		of   func(layer int, name string) TensorDiff
		want []string
	}{
		{only(3, 4, 5), []string{"every tensor of layers 3 to 5 of l: "}},
		{only(2, 3), []string{"every tensor of layers 2, 3 of l: "}},
		{func(layer int, name string) TensorDiff {
			if layer == 3 && strings.HasPrefix(name, "t.") {
				return TensorDiff{Status: OnlyA}
			}
			return only(0, 1)(layer, name)
		}, []string{"every tensor of layers 0, 1 of l: ", "l.3.t.*: "}},
		{func(layer int, name string) TensorDiff {
			if layer == 4 && name == "norm" {
				return TensorDiff{Status: Equal}
			}
			return only(3, 4, 5)(layer, name)
		}, []string{"every tensor of layers 3, 5 of l: ", "l.4.{m.*, t.*}: "}},
		{renamed("t.", "time."), []string{"all layers (6) of l: t.*: t renamed to time"}},
		{renamed("m.", "mlp."), []string{"all layers (6) of l: m.*: m renamed to mlp"}},
		{renamed("m.a", "m.z"), []string{"all layers (6) of l: m.a: a renamed to z"}},
		{renamed("norm", "n.w"), []string{"all layers (6) of l: norm: renamed to n.w"}},
		{func(layer int, name string) TensorDiff {
			return TensorDiff{Status: Differs, Metrics: &Metrics{Differing: 1, NaNB: 1}}
		}, []string{"every tensor of all layers (6) of l: with NaN"}},
		{func(layer int, name string) TensorDiff {
			m := &Metrics{Differing: 1}
			switch layer {
			case 1:
				m.NaNA = 1
			case 2:
				m.NaNA, m.NaNB = 1, 1
			case 3:
				m.InfA, m.InfB = 2, 1
			case 4:
				m.NaNA, m.NaNB, m.InfA, m.InfB = 1, 2, 1, 1
			}
			return TensorDiff{Status: map[bool]Status{true: Differs, false: Equal}[name == "norm"], Metrics: m}
		}, []string{"layers 0, 5 of l: norm: ", "l.1.norm: with NaN in A", "l.2.norm: with NaN on both sides", "l.3.norm: with infinities in A", "l.4.norm: with NaN, with infinities on both sides"}},
		{func(layer int, name string) TensorDiff {
			return TensorDiff{Status: Differs, Metrics: &Metrics{Differing: 1}}
		}, []string{"all layers (6) of l: norm: ", "all layers (6) of l: m.a: ", "all layers (6) of l: m.b: ", "all layers (6) of l: m.c: ", "all layers (6) of l: m.d: ",
			"layers 0, 1, 3, 4 of l: t.x: ", "layers 0, 1, 3, 4 of l: t.y: ", "layers 0, 1, 3, 4 of l: t.b: ", "layers 0, 1, 3, 4 of l: t.g: ",
			"layers 2, 5 of l: t.q: ", "layers 2, 5 of l: t.k: ", "layers 2, 5 of l: t.v: ", "layers 2, 5 of l: t.o: "}},
	} {
		r := &Result{}
		for layer := range 6 {
			for _, name := range all(layer) {
				x := tt.of(layer, name)
				x.Name = fmt.Sprintf("l.%d.%s", layer, name)
				r.Tensors = append(r.Tensors, x)
			}
		}
		var got []string
		n := 0
		for _, g := range r.Groups() {
			got = append(got, strings.Join(r.Where(&g), " ")+": "+g.Change)
			if n += len(g.Tensors); !slices.IsSorted(g.Tensors) || !slices.IsSorted(g.Layers) {
				t.Errorf("%q is not sorted", got[len(got)-1])
			}
		}
		want := 0
		for i := range r.Tensors {
			if !r.Tensors[i].Same() {
				want++
			}
		}
		slices.Sort(got)
		slices.Sort(tt.want)
		if !slices.Equal(got, tt.want) || n != want {
			t.Errorf("%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
	}
}

// A group that has nearly all names of a part of its layers names those that it has not.
func TestExceptionsOfAPart(t *testing.T) {
	for _, tt := range []struct {
		same func(layer int, name string) bool
		want []string
	}{
		{func(layer int, name string) bool { return name == "p.f" || name == "norm" }, []string{"all layers (4) of l: p.* but f"}},
		{func(layer int, name string) bool { return name == "p.x.e" || name == "norm" }, []string{"all layers (4) of l: p.* but x.e"}},
		{func(layer int, name string) bool { return name == "p.f" && layer == 1 || name == "norm" }, []string{"all layers (4) of l: p.* but f", "layers 0, 2, 3 of l: p.f"}},
		{func(layer int, name string) bool { return name == "p.f" || name == "p.x.e" || name == "norm" }, []string{"all layers (4) of l: p.* but f and x.e"}},
		{func(layer int, name string) bool { return strings.Contains("p.a p.b p.f norm", name) }, []string{"all layers (4) of l: p.c, p.d, p.g, p.x.e, p.h"}},
		{func(layer int, name string) bool {
			return strings.Contains("p.a p.b p.c p.d", name) || name == "norm"
		}, []string{"all layers (4) of l: p.f, p.g, p.x.e, p.h"}},
	} {
		r := &Result{}
		for layer := range 4 {
			for _, name := range []string{"norm", "p.a", "p.b", "p.c", "p.d", "p.f", "p.g", "p.x.e", "p.h"} {
				x := TensorDiff{Name: fmt.Sprintf("l.%d.%s", layer, name), Status: OnlyA}
				if tt.same(layer, name) {
					x.Status = Equal
				}
				r.Tensors = append(r.Tensors, x)
			}
		}
		var got []string
		for _, g := range r.Groups() {
			got = append(got, strings.Join(r.Where(&g), " "))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// A group is every tensor of its layers only if it has all of them and more than a few.
func TestEveryTensorOfALayer(t *testing.T) {
	for _, tt := range []struct {
		tensors, removed int // of each layer
		layers           []int
		want             string
	}{
		{3, 3, []int{2}, "l.2.{w0, w1, w2}"},
		{4, 4, []int{2}, "every tensor of layer 2 of l"},
		{5, 4, []int{2}, "l.2.{w0, w1, w2, w3}"},
		{4, 4, []int{2, 5}, "every tensor of layers 2, 5 of l"},
		{5, 4, []int{2, 5}, "layers 2, 5 of l: w0, w1, w2, w3"},
		{1, 1, []int{2, 5}, "layers 2, 5 of l: w0"},
		{3, 3, []int{2, 5}, "layers 2, 5 of l: w0, w1, w2"},
	} {
		r := &Result{Tensors: []TensorDiff{{Name: "other.2.w0", Status: Equal}, {Name: "embed", Status: Equal}}}
		for layer := range 7 {
			for k := range tt.tensors {
				status := Equal
				if k < tt.removed && slices.Contains(tt.layers, layer) {
					status = OnlyA
				}
				r.Tensors = append(r.Tensors, TensorDiff{Name: fmt.Sprintf("l.%d.w%d", layer, k), Status: status})
			}
		}
		groups := r.Groups()
		if len(groups) != 1 || strings.Join(r.Where(&groups[0]), " ") != tt.want {
			t.Errorf("%d of %d tensors: %q, want %q", tt.removed, tt.tensors, r.Where(&groups[0]), tt.want)
		}
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
	add("0.w")
	add("1.w")
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
		"0.w 1",
		"1.w 1",
		"m.layers.0.last.3 1",
		"m.layers.0-1.last.9 2",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Of the items of a digest the last one that is meant is found, and the search ends where none is.
func TestClasses(t *testing.T) {
	c := newClasses(4)
	for _, sum := range []uint64{7, 8, 8, 7, 9} {
		c.add(sum)
	}
	for _, tt := range []struct {
		sum   uint64
		meant int // -1 for none
		want  int
		tried []int
	}{
		{7, 0, 0, []int{3, 0}}, {7, 3, 3, []int{3}}, {7, -1, -1, []int{3, 0}}, {8, -1, -1, []int{2, 1}}, {9, 4, 4, []int{4}}, {5, -1, -1, nil},
	} {
		var tried []int
		got := c.find(tt.sum, func(item int) bool {
			tried = append(tried, item)
			return item == tt.meant || len(tried) > 5
		})
		if got != tt.want || !slices.Equal(tried, tt.tried) {
			t.Errorf("%+v: %d of %d", tt, got, tried)
		}
	}
}

// Few names are listed, also if they are all of a layer or of a part.
func TestGroupsOfFewNames(t *testing.T) {
	for _, tt := range []struct {
		layers [][]string // names of each, those that only one side has with a star
		want   string
	}{
		{[][]string{{"p.a*", "p.b*", "p.c*", "norm*", "x"}, {"p.a*", "p.b*", "p.c*", "norm*", "x"}}, "all layers (2) of l: p.a, p.b, p.c, norm"},
		{[][]string{{"p.a*", "p.b*", "p.c*", "p.d*", "x"}, {"p.a*", "p.b*", "p.c*", "p.d*", "x"}}, "all layers (2) of l: p.*"},
		{[][]string{{"a*", "b*", "c*"}, {"a*", "b*", "c*"}, {"d*", "e*", "f*"}, {"d*", "e*", "f*"}}, "layers 0, 1 of l: a, b, c | layers 2, 3 of l: d, e, f"},
		{[][]string{{"a*", "b*", "c*", "d*"}, {"e*", "f*", "g*", "h*"}}, "every tensor of all layers (2) of l"},
	} {
		r := &Result{}
		for i, layer := range tt.layers {
			for _, name := range layer {
				name, only := strings.CutSuffix(name, "*")
				r.Tensors = append(r.Tensors, TensorDiff{Name: fmt.Sprintf("l.%d.%s", i, name), Status: map[bool]Status{true: OnlyA, false: Equal}[only]})
			}
		}
		var got []string
		for _, g := range r.Groups() {
			got = append(got, strings.Join(r.Where(&g), " "))
		}
		if strings.Join(got, " | ") != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// One segment of several that is another is named, and otherwise all.
func TestRenamedRest(t *testing.T) {
	for _, tt := range [][3]string{
		{"a.b.c", "x.b.c", "a renamed to x"},
		{"a.b.c", "a.b.z", "c renamed to z"},
		{"a.b.c", "x.b.z", "renamed to x.b.z"},
		{"a.b.c", "a.y.z", "renamed to a.y.z"},
		{"a.b", "a.b.c", "renamed to a.b.c"},
		{"a", "x", "renamed to x"},
	} {
		if got := renamedRest(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%s, %s: %q, want %q", tt[0], tt[1], got, tt[2])
		}
	}
}

// Of tensors that became another dtype, which changes the bits of all elements, the few that were changed otherwise are counted.
func TestFewChangedApartFromTheDType(t *testing.T) {
	one := func(dtype string, kind explain.Kind) TensorDiff {
		return TensorDiff{Status: DType, DTypeB: dtype, Elements: 3000, Metrics: &Metrics{Differing: 3000}, Explanation: &explain.Explanation{Kind: kind, Changed: 2}}
	}
	r := &Result{Tensors: []TensorDiff{one("bfloat16", explain.Sparse), one("bfloat16", explain.Sparse), one("", explain.Sparse), one("bfloat16", explain.Scaled)}}
	for want, tensors := range map[string][]int{"2 of 3,000 apart from the dtype": {0}, "4 of 6,000 apart from the dtype": {0, 1}, "": {2, 3}} {
		x := r.Extent(&Group{Tensors: tensors})
		if got := x.ChangedWords(); got != want {
			t.Errorf("%v: %q, want %q", tensors, got, want)
		}
	}
}
