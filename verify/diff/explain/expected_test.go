package explain

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Expected elements can be read from any byte on, whatever they are made of.
func TestExpected(t *testing.T) {
	rng := rand.New(rand.NewPCG(14, 1))
	x, y := random(rng, tensor.F32, []int64{6, 10}), random(rng, tensor.BF16, []int64{10, 6})
	got, err := Expected("w", tensor.BF16, []int64{3, 60},
		Part{Source: x.tensor("x"), View: tensor.RowMajor(6, 10).Permute(1, 0)},
		Part{Source: y.tensor("y"), View: tensor.RowMajor(10, 6)},
		Part{Source: x.tensor("x"), View: tensor.RowMajor(6, 10), Divide: 4})
	if err != nil {
		t.Fatal(err)
	}
	want := x.permuted(1, 0).rounded(tensor.BF16).encode()
	want = append(want, y.encode()...)
	want = append(want, x.each(func(v float64) float64 { return v / 4 }).rounded(tensor.BF16).encode()...)
	for _, off := range []int{0, 1, 2, 119, 120, 121, 240, 301, 360} {
		r, err := got.Data.Stream(int64(off))
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(content, want[off:]) {
			t.Errorf("from byte %d: %x, %v, not %x", off, content, err, want[off:])
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, tt := range []struct {
		part   Part
		format bool
	}{
		{Part{Source: x.tensor("x"), View: tensor.RowMajor(61)}, false},
		{Part{Source: random(rng, tensor.I32, []int64{4}).tensor("n"), View: tensor.RowMajor(4)}, true},
		{Part{Source: x.tensor("x"), View: tensor.RowMajor(60), Divide: -1}, true},
	} {
		var bad *tensor.FormatError
		if _, err := Expected("w", tensor.BF16, []int64{60}, tt.part); err == nil || errors.As(err, &bad) != tt.format {
			t.Errorf("%s %v: %v", tt.part.Source.Name, tt.part.View, err)
		}
	}
}
