package convert

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// A view shows the same elements whether the tensor lies in a file or has to be decoded, from any
// byte on.
func TestViewed(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	for round := range 300 {
		shape := make([]int64, 1+rng.IntN(4))
		for i := range shape {
			shape[i] = 1 + rng.Int64N(6)
		}
		view := randomMove(rng, shape)
		whole := make([]byte, 4*(&tensor.Tensor{Shape: shape}).Elements())
		for i := range whole {
			whole[i] = byte(rng.Uint32())
		}
		var want []byte
		eachIndex(view.Shape, func(index []int64) {
			e := at(view, index)
			want = append(want, whole[4*e:4*e+4]...)
		})
		stored := withData(&tensor.Tensor{Name: "w", DType: tensor.F32, Shape: shape}, whole)
		decoded := &tensor.Tensor{Name: "w", DType: tensor.F32, Shape: shape, Data: &streamOnly{content: whole}}
		for name, source := range map[string]*tensor.Tensor{"stored": stored, "decoded": decoded} {
			v, err := Viewed(source, view)
			if err != nil {
				t.Fatal(err)
			}
			if d, ok := v.Data.(*viewed); ok && round%2 == 0 {
				d.most, d.piece = 4*(1+rng.Int64N(9)), 4*(1+rng.Int64N(9))
			}
			off := rng.Int64N(int64(len(want)) + 1)
			r, err := v.Data.Stream(off)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			r.Close()
			if err != nil || !bytes.Equal(got, want[off:]) {
				t.Fatalf("round %d, %s: view %+v of %v from byte %d: %v\n%x, not\n%x", round, name, view, shape, off, err, got, want[off:])
			}
		}
	}
}
