package diff_test

import (
	"context"
	"fmt"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/verify/diff"
)

// A fine-tune is compared with its base. Only its MLP is looked at.
func Example() {
	base, err := formats.Open("../../testdata/finetune/base", formats.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer base.Close()
	merged, err := formats.Open("../../testdata/finetune/merged", formats.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer merged.Close()
	result, err := diff.Diff(context.Background(), base, merged, diff.Options{Only: []string{"*.mlp_block.*"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("equal:", result.Equal)
	for _, g := range result.Groups() {
		fmt.Printf("%s: %s\n", g.Where(), g.Change)
	}
	// Output:
	// equal: false
	// model.layers.0-1.{mlp_block.up_proj.weight, mlp_block.gate_proj.weight, mlp_block.down_proj.weight}: changed by a matrix of rank 2
}
