package proof_test

import (
	"context"
	"fmt"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// One element of a written matrix is not that of the source's transpose.
func ExampleProve() {
	shape := []int64{3, 2}
	list := moves.List{
		Dests: []moves.Dest{{Name: "weight", DType: tensor.U8, Shape: shape}},
		Moves: []moves.Move{{Source: tensortest.Stored("kernel", tensor.U8, []int64{2, 3}, []byte("abcdef")), View: tensor.RowMajor(2, 3).Permute(1, 0)}},
	}
	written, err := tensor.NewCheckpoint("model.safetensors", "safetensors", []*tensor.Tensor{tensortest.Stored("weight", tensor.U8, shape, []byte("adbeXf"))})
	if err != nil {
		panic(err)
	}
	p, err := proof.Prove(context.Background(), list, written, proof.Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Err())
	// Output:
	// not as in the source: 1 tensor
	//   weight: differs in 1 element; the first, [2, 0], is 0x58 instead of 0x63 (from kernel)
}

// Two tensors may hold the transpose of a third.
func ExampleMatcher() {
	m, err := proof.NewMatcher(6)
	if err != nil {
		panic(err)
	}
	defer m.Close()
	kernel := tensortest.Stored("kernel", tensor.U8, []int64{2, 3}, []byte("abcdef"))
	transposed := tensor.RowMajor(2, 3).Permute(1, 0)
	equal, err := m.Match(context.Background(), kernel, []proof.Candidate{
		{View: transposed, Tensor: tensortest.Stored("a", tensor.U8, []int64{3, 2}, []byte("adbecf"))},
		{View: transposed, Tensor: tensortest.Stored("b", tensor.U8, []int64{3, 2}, []byte("abcdef"))},
	}, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(equal)
	// Output: [true false]
}
