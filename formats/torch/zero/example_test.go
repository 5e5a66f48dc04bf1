package zero_test

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/torch/zero"
)

// The weights of the optimizer are float32, those of the model bfloat16.
func ExampleOpen() {
	for _, weights := range []zero.Weights{zero.Master, zero.Compute} {
		checkpoint, err := zero.Open(storage.Local("testdata/stage-2"), ".", zero.Newest, zero.Options{Weights: weights})
		if err != nil {
			fmt.Println(err)
			return
		}
		up := checkpoint.Tensor("up.weight")
		fmt.Println(up.Name, up.DType, up.Shape)
		checkpoint.Close()
	}
	// Output:
	// up.weight float32 [14 10]
	// up.weight bfloat16 [14 10]
}
