package moves_test

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// A list that transposes a matrix, and two elements of what it gives.
func Example() {
	kernel := tensortest.Stored("kernel", tensor.U8, []int64{2, 3}, []byte("abcdef"))
	l := moves.List{
		Dests: []moves.Dest{{Name: "weight", DType: tensor.U8, Shape: []int64{3, 2}, Rule: "transpose"}},
		Moves: []moves.Move{{Source: kernel, View: tensor.RowMajor(2, 3).Permute(1, 0)}},
	}
	if err := l.Check(); err != nil {
		panic(err)
	}
	elements, err := l.Sample(0, []int64{0, 1})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", elements)
	// Output: [a d]
}
