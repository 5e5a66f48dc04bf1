package ranks_test

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/torch/ranks"
)

// The file of one rank stands for those of all.
func ExampleOpen() {
	checkpoint, err := ranks.Open(storage.Local("testdata/tensor-parallel"), "model_world_size_4_rank_0.pt", ranks.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer checkpoint.Close()
	for _, t := range checkpoint.Tensors()[:3] {
		fmt.Println(t.Name, t.DType, t.Shape)
	}
	// Output:
	// embed.weight float32 [61 10]
	// blocks.0.scale float32 [1]
	// blocks.0.mean float32 [5]
}
