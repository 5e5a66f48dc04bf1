package diff

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// layered returns a checkpoint of layers with the given content, numbered from 0 on.
func layered(t *testing.T, prefix string, contents ...float64) *tensor.Checkpoint {
	t.Helper()
	tensors := []*tensor.Tensor{vector(prefix+"embed", 1, 2, 3)}
	for i, c := range contents {
		for k, name := range []string{"norm", "up", "down"} {
			tensors = append(tensors, vector(fmt.Sprintf("%slayers.%d.%s", prefix, i, name), c, c+float64(k), -c))
		}
	}
	return checkpointOf(t, tensors...)
}

// A layer that was removed or added is one difference, and the layers behind it are equal.
func TestRemovedLayers(t *testing.T) {
	for _, tt := range []struct {
		name         string
		a, b         []float64
		onlyA, onlyB int
		equal        int
		note         string
	}{
		{"the first", []float64{1, 2, 3, 4}, []float64{2, 3, 4}, 3, 0, 10, "layers 0 to 2 of B are layers 1 to 3 of A; B lacks layer 0 of A"},
		{"in the middle", []float64{1, 2, 3, 4, 5}, []float64{1, 4, 5}, 6, 0, 10, "layers 0 to 2 of B are layers 0, 3, 4 of A; B lacks layers 1, 2 of A"},
		{"the last", []float64{1, 2, 3}, []float64{1, 2}, 3, 0, 7, ""},
		{"added at the end", []float64{1, 2}, []float64{1, 2, 3}, 0, 3, 7, ""},
		{"half of them", []float64{1, 2, 3}, []float64{9, 3}, 6, 3, 4, "layer 1 of B is layer 2 of A; B lacks layers 0, 1 of A; layer 0 of B has no counterpart in A"},
		{"before two", []float64{2, 3}, []float64{1, 2, 3}, 0, 3, 7, "layers 1, 2 of B are layers 0, 1 of A; layer 0 of B has no counterpart in A"},
		{"added", []float64{1, 2, 3}, []float64{1, 9, 2, 3}, 0, 3, 10, "layers 0, 2, 3 of B are layers 0 to 2 of A; layer 1 of B has no counterpart in A"},
		{"repeated", []float64{1, 2, 3}, []float64{1, 2, 2, 3}, 0, 3, 10, "layers 0, 1, 3 of B are layers 0 to 2 of A; layer 2 of B is a copy of layer 1 of A"},
		{"replaced", []float64{1, 2, 3, 4}, []float64{9, 3, 4}, 6, 3, 7, "layers 1, 2 of B are layers 2, 3 of A; B lacks layers 0, 1 of A; layer 0 of B has no counterpart in A"},
	} {
		for _, prefix := range []string{"", "model."} {
			r, err := Diff(t.Context(), layered(t, "model.", tt.a...), layered(t, prefix, tt.b...), Options{})
			if err != nil {
				t.Fatal(err)
			}
			s := r.Summary
			if s.OnlyA != tt.onlyA || s.OnlyB != tt.onlyB || s.Equal != tt.equal || s.Differ > 0 || r.Equal {
				t.Errorf("%s, %q: %+v", tt.name, prefix, s)
			}
			if notes := strings.Join(r.Notes, "\n"); notes != tt.note {
				t.Errorf("%s: %q", tt.name, notes)
			}
		}
	}
	same, err := Diff(t.Context(), layered(t, "", 1, 2, 3), layered(t, "", 2, 3, 4), Options{})
	if err != nil || len(same.Notes) > 0 {
		t.Errorf("equal numbers of layers: %v, %v", same, err)
	}
	raw, err := Diff(t.Context(), layered(t, "", 1, 2, 3, 4), layered(t, "", 2, 3, 4), Options{Raw: true})
	if err != nil || raw.Summary.Equal != 1 {
		t.Errorf("as they are: %v, %v", raw, err)
	}
}

