package diff

import (
	"math/rand/v2"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// A tensor that has another name and was changed in one step is found again; one that two may have become
// is not.
func TestPairAlike(t *testing.T) {
	rng := rand.New(rand.NewPCG(*suiteSeed, 12))
	side := func(names []string, values ...array) *tensor.Checkpoint {
		var all []*tensor.Tensor
		for i, x := range values {
			all = append(all, x.operand(names[i]).Tensor)
		}
		c, err := tensor.NewCheckpoint("test", "memory", all)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	v := func() array { return random(rng, tensor.F32, []int64{20, 30}) }
	x, y, z, w := v(), v(), v(), v()
	a := side([]string{"x", "y", "z", "w"}, x, y, z, w)
	b := side([]string{"w", "one", "two", "three", "three again"}, w, scale(0.5)(rng, x), touch(2)(rng, y), z.rounded(tensor.BF16).rounded(tensor.F32), plus(1)(rng, z))
	result, err := Diff(t.Context(), a, b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range result.Tensors {
		got[e.Name] = string(e.Status)
		if e.Renamed {
			got[e.Name] += " " + e.B + ": " + kindsOf(line1(e.Explanation))
		}
	}
	for name, want := range map[string]string{"w": "equal", "x": "differs one: scaled", "y": "differs two: sparse",
		"z": "only_a", "three": "only_b", "three again": "only_b"} {
		if got[name] != want {
			t.Errorf("%s: %s, not %s", name, got[name], want)
		}
	}
}
