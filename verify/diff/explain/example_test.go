package explain_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// matrix returns a tensor in memory.
func matrix(name string, rows, columns int64, value func(row, column int64) float32) *tensor.Tensor {
	var content bytes.Buffer
	for i := range rows {
		for j := range columns {
			binary.Write(&content, binary.LittleEndian, value(i, j))
		}
	}
	shape := []int64{rows, columns}
	return &tensor.Tensor{Name: name, DType: tensor.F32, Shape: shape,
		Data: &tensor.Strided{Store: bytes.NewReader(content.Bytes()), Length: rows * columns, DType: tensor.F32, View: tensor.RowMajor(shape...)}}
}

// Two tensors were exchanged, and one of them was transposed and halved.
func Example() {
	q := func(i, j int64) float32 { return float32(100*i + j) }
	k := func(i, j int64) float32 { return float32(7*i - j*j) }
	pairs := []*explain.Pair{
		{Name: "q", A: matrix("q", 6, 6, q), B: matrix("q", 6, 6, k)},
		{Name: "k", A: matrix("k", 6, 6, k), B: matrix("k", 6, 6, q)},
		{Name: "v", A: matrix("v", 5, 9, q), B: matrix("v", 9, 5, func(i, j int64) float32 { return q(j, i) / 2 })},
	}
	x := explain.New(pairs)
	for _, p := range pairs {
		e, err := x.Explain(context.Background(), p)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: %s (%s)\n", p.Name, e, e.Kind)
	}
	// Output:
	// q: swapped with k (swapped)
	// k: swapped with q (swapped)
	// v: transposed, then scaled by 0.5 (transposed)
}

// What a conversion should have written: two parts of one tensor, each of them transposed. It
// exchanged them.
func ExampleExpected() {
	source := matrix("up", 4, 10, func(i, j int64) float32 { return float32(i*i*10 + j) })
	whole := tensor.RowMajor(4, 10)
	first := explain.Part{Source: source, View: whole.Narrow(1, 0, 5).Permute(1, 0)}
	second := explain.Part{Source: source, View: whole.Narrow(1, 5, 5).Permute(1, 0)}
	want, err := explain.Expected("up", tensor.F32, []int64{2, 5, 4}, first, second)
	if err != nil {
		fmt.Println(err)
		return
	}
	got, _ := explain.Expected("up", tensor.F32, []int64{2, 5, 4}, second, first)
	pair := &explain.Pair{Name: "up", A: want, B: got}
	e, err := explain.New([]*explain.Pair{pair}).Explain(context.Background(), pair)
	fmt.Println(e, err)
	// Output: reversed along axis 0 (its two indices exchanged) <nil>
}
