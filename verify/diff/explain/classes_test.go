package explain

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// counted is Data that counts its streams.
type counted struct {
	tensor.Data
	opened *atomic.Int64
}

func (c counted) Stream(off int64) (io.ReadCloser, error) {
	c.opened.Add(1)
	return c.Data.Stream(off)
}

// Copies are found among thousands of tensors of one shape that all changed, and the work for each of them does not grow
// with their number.
func TestManyTensorsOfOneShape(t *testing.T) {
	const n = 3000
	rng := rand.New(rand.NewPCG(*suiteSeed, 17))
	before := make([]array, n)
	for i := range before {
		before[i] = random(rng, tensor.F32, []int64{6, 8})
	}
	after := make([]array, n)
	for i, x := range before {
		after[i] = x.each(func(v float64) float64 { return float64(float32(v + 0.01*rng.NormFloat64())) })
	}
	after[10] = before[2900]
	after[20] = scale(-0.5)(rng, before[2000])
	after[30] = plus(0.5)(rng, before[31])
	after[40] = before[7].rounded(tensor.BF16)
	after[50], after[2950] = before[2950], before[50]
	want := map[int]string{10: "copied_from 2900", 20: "copied_from 2000, then scaled", 30: "copied_from 31, then added",
		40: "copied_from 7, then rounded", 50: "swapped 2950", 2950: "swapped 50"}
	var opened atomic.Int64
	all := make([]*Pair, n)
	for i := range all {
		p := &Pair{Name: fmt.Sprint(i), A: before[i].tensor(fmt.Sprint(i)), B: after[i].tensor(fmt.Sprint(i))}
		p.A.Data, p.B.Data = counted{p.A.Data, &opened}, counted{p.B.Data, &opened}
		all[i] = p
	}
	x := New(all)
	for i, p := range all {
		e, err := x.Explain(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if got := kindsOf(oneLine(e)); want[i] != "" && got != want[i] || want[i] == "" && e.Kind != Other {
			t.Errorf("%d: %s, not %s", i, oneLine(e), want[i])
		}
	}
	if most := int64(30 * n); opened.Load() > most {
		t.Errorf("%d streams were opened for %d tensors", opened.Load(), n)
	}
}

// A signature is like that of what one operation makes of the tensor, and not like that of another tensor.
func TestSignatures(t *testing.T) {
	rng := rand.New(rand.NewPCG(*suiteSeed, 18))
	x, y := random(rng, tensor.F32, []int64{40, 50}), random(rng, tensor.F32, []int64{40, 50})
	of := func(a array) *signature {
		codes, err := readLeading(a.tensor("x"))
		if err != nil {
			t.Fatal(err)
		}
		s := signatureOf(a.tensor("x"), codes)
		return &s
	}
	s := of(x)
	for name, a := range map[string]array{"scaled": scale(3)(rng, x), "negated": scale(-1)(rng, x), "added": plus(2)(rng, x),
		"rounded": x.rounded(tensor.BF16), "sparse": x.touched(rng, 5)} {
		if !s.like(of(a)) {
			t.Errorf("%s: not alike", name)
		}
	}
	if s.like(of(y)) {
		t.Error("another tensor is alike")
	}
}
