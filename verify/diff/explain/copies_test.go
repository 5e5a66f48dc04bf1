package explain

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Tensors were exchanged or copied, several in one checkpoint, and changed in another way as well.
func TestExplainCopies(t *testing.T) {
	rng := rand.New(rand.NewPCG(*suiteSeed, 8))
	for _, d := range suiteTypes {
		for _, shape := range [][]int64{{40, 56}, {24, 24}, {300}, {5, 6, 20}} {
			v := func() array { return random(rng, d, shape) }
			x, y, z, u, w := v(), v(), v(), v(), v()
			for name, c := range map[string]struct {
				after [5]array
				want  [5]string
				ok    bool
			}{
				"swapped":                  {[5]array{y, x, z, u, w}, [5]string{"swapped y", "swapped x"}, true},
				"swapped twice":            {[5]array{y, x, u, z, w}, [5]string{"swapped y", "swapped x", "swapped u", "swapped z"}, true},
				"turned round":             {[5]array{y, z, x, u, w}, [5]string{"copied_from y", "copied_from z", "copied_from x"}, true},
				"copied":                   {[5]array{w, y, z, u, w}, [5]string{"copied_from w"}, true},
				"copied from what changed": {[5]array{y, v(), z, u, w}, [5]string{"copied_from y", "other"}, true},
				"swapped, sparse":          {[5]array{y.touched(rng, 1), x, z, u, w}, [5]string{"swapped y, then sparse", "swapped x"}, true},
				"copied, sparse":           {[5]array{w.touched(rng, 2), y, z, u, w}, [5]string{"copied_from w, then sparse"}, true},
				"swapped, scaled":          {[5]array{scale(-0.5)(rng, y), x, z, u, w}, [5]string{"swapped y, then scaled", "swapped x"}, isFloat(d)},
				"copied, added":            {[5]array{x, plus(0.5)(rng, w), z, u, w}, [5]string{"", "copied_from w, then added"}, isFloat(d) && d.Size() > 1},
				"swapped, zeroed":          {[5]array{scale(0)(rng, y), x, z, u, w}, [5]string{"zeroed", "copied_from x"}, true},
				"swapped and others": {[5]array{y, x, reverse(0)(rng, z), u.touched(rng, 1), v()},
					[5]string{"swapped y", "swapped x", "reversed", "sparse", "other"}, len(x.values) > 200},
			} {
				if !c.ok {
					continue
				}
				var pair checkpointPair
				for i, before := range []array{x, y, z, u, w} {
					pair.add(string("xyzuw"[i]), before, c.after[i])
				}
				got := pair.explanations(t)
				for i, want := range c.want {
					if e := kindsOf(got[string("xyzuw"[i])]); e != want {
						t.Errorf("%s %v: %s: %c: %s, not %s", d, shape, name, "xyzuw"[i], e, want)
					}
				}
			}
		}
	}
}

func transposeOf(x array) array {
	if len(x.shape) != 2 {
		return x
	}
	return x.permuted(1, 0)
}

// Tensors that have many explanations, or too few elements for any.
func TestExplainLittle(t *testing.T) {
	rng := rand.New(rand.NewPCG(*suiteSeed, 9))
	values := func(v ...float64) array { return array{tensor.F32, []int64{int64(len(v))}, v} }
	fill := func(v float64, shape ...int64) array {
		return random(rng, tensor.F32, shape).each(func(float64) float64 { return v })
	}
	square := random(rng, tensor.F32, []int64{128, 128})
	symmetric := square.at(square.shape, func(index []int64) []int64 { return []int64{min(index[0], index[1]), max(index[0], index[1])} })
	wide := random(rng, tensor.BF16, []int64{128, 40})
	for _, c := range []struct {
		name string
		a, b array
		want string
	}{
		{"one element", values(1), values(2), "other"},
		{"one element, zeroed", values(1), values(0), "zeroed"},
		{"two exchanged", values(1, 2), values(2, 1), "reversed"},
		{"three scaled", values(1, 2, 3), values(2, 4, 6), "other"},
		{"ones that became halves", fill(1, 64), fill(0.5, 64), "scaled"},
		{"zeros that became ones", fill(0, 64), fill(1, 64), "added"},
		{"zeros that became random", fill(0, 64), random(rng, tensor.F32, []int64{64}), "other"},
		{"filled with another constant, in another shape", fill(2, 8, 16), fill(3, 16, 8), "zeroed, then added"},
		{"symmetric, transposed", symmetric, transposeOf(symmetric).touched(rng, 3), "sparse"},
		{"mostly zeros, one moved", sparseOf(rng, 1000, 3), sparseOf(rng, 1000, 3), "sparse"},
		{"only NaN", wide, fill(math.NaN(), 128, 40), "other"},
		{"NaN in both", withNaN(wide), scale(2)(rng, withNaN(wide)), "scaled"},
		{"a NaN more", wide, withNaN(wide), "sparse"},
		{"scaled, a NaN more", wide, withNaN(scale(2)(rng, wide)), "scaled, then sparse"},
		{"zeros of another sign", scale(0)(rng, fill(-1, 4, 4)), scale(0)(rng, fill(1, 4, 4)), "zero_signs"},
		{"zeros of another sign in float32", scale(0)(rng, fill(-1, 40)), scale(0)(rng, fill(1, 40)), "zero_signs"},
		{"zeros of another sign beside numbers", evenZeros(fill(1, 60), math.Copysign(0, -1)), evenZeros(fill(1, 60), 0), "zero_signs"},
		{"zeros of another sign, and one number", evenZeros(fill(1, 60), math.Copysign(0, -1)), evenZeros(fill(1, 60), 0).touched(rng, 1), "other"},
	} {
		var pair checkpointPair
		pair.add("x", c.a, c.b)
		if got := kindsOf(pair.explanations(t)["x"]); got != c.want {
			t.Errorf("%s: %s, not %s", c.name, got, c.want)
		}
	}
}

