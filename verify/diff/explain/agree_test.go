package explain

import (
	"math/rand/v2"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// scaledBy returns what tensors of some sizes are said to be scaled by, once they agree.
func scaledBy(t *testing.T, d tensor.DType, sizes []int64, by func(i int, x float64) float64) map[string]int {
	t.Helper()
	rng := rand.New(rand.NewPCG(32, 1))
	var pairs []*Pair
	for i, n := range sizes {
		x := weights(rng, d, 1, n)
		pairs = append(pairs, pairOf(string(rune('a'+i)), x, x.each(func(v float64) float64 { return by(i, v) })))
	}
	explainer := New(pairs)
	all := []*Explanation{nil}
	for _, p := range pairs {
		e, err := explainer.Explain(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	Agree(all)
	said := map[string]int{}
	for _, e := range all[1:] {
		said[e.String()]++
	}
	return said
}

// One constant is one number, however many digits of it each tensor shows, and as short as it is true of all.
func TestAgree(t *testing.T) {
	sizes := []int64{8, 16, 16, 24, 64, 300, 5000, 60_000}
	f32 := func(x float64) float64 { return float64(float32(x)) }
	for name, tt := range map[string]struct {
		d    tensor.DType
		by   func(i int, x float64) float64
		want map[string]int
	}{
		"0.9 of float32":          {tensor.F32, func(_ int, x float64) float64 { return f32(x * f32(0.9)) }, map[string]int{"scaled by 0.9": 8}},
		"0.9":                     {tensor.F32, func(_ int, x float64) float64 { return x * 0.9 }, map[string]int{"scaled by 0.9": 8}},
		"a third":                 {tensor.F32, func(_ int, x float64) float64 { return x / 3 }, map[string]int{"scaled by 1/3": 8}},
		"many digits":             {tensor.F32, func(_ int, x float64) float64 { return f32(x * f32(0.123456789)) }, map[string]int{"scaled by 0.12345679": 8}},
		"in bfloat16":             {tensor.BF16, func(_ int, x float64) float64 { return f32(x * f32(0.97)) }, map[string]int{"scaled by 0.97": 8}},
		"many digits in bfloat16": {tensor.BF16, func(_ int, x float64) float64 { return f32(x * f32(0.123456789)) }, map[string]int{"scaled by 0.12346": 8}},
		"added":                   {tensor.F32, func(_ int, x float64) float64 { return x + 0.123456789 }, map[string]int{"added 0.123456789": 8}},
		"two": {tensor.F32, func(i int, x float64) float64 { return x * []float64{0.9, 0.90001}[i%2] },
			map[string]int{"scaled by 0.9": 4, "scaled by 0.90001": 4}},
		// Exact in few bits, so that many products lie in the middle between two numbers: the constant is an end of what these elements allow.
		"ties in bfloat16":         {tensor.BF16, func(_ int, x float64) float64 { return f32(x * 2.375) }, map[string]int{"scaled by 2.375": 8}},
		"ties of a smaller factor": {tensor.BF16, func(_ int, x float64) float64 { return f32(x * 1.0625) }, map[string]int{"scaled by 1.0625": 8}},
		"ties of two factors": {tensor.BF16, func(i int, x float64) float64 { return f32(x * []float64{2.375, 2.4375}[i%2]) },
			map[string]int{"scaled by 2.375": 4, "scaled by 2.4375": 4}},
		// The short ones allow both, and the others are not kept from agreeing by those that do not.
		"ties of two factors that are near": {tensor.BF16, func(i int, x float64) float64 {
			return f32(x * []float64{2.375, 2.375, 2.375, 2.375, 2.375, 2.375, 2.376, 2.375}[i])
		},
			map[string]int{"scaled by 2.375": 7, "scaled by 2.376": 1}},
		"in float64": {tensor.F64, func(_ int, x float64) float64 { return x * 0.9 }, map[string]int{"scaled by 0.9": 8}},
	} {
		said := scaledBy(t, tt.d, sizes, tt.by)
		same := len(said) == len(tt.want)
		for words, n := range tt.want {
			same = same && said[words] == n
		}
		if !same {
			t.Errorf("%s: %v, not %v", name, said, tt.want)
		}
	}
}
