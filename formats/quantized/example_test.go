package quantized_test

import (
	"context"
	"fmt"
	"log"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/quantized"
)

func Example() {
	original, err := formats.Open("../../testdata/quantized/base", formats.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer original.Close()
	stored, err := formats.Open("../../testdata/quantized/bnb-nf4", formats.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer stored.Close()

	q, err := quantized.Open(stored)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(q)
	w := q.Weights[0]
	j, err := w.Judge(context.Background(), original.Tensor(w.Tensor.Name))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: error %.3f, %.2f times the least\n", w.Tensor.Name, j.Error, j.Ratio())
	// Output:
	// bitsandbytes nf4, blocks of 64: 13 of 36 tensors are quantised
	// model.layers.0.mlp_block.down_proj.weight: error 0.093, 1.00 times the least
}