// evenZeros returns a tensor of small integers and, at every other index, of a zero.
func evenZeros(x array, zero float64) array {
	x = x.clone()
	for i := range x.values {
		if x.values[i] = float64(i); i%2 == 0 {
			x.values[i] = zero
		}
	}
	return x
}

// Tensors of one value, as in a new model, are not taken for copies of one another.
func TestExplainConstants(t *testing.T) {
	rng := rand.New(rand.NewPCG(*suiteSeed, 10))
	x := random(rng, tensor.BF16, []int64{300})
	ones := x.each(func(float64) float64 { return 1 })
	var pair checkpointPair
	pair.add("x", x, ones)
	pair.add("y", ones, ones)
	pair.add("z", ones.each(func(float64) float64 { return 3 }), ones)
	if got := kindsOf(pair.explanations(t)["z"]); got != "scaled" {
		t.Errorf("%s", got)
	}
	if got := kindsOf(pair.explanations(t)["x"]); got != "zeroed, then added" {
		t.Errorf("%s", got)
	}
}

// Packed elements are compared as bytes, which are only zeroed or copied.
func TestExplainPacked(t *testing.T) {
	rng := rand.New(rand.NewPCG(*suiteSeed, 13))
	side := func(zero bool) *tensor.Tensor {
		content := make([]byte, 150)
		for i := range content {
			if !zero {
				content[i] = byte(rng.Uint32())
			}
		}
		return &tensor.Tensor{DType: tensor.F6E2M3, Shape: []int64{10, 20}, Data: stored{content}}
	}
	x, y := side(false), side(false)
	reversed := side(true)
	copy(reversed.Data.(stored).content, x.Data.(stored).content)
	slices.Reverse(reversed.Data.(stored).content)
	all := []*Pair{{Name: "x", A: x, B: y}, {Name: "y", A: y, B: x}, {Name: "z", A: x, B: side(true)}, {Name: "r", A: x, B: reversed}}
	explainer := New(all)
	for _, p := range all {
		e, err := explainer.Explain(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"x": "swapped y", "y": "swapped x", "z": "zeroed", "r": "other"}[p.Name]
		if got := oneLine(e); got != want {
			t.Errorf("%s: %s, not %s", p.Name, got, want)
		}
	}
}

func withNaN(x array) array {
	x = x.clone()
	zero := 0.0
	x.values[17] = zero / zero
	return x
}

func sparseOf(rng *rand.Rand, n, some int) array {
	x := array{tensor.F32, []int64{int64(n)}, make([]float64, n)}
	for _, i := range rng.Perm(n)[:some] {
		x.values[i] = float64(1 + rng.IntN(1000))
	}
	return x
}

// Elements are read in the order of an arrangement, whatever the size of the bands.
func TestArrangements(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, shape := range [][]int64{{7, 5}, {3, 4, 5}, {11}, {2, 1, 3, 4}} {
		x := random(rng, tensor.F32, shape)
		var all []*arrangement
		for _, to := range [][]int64{shape, {5, 7}, {5, 3, 4}, {4, 2, 3}} {
			all = append(all, listed(shape, to)...)
		}
		for _, m := range all {
			m = m.clone()
			k := rng.IntN(len(m.orders))
			if m.orders[k].isIdentity() {
				m.orders[k].table = make([]int32, m.orders[k].n)
				for i, at := range rng.Perm(int(m.orders[k].n)) {
					m.orders[k].table[i] = int32(at)
				}
			}
			for _, room := range []int64{1, 3, 8, 1000} {
				got, err := readBands(t, m, x.tensor("x"), room)
				if err != nil {
					t.Fatal(err)
				}
				for i := range x.values {
					if want := float32(x.values[m.from(int64(i))]); got[i] != want {
						t.Fatalf("%v as %v, %+v, bands of %d: element %d is %g, not %g", shape, m.result(), m.orders, room, i, got[i], want)
					}
				}
			}
		}
	}
}

func readBands(t *testing.T, m *arrangement, x *tensor.Tensor, room int64) ([]float32, error) {
	t.Helper()
	r, err := m.openBands(t.Context(), x, 4*room)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	out := make([]float32, x.Elements())
	return out, binary.Read(r, binary.LittleEndian, out)
}
