package moves_test

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// A list that transposes one matrix and copies another.
func Example() {
	kernel := tensortest.Stored("kernel", tensor.U8, []int64{2, 3}, []byte("abcdef"))
	scale := tensortest.Stored("scale", tensor.U8, []int64{2}, []byte("gh"))
	l := moves.List{
		Dests: []moves.Dest{
			{Name: "weight", DType: tensor.U8, Shape: []int64{3, 2}, Rule: "transpose"},
			{Name: "norm.weight", DType: tensor.U8, Shape: []int64{2}, Rule: "copy"},
		},
		Moves: []moves.Move{
			{Source: kernel, View: tensor.RowMajor(2, 3).Permute(1, 0)},
			{Source: scale, View: tensor.RowMajor(2), Dest: 1},
		},
	}
	if err := l.Check(); err != nil {
		panic(err)
	}
	for source, dest := range l.Copied() {
		fmt.Println(source.Name, "is", l.Dests[dest].Name)
	}
	// Output: scale is norm.weight
}
