package dcp_test

import (
	"context"
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/torch/dcp"
)

// Three ranks saved their rows of the tensor, which is read as a whole.
func ExampleOpen() {
	checkpoint, err := dcp.Open(storage.Local("testdata/fsdp2"), ".", dcp.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer checkpoint.Close()
	embed := checkpoint.Tensor("embed.weight")
	sum, err := tensor.Digest(context.Background(), embed, digest.SHA256)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(embed.DType, embed.Shape, sum.Hex()[:16])
	// Output: float32 [61 10] cba9fe7afc97f839
}
