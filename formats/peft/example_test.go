package peft_test

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/storage"
)

func ExampleRead() {
	adapter, err := peft.Read(storage.Local("../../testdata/finetune"), "adapter")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer adapter.Close()
	c := adapter.Config
	fmt.Printf("%s of rank %d and alpha %v for %s\n", c.Type, c.Rank, c.Alpha, c.Base)
	change := adapter.Changes()[0]
	fmt.Printf("%s: %v · %v times %v\n", change.Parameter, change.Left.Tensor.Shape, change.Right.Tensor.Shape, change.Scale)
	// Output:
	// LORA of rank 2 and alpha 4 for base
	// model.layers.0.mlp_block.down_proj.weight: [16 2] · [2 24] times 2
}
