package diff

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// Entries that matter as much stay in their order.
func TestSortEntries(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		entries := make([]TensorDiff, rng.IntN(40))
		for i := range entries {
			entries[i] = TensorDiff{Name: fmt.Sprint(i), Status: []Status{Equal, Differs, OnlyA}[rng.IntN(3)], Metrics: &Metrics{RelativeL2: Number(rng.IntN(3))}}
		}
		want := slices.Clone(entries)
		slices.SortStableFunc(want, func(a, b TensorDiff) int {
			return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(b.Distance(), a.Distance()))
		})
		sortEntries(entries)
		if !reflect.DeepEqual(entries, want) {
			t.Fatalf("got\n%v, want\n%v", entries, want)
		}
	}
}

// Two checkpoints that have nothing in common are compared only up to a limit.
func TestMaxPairs(t *testing.T) {
	of := func(letter string, n int) *tensor.Checkpoint {
		tensors := make([]*tensor.Tensor, n)
		for i := range tensors {
			tensors[i] = &tensor.Tensor{Name: fmt.Sprint(letter, i), DType: tensor.F32, Shape: []int64{0}}
		}
		c, err := tensor.NewCheckpoint(letter, "test", tensors)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, n := range []int{maxPairs / 2, maxPairs/2 + 1} {
		d := newDiffer(Options{Raw: true})
		if err := d.match(t.Context(), of("a", n), of("b", n)); (err == nil) != (2*n <= maxPairs) || tensor.ReasonOf(err) != map[bool]tensor.Reason{true: tensor.TooLarge}[err != nil] {
			t.Errorf("%d tensors on either side: %v", n, err)
		}
	}
}

// Groups of very many layers and names take time in proportion to their number, and are named by kinds as if each was alone.
func TestLayersOfManyGroups(t *testing.T) {
	r := &Result{A: Side{BlockTypes: []string{"x", "y", "x"}}}
	for i := range 3000 {
		r.Tensors = append(r.Tensors, TensorDiff{Name: fmt.Sprintf("l.%d.w%dx", i%3, i/3), Status: Differs})
	}
	groups := r.Groups()
	if len(groups) != 1000 {
		t.Fatalf("%d groups", len(groups))
	}
	for i := range groups {
		alone := groups[i]
		alone.list = nil
		if got, want := r.LayersOf(&groups[i]), r.LayersOf(&alone); got != want || want != "all layers (3)" {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	two := Group{List: "l", Layers: []int{0, 2}}
	if got := r.LayersOf(&two); got != "x layers (2)" {
		t.Error(got)
	}
}

// Tensors of no model have the order of their files, but for safetensors, whose order is that of the bytes of names.
func TestOrderOfNames(t *testing.T) {
	for format, want := range map[string]string{"safetensors": "b.2 b.12 h.0 h.2 h.10", "torch-zip": "b.12 b.2 h.0 h.10 h.2"} {
		side := func(value float64, more ...*tensor.Tensor) *tensor.Checkpoint {
			c, err := tensor.NewCheckpoint("memory", format, append([]*tensor.Tensor{vector("h.0", value, 1), vector("h.10", value, 1), vector("h.2", value, 1)}, more...))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		for _, raw := range []bool{true, false} {
			r, err := Diff(t.Context(), side(1), side(2, vector("b.12", 1), vector("b.2", 1)), Options{Raw: raw})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for i := range r.Tensors {
				names = append(names, r.Tensors[i].Name)
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("%s, raw %t: %s, want %s", format, raw, got, want)
			}
		}
	}
}

// Tensors to which one kind of change was done stay in their order, however far each of them is apart; others are sorted by that.
func TestSortEntriesByKind(t *testing.T) {
	entry := func(name string, distance float64, e *explain.Explanation) TensorDiff {
		return TensorDiff{Name: name, Status: Differs, Metrics: &Metrics{RelativeL2: Number(distance)}, Explanation: e}
	}
	copied := func(with string) *explain.Explanation {
		return &explain.Explanation{Kind: explain.CopiedFrom, With: with}
	}
	quantized := &explain.Explanation{Kind: explain.Quantized}
	entries := []TensorDiff{entry("a", 0.1, copied("b")), entry("b", 0.5, nil), entry("c", 0.9, copied("d")), entry("d", 2, nil), entry("e", 0.4, copied("a")),
		entry("f", 0.2, quantized), entry("g", 0.3, quantized), entry("h", 0.7, &explain.Explanation{Kind: explain.Scaled})}
	sortEntries(entries)
	got := ""
	for _, e := range entries {
		got += e.Name
	}
	if got != "dacehbgf" {
		t.Error(got)
	}
}