// Layers without counterpart that hold the same as layers which have one, or most of it, are said to be made from these.
func TestDuplicatedLayers(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b []float64
		note string
		only string // what the groups say of the layers of one side
		of   string // TensorDiff.CopyOf of one tensor
	}{
		{"upscaled", []float64{1, 2, 3, 4}, []float64{1, 2, 3, 2, 3, 4}, "layers 0 to 2, 5 of B are layers 0 to 3 of A; layers 3, 4 of B are copies of layers 1, 2 of A",
			"layers 3, 4 of m.layers: only_b, copies of layers 1, 2 of A", "layers.4.up: layers.2.up"},
		{"at the end", []float64{1, 2, 3}, []float64{1, 2, 3, 2, 3}, "layers 3, 4 of B are copies of layers 1, 2 of A",
			"layers 3, 4 of m.layers: only_b, copies of layers 1, 2 of A", "layers.3.up: layers.1.up"},
		{"the same twice", []float64{1, 2, 3}, []float64{1, 2, 3, 2, 2}, "layers 3, 4 of B are copies of layer 1 of A",
			"layers 3, 4 of m.layers: only_b, copies of layer 1 of A", "layers.4.up: layers.1.up"},
		{"beside another", []float64{1, 2, 3}, []float64{9, 1, 2, 2, 3}, "layers 1, 2, 4 of B are layers 0 to 2 of A; layer 3 of B is a copy of layer 1 of A; layer 0 of B has no counterpart in A",
			"layer 0 of m.layers: only_b, |layer 3 of m.layers: only_b, a copy of layer 1 of A", "layers.3.up: layers.1.up"},
		{"removed", []float64{1, 2, 1, 2, 3}, []float64{1, 2, 3}, "layers 0 to 2 of B are layers 0, 1, 4 of A; B lacks layers 2, 3 of A, which are copies of layers 0, 1 of A",
			"layers 2, 3 of m.layers: only_a, copies of layers 0, 1", "layers.2.up: layers.0.up"},
		{"removed from the end", []float64{1, 2, 1, 9}, []float64{1, 2}, "B lacks layer 3 of A; B lacks layer 2 of A, which is a copy of layer 0 of A",
			"layer 2 of m.layers: only_a, a copy of layer 0|layer 3 of m.layers: only_a, ", "layers.2.up: layers.0.up"},
		{"one tensor changed", []float64{1, 2, 3}, []float64{1, 2, 2.5, 3}, "layers 0, 1, 3 of B are layers 0 to 2 of A; layer 2 of B looks like layer 1 of A",
			"layer 2 of m.layers: only_b, ", ""},
		{"one tensor changed, removed", []float64{1, 2, 2.5, 3}, []float64{1, 2, 3}, "layers 0 to 2 of B are layers 0, 1, 3 of A; B lacks layer 2 of A, which looks like layer 1 of A",
			"layer 2 of m.layers: only_a, ", ""},
	} {
		of := func(contents []float64) *tensor.Checkpoint { // a fraction changes one tensor of four
			var tensors []*tensor.Tensor
			for i, c := range contents {
				for k, name := range []string{"norm", "up", "down", "gate"} {
					value := math.Floor(c)
					if name == "norm" {
						value = c
					}
					tensors = append(tensors, vector(fmt.Sprintf("m.layers.%d.%s", i, name), value, value+float64(k)))
				}
			}
			return checkpointOf(t, tensors...)
		}
		r, err := Diff(t.Context(), of(tt.a), of(tt.b), Options{})
		if err != nil {
			t.Fatal(err)
		}
		var groups []string
		for _, g := range r.Groups() {
			groups = append(groups, fmt.Sprintf("%s of %s: %s, %s", r.LayersOf(&g), g.List, g.Status, g.Change))
		}
		slices.Sort(groups)
		if notes, only := strings.Join(r.Notes, "\n"), strings.Join(groups, "|"); notes != tt.note || only != tt.only {
			t.Errorf("%s: %q, %q", tt.name, notes, only)
		}
		var copies []string
		for i := range r.Tensors {
			name, _ := CutUnpaired(r.Tensors[i].Name)
			if x := r.Tensors[i].CopyOf; x != "" {
				copies = append(copies, strings.TrimPrefix(name, "m.")+": "+strings.TrimPrefix(x, "m."))
			}
		}
		if tt.of == "" && copies != nil || tt.of != "" && !slices.Contains(copies, tt.of) {
			t.Errorf("%s: %q", tt.name, copies)
		}
	}
}

