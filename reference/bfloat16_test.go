package reference

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// errorAgainst returns the root mean square of the errors of x, and the number of its elements that
// equal those of y.
func errorAgainst(truth Activations, x func(i int) float64, y []float32) (rms float64, equal int) {
	for i := range truth.Len() {
		d := x(i) - truth.At(i)
		rms += d * d
		if x(i) == float64(y[i]) {
			equal++
		}
	}
	return math.Sqrt(rms / float64(truth.Len())), equal
}

// TestBFloat16: in BFloat16 the roundings are those of JAX. In tiny-griffin, at least 99% of the elements
// of every result have the bits of JAX. On larger arrays XLA sums the squares of the norm unrounded and
// in another order, which changes some roundings, and these differences spread; the error against
// float64 is as large as that of JAX.
func TestBFloat16(t *testing.T) {
	for _, dir := range cases(t) {
		c, m := openCase(t, dir)
		if c.DType != "bfloat16" {
			continue
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			golden, _ := tryGolden(t, dir, "jax")
			for _, prefix := range []string{"", "packed."} {
				p := Pass{Tokens: golden["tokens"].int32s(), Batch: c.Batch, Positions: golden[prefix+"positions"].int32s()}
				exact, ours := *m, *m
				exact.Arithmetic.Precision = Float64
				ours.Arithmetic.Precision = BFloat16
				truth, got := results(t, &exact, p), results(t, &ours, p)
				for name, g := range got {
					want, ok := golden[prefix+name]
					if !ok {
						continue
					}
					jax := want.float32s()
					our, equal := errorAgainst(truth[name], g.At, jax)
					their, _ := errorAgainst(truth[name], func(i int) float64 { return float64(jax[i]) }, jax)
					share := float64(equal) / float64(len(jax))
					t.Logf("%s%s: %.2f%% equal elements, rms error %.3g, JAX %.3g", prefix, name, 100*share, our, their)
					if filepath.Base(dir) == "tiny-griffin" && share < 0.99 {
						t.Errorf("%s%s equals JAX in only %.1f%% of its elements", prefix, name, 100*share)
					}
					if their > 0 && (our > 1.25*their || our < their/1.25) {
						t.Errorf("%s%s has an rms error of %.3g, JAX of %.3g", prefix, name, our, their)
					}
				}
			}
		})
	}
}

// TestFused: Fused is another valid way to round. It changes numbers, and their error stays about as
// large.
func TestFused(t *testing.T) {
	c, m := openCase(t, filepath.Join("..", "testdata", "tiny-griffin"))
	golden, _ := tryGolden(t, filepath.Join("..", "testdata", "tiny-griffin"), "jax")
	p := Pass{Tokens: golden["tokens"].int32s(), Batch: c.Batch}
	m.Arithmetic = Arithmetic{Precision: Float64}
	truth := results(t, m, p)["logits"]
	m.Arithmetic = Arithmetic{Precision: BFloat16, Fused: true}
	fused := results(t, m, p)["logits"]
	jax := golden["logits"].float32s()
	our, equal := errorAgainst(truth, fused.At, jax)
	their, _ := errorAgainst(truth, func(i int) float64 { return float64(jax[i]) }, jax)
	if equal > len(jax)/2 || our > 1.2*their || our < their/3 {
		t.Errorf("%d of %d elements are equal, rms error %.3g, unfused %.3g", equal, len(jax), our, their)
	}
}

// TestBFloat16RoundsWeights: BFloat16 rounds weights that are stored in a wider type, with the result
// of storing them in bfloat16.
func TestBFloat16RoundsWeights(t *testing.T) {
	m, p := oddGriffin(t)
	m.Arithmetic.Precision = BFloat16
	wide := results(t, m, p)
	narrow := huggingFace{}
	for name, s := range m.Weights.(huggingFace) {
		n := stored{dtype: tensor.BF16, shape: s.shape}
		for _, x := range s.float32s() {
			n.data = binary.LittleEndian.AppendUint16(n.data, uint16(math.Float32bits(kernel.RoundBF16(x))>>16))
		}
		narrow[name] = n
	}
	m.Weights = narrow
	sameBits(t, wide, results(t, m, p))
}
