package reference

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// TestFastRoundsBothFactors: a product of Fast is that of the rounded activations and weights.
func TestFastRoundsBothFactors(t *testing.T) {
	const n, in, out = 3, 80, 40
	rng := rand.New(rand.NewPCG(21, 22))
	x, w := make([]float32, n*in), make([]float32, in*out)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	y := make([]float32, n*out)
	p := &Parameter{DType: tensor.F32, Shape: []int64{out, in}, Data: Bytes(kernel.Dense(w, out, in, in, false).Data)}
	if err := testEngine[float32](Config{}, single{p}, Fast).multiply(y, x, n, 0, "w", in, out); err != nil {
		t.Fatal(err)
	}
	rounded := func(x float32) float64 { return float64(kernel.RoundBF16(x)) }
	for i := range y {
		exact, size := 0.0, 0.0
		for k := range in {
			term := rounded(x[i/out*in+k]) * rounded(w[i%out*in+k])
			exact, size = exact+term, size+math.Abs(term)
		}
		if math.Abs(float64(y[i])-exact) > size*in*0x1p-24 {
			t.Errorf("element %d is %v, want %v", i, y[i], exact)
		}
	}
}

// TestFast: Fast is near Float32, and another arithmetic.
func TestFast(t *testing.T) {
	for _, dir := range cases(t) {
		c, m := openCase(t, dir)
		tokens := make([]int32, 40*c.Batch)
		for i := range tokens {
			tokens[i] = int32(i * 7 % m.Config.VocabSize)
		}
		want := results(t, m, Pass{Tokens: tokens, Batch: c.Batch})["logits"]
		m.Arithmetic.Precision = Fast
		d := difference(results(t, m, Pass{Tokens: tokens, Batch: c.Batch})["logits"], want.Float32)
		t.Logf("%s: differs by %.2g", dir, d)
		if !(d > 1e-6 && d < 0.03) {
			t.Errorf("%s: differs by %.3g of the largest logit", dir, d)
		}
	}
}
