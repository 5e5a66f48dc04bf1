package generate_test

import (
	"context"
	"fmt"
	"log"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/reference/generate"
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
	session := generate.New(m.Reference(reference.Original, reference.Arithmetic{}))
	if err := session.Read(ctx, []int32{4, 8, 15}, nil); err != nil {
		log.Fatal(err)
	}
	result, err := session.Generate(ctx, generate.Options{Max: 5, Sampling: generate.Sampling{Temperature: 1, Seed: 1}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Tokens)
	// Output: [11 11 2 13 49]
}
