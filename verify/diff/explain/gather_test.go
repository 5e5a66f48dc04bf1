package explain

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// The elements of an arrangement are gathered band by band, whatever the size of a band and of an element.
func TestBands(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	shape := []int64{3, 4, 5}
	table := func(order ...int32) axisOrder { return axisOrder{n: int64(len(order)), table: order} }
	for name, m := range map[string]*arrangement{
		"identity":                   {shape, []int{0, 1, 2}, []axisOrder{{n: 3}, {n: 4}, {n: 5}}, nil},
		"permuted":                   {shape, []int{2, 0, 1}, []axisOrder{{n: 5}, {n: 3}, {n: 4}}, nil},
		"reversed in the last axis":  {shape, []int{0, 1, 2}, []axisOrder{{n: 3}, {n: 4}, {n: 5, reversed: true}}, nil},
		"reversed and permuted":      {shape, []int{1, 2, 0}, []axisOrder{{n: 4, reversed: true}, {n: 5}, {n: 3, reversed: true}}, nil},
		"shuffled in the last axis":  {shape, []int{0, 1, 2}, []axisOrder{{n: 3}, {n: 4}, table(2, 0, 1, 4, 3)}, nil},
		"shuffled in the first axis": {shape, []int{2, 1, 0}, []axisOrder{table(2, 0, 1, 4, 3), {n: 4}, table(1, 2, 0)}, nil},
	} {
		for _, d := range []tensor.DType{tensor.U8, tensor.BF16, tensor.F32, tensor.F64, tensor.C128} {
			size := d.Size()
			content := make([]byte, 60*size)
			for i := range content {
				content[i] = byte(rng.Uint32())
			}
			x := &tensor.Tensor{Name: "x", DType: d, Shape: shape, Data: stored{content}}
			var want []byte
			for i := range int64(60) {
				at := m.from(i)
				want = append(want, content[at*size:(at+1)*size]...)
			}
			for _, room := range []int64{1, 2, 7, 59, 60, 1000} {
				r, err := m.openBands(t.Context(), x, room*size)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, %s, bands of %d: %v\n%x, want\n%x", name, d, room, err, got, want)
				}
				r.Close()
			}
		}
	}
}

// A row that does not end with a piece goes on in the next one.
func TestBandOfLongRows(t *testing.T) {
	shape := []int64{2, pieceElements + 5}
	content := make([]byte, 4*shape[0]*shape[1])
	for i := range content {
		content[i] = byte(i * i >> 8)
	}
	m := &arrangement{shape, []int{1, 0}, []axisOrder{{n: shape[1], reversed: true}, {n: 2}}, nil}
	r, err := m.openBands(t.Context(), &tensor.Tensor{Name: "x", DType: tensor.F32, Shape: shape, Data: stored{content}}, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || len(got) != len(content) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	for i := range shape[0] * shape[1] {
		if at := m.from(i); !bytes.Equal(got[4*i:][:4], content[4*at:][:4]) {
			t.Fatalf("element %d", i)
		}
	}
}

// A run of elements that are a stride apart lies in a band from one on and before another.
func TestWithin(t *testing.T) {
	for at := int64(-12); at <= 12; at++ {
		for _, stride := range []int64{1, 2, 5, -1, -3} {
			for n := int64(0); n < 6; n++ {
				from, to := within(at, stride, n, 7)
				for i := range n {
					if in := at+i*stride >= 0 && at+i*stride < 7; in != (i >= from && i < to) {
						t.Errorf("from %d by %d: element %d of %d, from %d before %d", at, stride, i, n, from, to)
					}
				}
				if from < 0 || to > n {
					t.Errorf("from %d by %d: from %d before %d of %d", at, stride, from, to, n)
				}
			}
		}
	}
}
