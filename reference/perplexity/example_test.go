package perplexity_test

import (
	"context"
	"fmt"
	"log"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/reference/perplexity"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

func Example() {
	checkpoint, err := formats.Open("../../testdata/odd-griffin/hf", formats.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoint.Close()
	ctx := context.Background()
	m, err := runtime.Open(ctx, checkpoint, runtime.Options{})
	if err != nil {
		log.Fatal(err)
	}
	scorer, err := perplexity.New(m.Reference(reference.Original, reference.Arithmetic{}))
	if err != nil {
		log.Fatal(err)
	}
	for _, tokens := range [][]int32{{4, 8, 15, 16}, {23, 42}} { // a row in two pieces
		if err := scorer.Add(ctx, tokens); err != nil {
			log.Fatal(err)
		}
	}
	if err := scorer.EndRow(ctx); err != nil {
		log.Fatal(err)
	}
	result, err := scorer.Result()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d of %d tokens predicted, perplexity %.3f\n", result.Predicted, result.Tokens, result.Perplexity(0))
	// Output:
	// 5 of 6 tokens predicted, perplexity 105.994
}
