package diff

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Tensors that were scaled by one factor are one group, whatever each of them shows of it.
func TestOneFactorIsOneGroup(t *testing.T) {
	rng := rand.New(rand.NewPCG(33, 1))
	var a, b []*tensor.Tensor
	for i, n := range []int64{8, 16, 30, 3000, 50_000} {
		x := array{tensor.F32, []int64{n}, make([]float64, n)}
		y := array{tensor.F32, x.shape, make([]float64, n)}
		for k := range x.values {
			v := float32(rng.NormFloat64())
			x.values[k], y.values[k] = float64(v), float64(float32(float64(v)*0.123456789))
		}
		name := fmt.Sprintf("layers.%d.w", i)
		a, b = append(a, x.tensor(name)), append(b, y.tensor(name))
	}
	r, err := Diff(t.Context(), checkpointOf(t, a...), checkpointOf(t, b...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if groups := r.Groups(); len(groups) != 1 || groups[0].Change != "scaled by 0.123456789" {
		t.Errorf("%+v", groups)
	}
}