// The pair of a layer that was moved has the name that A has for it, and that of B. All names have the prefix if both sides have it, and
// none has it if only one has. A layer of B that has the number of another of A says that it is B's.
func TestNamesOfMovedLayers(t *testing.T) {
	for _, tt := range []struct {
		prefixA, prefixB string
		b                []float64
		name, nameB      string // of the pair
		list, other      string // of all names, and of those of B's layer
	}{
		{"", "", []float64{2, 3}, "layers.1.up", "layers.0.up", "layers", ""},
		{"model.", "model.", []float64{2, 3}, "model.layers.1.up", "model.layers.0.up", "model.layers", ""},
		{"model.", "", []float64{2, 3}, "layers.1.up", "layers.0.up", "layers", ""},
		{"", "model.", []float64{2, 3}, "layers.1.up", "model.layers.0.up", "layers", ""},
		{"model.", "model.", []float64{1, 9, 2, 3}, "model.layers.1.up", "model.layers.2.up", "model.layers", "B:model.layers"},
		{"model.", "", []float64{1, 9, 2, 3}, "layers.1.up", "layers.2.up", "layers", "B:layers"},
	} {
		last := fmt.Sprintf("layers.%d.more", len(tt.b)-1) // that only B has, in the layer that is A's layer 2
		b := append(layered(t, tt.prefixB, tt.b...).Tensors(), vector(tt.prefixB+last, 5))
		r, err := Diff(t.Context(), layered(t, tt.prefixA, 1, 2, 3), checkpointOf(t, b...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		more := strings.TrimSuffix(tt.name, "1.up") + "2.more"
		if at := slices.IndexFunc(r.Tensors, func(x TensorDiff) bool { return x.Name == more }); at < 0 || r.Tensors[at].Status != OnlyB {
			t.Errorf("%q, %q: no %s", tt.prefixA, tt.prefixB, more)
		}
		at := slices.IndexFunc(r.Tensors, func(x TensorDiff) bool { return x.Name == tt.name })
		if at < 0 || r.Tensors[at].Status != Equal || r.Tensors[at].B != tt.nameB {
			t.Errorf("%+v: %+v", tt, r.Tensors)
		}
		for _, x := range r.Tensors {
			if list, layer, _ := SplitLayer(x.Name); layer >= 0 && list != tt.list && (list != tt.other || x.Status != OnlyB) {
				t.Errorf("%q, %q: %+v", tt.prefixA, tt.prefixB, x)
			}
		}
	}
}

// Layers that only B has are named by their numbers in B, and not called all layers of a list. All tensors of such a layer are of one
// list, also those whose names A lacks.
func TestGroupsOfAddedLayers(t *testing.T) {
	of := func(contents ...float64) *tensor.Checkpoint {
		var tensors []*tensor.Tensor
		for i, c := range contents {
			for k, name := range []string{"norm", "up", "down", "gate", fmt.Sprintf("kind%d.w", int(c)%2)} {
				tensors = append(tensors, vector(fmt.Sprintf("m.layers.%d.%s", i, name), c, c+float64(k)))
			}
		}
		return checkpointOf(t, tensors...)
	}
	for _, tt := range []struct {
		b    *tensor.Checkpoint
		want []string
	}{
		{of(1, 9, 13, 17, 3, 5, 7), []string{"every tensor of layers 1 to 3 of m.layers"}},
		{of(1, 8, 3, 5, 7), []string{"every tensor of layer 1 of m.layers"}},
		{of(1, 9, 3, 5, 7, 13), []string{"every tensor of layers 1, 5 of m.layers"}},
	} {
		r, err := Diff(t.Context(), of(1, 3, 5, 7), tt.b, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range r.Groups() {
			got = append(got, r.Where(&g)...)
		}
		slices.Sort(got)
		slices.Sort(tt.want)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q, not %q", got, tt.want)
		}
	}
}

// Layers whose list has another name in B are compared, and said to be renamed where they hold the same.
func TestRenamedList(t *testing.T) {
	of := func(prefix, list string, contents ...float64) *tensor.Checkpoint {
		tensors := []*tensor.Tensor{vector(prefix+"embed", 1, 2, 3)}
		for i, c := range contents {
			for k, name := range []string{"norm", "up", "down", "gate"} {
				tensors = append(tensors, vector(fmt.Sprintf("%s%s.%d.%s", prefix, list, i, name), c, c+float64(k)))
			}
		}
		return checkpointOf(t, tensors...)
	}
	for _, tt := range []struct {
		name string
		a, b *tensor.Checkpoint
		note string
		want []string
	}{
		{"the same", of("m.", "layers", 1, 2, 3), of("m.", "blocks", 1, 2, 3), "the layers of m.blocks of B are compared with those of m.layers of A",
			[]string{"every tensor of all layers (3) of m.layers: m.layers renamed to m.blocks"}},
		{"another prefix", of("m.", "layers", 1, 2, 3), of("", "blocks", 1, 2, 3), "the layers of blocks of B are compared with those of m.layers of A",
			[]string{"every tensor of all layers (3) of layers: layers renamed to blocks"}},
		{"one has other values", of("m.", "layers", 1, 2, 3), of("m.", "blocks", 1, 7, 3), "the layers of m.blocks of B are compared with those of m.layers of A",
			[]string{"every tensor of layers 0, 2 of m.layers: m.layers renamed to m.blocks", "m.layers.1.down: ", "m.layers.1.gate: ", "m.layers.1.norm: ", "m.layers.1.up: "}},
		{"one was added", of("m.", "layers", 1, 2, 3), of("m.", "blocks", 1, 9, 2, 3), "the layers of m.blocks of B are compared with those of m.layers of A; layers 0, 2, 3 of B are layers 0 to 2 of A; layer 1 of B has no counterpart in A",
			[]string{"every tensor of all layers (3) of m.layers: m.layers renamed to m.blocks", "every tensor of layer 1 of m.blocks: "}},
		{"more behind", of("m.", "layers", 1, 2), of("m.", "blocks", 1, 2, 3, 4), "the layers of m.blocks of B are compared with those of m.layers of A",
			[]string{"every tensor of all layers (2) of m.layers: m.layers renamed to m.blocks", "every tensor of layers 2, 3 of m.blocks: "}},
	} {
		r, err := Diff(t.Context(), tt.a, tt.b, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range r.Groups() {
			change := g.Change
			if g.Status == Differs {
				change = ""
			}
			got = append(got, strings.Join(r.Where(&g), "")+": "+change)
		}
		slices.Sort(got)
		if notes := strings.Join(r.Notes, "; "); !slices.Equal(got, tt.want) || notes != tt.note || r.Equal {
			t.Errorf("%s: %q, %q", tt.name, got, notes)
		}
	}
}

// A layer that only A has is whole, whichever tensors of B, renamed, have its number.
func TestRemovedBesideRenamed(t *testing.T) {
	of := func(name string, contents ...float64) *tensor.Checkpoint {
		var tensors []*tensor.Tensor
		for i, c := range contents {
			for k, tail := range []string{"norm", "up", "down", "gate", name} {
				tensors = append(tensors, vector(fmt.Sprintf("layers.%d.%s", i, tail), c, c+float64(k)))
			}
		}
		return checkpointOf(t, tensors...)
	}
	r, err := Diff(t.Context(), of("mlp.w", 1, 2, 3, 4), of("ffw.v", 1, 3, 4), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range r.Groups() {
		got = append(got, strings.Join(r.Where(&g), "")+": "+g.Change)
	}
	if want := []string{"every tensor of layer 1 of layers: ", "layers 0, 2, 3 of layers: mlp.w: renamed to ffw.v"}; !slices.Equal(got, want) {
		t.Errorf("%q, not %q", got, want)
	}
}

// A group has every tensor of layers of B only if none of them was paired with one of A under another name, and the new name of one tensor
// is written in full.
func TestGroupsBesideRenamed(t *testing.T) {
	names := map[bool][]string{false: {"n", "p.a", "p.b", "p.c", "p.d", "p.e"}, true: {"norm", "q.1a", "q.2b", "q.3c", "q.4d", "q.5e"}}
	of := func(list string, other bool, layers, same int) *tensor.Checkpoint {
		var tensors []*tensor.Tensor
		for i := range layers {
			for k, name := range names[other] {
				x := float64(100*i + k)
				if other && k >= same {
					x += 0.5
				}
				tensors = append(tensors, vector(fmt.Sprintf("%s.%d.%s", list, i, name), x, 1))
			}
		}
		return checkpointOf(t, tensors...)
	}
	for _, tt := range []struct {
		name         string
		list         string
		layers, same int
		onlyB, first string // the group of B, and what was done to the first tensor
	}{
		{"of another list", "m.blocks", 3, 2, "all layers (3) of m.blocks: q.2b, q.3c, q.4d, q.5e", "renamed to m.blocks.*.norm"},
		{"of one list", "layers", 3, 2, "all layers (3) of layers: q.2b, q.3c, q.4d, q.5e", "renamed to norm"},
		{"of one layer", "m.blocks", 1, 2, "m.blocks.0.{q.2b, q.3c, q.4d, q.5e}", "renamed to m.blocks.0.norm"},
		{"a whole part", "m.blocks", 3, 1, "all layers (3) of m.blocks: q.*", "renamed to m.blocks.*.norm"},
	} {
		r, err := Diff(t.Context(), of("layers", false, tt.layers, 0), of(tt.list, true, tt.layers, tt.same), Options{})
		if err != nil {
			t.Fatal(err)
		}
		onlyB, first := "", ""
		for _, g := range r.Groups() {
			switch {
			case g.Status == OnlyB:
				onlyB += strings.Join(r.Where(&g), "")
			case g.Status == Equal && first == "":
				first = g.Change
			}
		}
		if onlyB != tt.onlyB || first != tt.first {
			t.Errorf("%s: %q, %q", tt.name, onlyB, first)
		}
	}
}

// presented returns the tensors of a checkpoint under other names, without those whose name becomes "".
func presented(t *testing.T, path string, name func(string) string) *tensor.Checkpoint {
	t.Helper()
	c := open(t, path)
	var tensors []*tensor.Tensor
	for _, x := range c.Tensors() {
		if now := name(x.Name); now != "" {
			other := *x
			other.Name = now
			tensors = append(tensors, &other)
		}
	}
	out, err := tensor.NewCheckpoint("", c.Format, tensors)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The names of a model of the family have the prefix that both sides have, and those of a layer that was moved too.
func TestNamesOfMovedBlocks(t *testing.T) {
	const path = "../../testdata/tiny-griffin/hf"
	// numbers gives the layer that each becomes, -1 for none
	numbered := func(numbers ...int) func(string) string {
		return func(name string) string {
			list, layer, rest := SplitLayer(name)
			switch {
			case layer < 0:
				return name
			case numbers[layer] < 0:
				return ""
			}
			return fmt.Sprintf("%s.%d.%s", list, numbers[layer], rest)
		}
	}
	under := presented(t, path, func(name string) string { return "net.7." + name }) // a prefix that has a number
	whole, fewer, same := presented(t, path, numbered(0, 1, 2, 3, 4)), presented(t, path, numbered(0, 1, 3, 4, -1)), presented(t, path, numbered(0, 1, -1, 2, 3))
	for _, tt := range []struct {
		a, b *tensor.Checkpoint
		want string // lists of layers
	}{{whole, same, "model.layers"}, {same, whole, "B:model.layers model.layers"}, {whole, fewer, "model.layers"}, {under, under, "net"}} {
		r, err := Diff(t.Context(), tt.a, tt.b, Options{})
		if err != nil {
			t.Fatal(err)
		}
		lists := map[string]bool{}
		for _, x := range r.Tensors {
			if list, layer, _ := SplitLayer(x.Name); layer >= 0 {
				lists[list] = true
				if list == "net" && layer != 7 {
					t.Errorf("%s is %s", x.A, x.Name)
				}
			}
		}
		if got := strings.Join(slices.Sorted(maps.Keys(lists)), " "); got != tt.want {
			t.Errorf("the lists of layers are %q, not %q", got, tt.want)
		}
	}
}

// A layer that one side lacks is one group, and what happened to those behind it has the numbers of A, whatever the layouts of both sides are.
func TestNumbersOfMovedBlocks(t *testing.T) {
	whole := func(layer int, _ string) int { return layer }
	fewer := func(layer int, rest string) int { // lacks layer 1, and has the MLPs of layers 3 and 4 exchanged
		if layer > 2 && strings.HasPrefix(rest, "mlp_block.") {
			layer = 7 - layer
		}
		return []int{0, -1, 1, 2, 3}[layer]
	}
	of := func(path string, number func(layer int, rest string) int) *tensor.Checkpoint {
		return presented(t, testdata+"tiny-griffin/"+path, func(name string) string {
			list, layer, rest := SplitLayer(name)
			if layer >= 0 {
				if layer = number(layer, rest); layer < 0 {
					return ""
				}
				return fmt.Sprintf("%s.%d.%s", list, layer, rest)
			}
			return name
		})
	}
	layouts := []string{"hf", "original/torch.pt", "original/orbax-ocdbt"}
	for _, tt := range []struct {
		a, b func(layer int, rest string) int
		want []string
	}{
		{whole, fewer, []string{"only_a every tensor of layer 1 of LIST: ", "differs layers 3, 4 of LIST: mlp_block.*: swapped between layers 3 and 4"}},
		{fewer, whole, []string{"only_b every tensor of layer 1 of LIST: ", "differs layers 2, 3 of LIST: mlp_block.*: swapped between layers 2 and 3"}},
	} {
		for _, a := range layouts {
			for _, b := range layouts {
				r, err := Diff(t.Context(), of(a, tt.a), of(b, tt.b), Options{})
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, g := range r.Groups() {
					where := strings.ReplaceAll(strings.Join(r.Where(&g), " "), " "+g.List, " LIST")
					got = append(got, fmt.Sprintf("%s %s: %s", g.Status, where, g.Change))
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("%s and %s: %q, not %q", a, b, got, tt.want)
				}
			}
		}
	}
}

// A model whose names do not show the kinds of its blocks has none, and its shapes do not tell what no tensor shows.
func TestKindsThatNamesDoNotShow(t *testing.T) {
	for path, part := range map[string]string{"../../testdata/tiny-griffin/hf": "temporal_block.", "../../testdata/tiny-griffin/original/torch.pt": "_block."} {
		same := presented(t, path, func(name string) string { return name })
		other := presented(t, path, func(name string) string { return strings.ReplaceAll(name, part, "x"+part+"y.") })
		r, err := Diff(t.Context(), same, other, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.A.BlockTypes) != 5 || r.B.BlockTypes != nil || r.B.Layout == "" || len(r.Config) > 0 || r.Summary.Renamed == 0 {
			t.Errorf("%s: %q, %q, %+v, %+v", path, r.A.BlockTypes, r.B.BlockTypes, r.Config, r.Summary)
		}
	}
}

// Layers of which just half is the same are not the same layer, and those of another list keep their numbers.
func TestLayersThatAreNotMoved(t *testing.T) {
	of := func(contents ...[2]float64) *tensor.Checkpoint {
		var tensors []*tensor.Tensor
		for i, c := range contents {
			tensors = append(tensors, vector(fmt.Sprintf("layers.%d.norm", i), c[0], 1), vector(fmt.Sprintf("layers.%d.up", i), c[1], 2))
		}
		return checkpointOf(t, append(tensors, vector("heads.0.norm", 7, 8), vector("heads.1.norm", 9, 8))...)
	}
	half, err := Diff(t.Context(), of([2]float64{1, 2}, [2]float64{3, 4}, [2]float64{5, 6}), of([2]float64{3, 9}, [2]float64{5, 8}), Options{})
	if err != nil || len(half.Notes) > 0 {
		t.Errorf("%v, %q", err, half.Notes)
	}
	moved, err := Diff(t.Context(), of([2]float64{1, 2}, [2]float64{3, 4}, [2]float64{5, 6}), of([2]float64{3, 4}, [2]float64{5, 6}), Options{})
	if err != nil || strings.Join(moved.Notes, "") != "layers 0, 1 of B are layers 1, 2 of A; B lacks layer 0 of A" || moved.Summary.Equal != 6 || moved.Summary.OnlyA != 2 || moved.Summary.OnlyB != 0 {
		t.Errorf("%v, %q, %+v", err, moved.Notes, moved.Summary)
	}
}

// Tensors of two checkpoints belong together by their names, by what they hold, and as parts of layers that were moved.
func TestFindCounterparts(t *testing.T) {
	a := layered(t, "", 1, 2, 3, 4)
	for _, tt := range []struct {
		name   string
		b      *tensor.Checkpoint
		want   map[string]string // that have other names
		gone   int               // tensors of A without counterpart
		layers string
	}{
		{"the same", layered(t, "", 1, 2, 3, 4), nil, 0, ""},
		{"a layer is gone", layered(t, "", 1, 3, 4), map[string]string{"layers.2.norm": "layers.1.norm", "layers.3.down": "layers.2.down"}, 3, "layers 0 to 2 of new are layers 0, 2, 3 of old; new lacks layer 1 of old"},
		{"another prefix", layered(t, "m.", 1, 2, 3, 4), map[string]string{"embed": "m.embed", "layers.2.norm": "m.layers.2.norm"}, 0, ""},
		{"something else", checkpointOf(t, vector("embed", 5), vector("x", 6)), nil, 12, ""},
	} {
		found, err := FindCounterparts(t.Context(), a, tt.b, nil)
		if err != nil {
			t.Fatal(err)
		}
		words := ""
		if found.Layers != nil {
			words = found.Layers.Words("old", "new")
		}
		if words != tt.layers || len(found.Names) != len(a.Tensors())-tt.gone {
			t.Errorf("%s: %q, %v", tt.name, words, found.Names)
		}
		for name, want := range tt.want {
			if found.Names[name] != want {
				t.Errorf("%s: %s is %q, want %q", tt.name, name, found.Names[name], want)
			}
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for name, b := range map[string]*tensor.Checkpoint{"layers": layered(t, "", 1, 3, 4), "names": layered(t, "m.", 1, 2, 3, 4)} {
		if _, err := FindCounterparts(ctx, a, b, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled, %s: %v", name, err)
		}
	}
}

// The name of a list of layers is split off a prefix if most names have a number behind it.
func TestSplitList(t *testing.T) {
	for _, tt := range []struct{ names, prefix, outer, list string }{
		{"m.layers.0.a m.layers.1.a embed", "m.layers.", "m.", "layers"},
		{"layers.0.a layers.1.a", "layers.", "", "layers"},
		{"m.layers.0.a embed", "m.layers.", "m.layers.", ""}, // not most
		{"a.0.x b.0.x b.1.x", "a.", "a.", ""},
		{"m.a.x m.a.y m.a.z", "m.a.", "m.a.", ""},
		{"m.layers.0.a m.layers.1.a", "m.", "m.", ""},
	} {
		var tensors []*tensor.Tensor
		for _, name := range strings.Fields(tt.names) {
			tensors = append(tensors, vector(name, 1))
		}
		if outer, list := splitList(checkpointOf(t, tensors...), tt.prefix); outer != tt.outer || list != tt.list {
			t.Errorf("%s: %q, %q", tt.names, outer, list)
		}
	}
}

// Beside a list of layers that has another name in B, tensors that only one side has are found. Where one side has no list of layers, or both have
// one of the same name, no list was renamed.
func TestBesideARenamedList(t *testing.T) {
	of := func(names string) *tensor.Checkpoint {
		var tensors []*tensor.Tensor
		for _, name := range strings.Fields(names) {
			x := float64(name[len(name)-1])
			for i := range 3 {
				if all := strings.ReplaceAll(name, "#", fmt.Sprint(i)); all != name || i == 0 {
					tensors = append(tensors, vector(all, x, float64(i), 1))
				}
			}
		}
		return checkpointOf(t, tensors...)
	}
	const renamed = "the layers of m.blocks of B are compared with those of m.layers of A"
	for _, tt := range []struct {
		name, a, b string
		notes      string
		want       []string // what only one side has
	}{
		{"tensors of one side", "m.layers.#.x m.layers.#.y m.embed m.a", "m.blocks.#.x m.blocks.#.y m.embed m.b", renamed, []string{"A m.a", "B m.b"}},
		{"tensors of one side in the layers", "m.layers.#.x m.layers.#.y m.layers.#.z m.embed", "m.blocks.#.x m.blocks.#.w m.blocks.#.v m.embed", renamed,
			[]string{"A all layers (3) of m.layers: y, z", "B layers 0 to 2 of m.blocks: w, v"}},
		{"a part that both have", "m.layers.#.n m.layers.#.q.a", "m.blocks.#.n m.blocks.#.q.a m.blocks.#.q.b m.blocks.#.q.c m.blocks.#.q.d m.blocks.#.q.e", renamed,
			[]string{"B layers 0 to 2 of m.blocks: q.b, q.c, q.d, q.e"}},
		{"a whole part", "m.layers.#.n m.layers.#.q.a", "m.blocks.#.n m.blocks.#.q.a m.blocks.#.z.b m.blocks.#.z.c m.blocks.#.z.d m.blocks.#.z.e", renamed,
			[]string{"B layers 0 to 2 of m.blocks: z.*"}},
		{"one list", "m.layers.#.x m.layers.#.y embed", "layers.#.x layers.#.y embed", "", nil},
		{"no layers in A", "m.k.p m.k.q m.k.r", "m.layers.#.x m.layers.#.y m.layers.#.z", "", []string{"A m.k.p", "A m.k.q", "A m.k.r", "B all layers (3) of m.layers: x, y, z"}},
		{"no layers in B", "m.layers.#.x m.layers.#.y m.layers.#.z", "m.k.p m.k.q m.k.r", "", []string{"A all layers (3) of m.layers: x, y, z", "B m.k.p", "B m.k.q", "B m.k.r"}},
	} {
		r, err := Diff(t.Context(), of(tt.a), of(tt.b), Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range r.Groups() {
			if side := map[Status]string{OnlyA: "A ", OnlyB: "B "}[g.Status]; side != "" {
				got = append(got, side+strings.Join(r.Where(&g), ", "))
			}
		}
		slices.Sort(got)
		if notes := strings.Join(r.Notes, "; "); notes != tt.notes || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, %q", tt.name, got, notes)
		}
	}
}
