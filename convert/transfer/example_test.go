package transfer_test

import (
	"context"
	"fmt"
	"os"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/convert/transfer"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// A matrix is transposed into a safetensors file.
func Example() {
	kernel := tensortest.Stored("kernel", tensor.U8, []int64{2, 3}, []byte("abcdef"))
	list := moves.List{
		Dests: []moves.Dest{{Name: "weight", DType: tensor.U8, Shape: []int64{3, 2}}},
		Moves: []moves.Move{{Source: kernel, View: tensor.RowMajor(2, 3).Permute(1, 0)}},
	}
	dir, err := os.MkdirTemp("", "transfer")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	layout, err := safetensors.NewLayout([]tensor.Spec{{Name: "weight", DType: tensor.U8, Shape: []int64{3, 2}}}, 0, nil)
	if err != nil {
		panic(err)
	}
	dst, err := layout.Create(dir, nil)
	if err != nil {
		panic(err)
	}
	defer dst.Close()
	result, err := transfer.Execute(context.Background(), list, dst, transfer.Options{})
	if err != nil {
		panic(err)
	}
	written, err := safetensors.Open(storage.Local(dir), ".")
	if err != nil {
		panic(err)
	}
	defer written.Close()
	content := make([]byte, 6)
	if _, err := written.Tensor("weight").ReadAt(content, 0); err != nil {
		panic(err)
	}
	fmt.Printf("%s %s…\n", content, result.Digests.Dest(0).Hex()[:8])
	// Output: adbecf 372afb75…
}
