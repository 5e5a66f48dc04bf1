package logits_test

import (
	"context"
	"fmt"
	"log"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Compare a checkpoint with what the original implementation computed with it.
func ExampleCompare() {
	ctx := context.Background()
	checkpoint, err := formats.Open("../../testdata/micro-griffin/hf", formats.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoint.Close()
	m, err := runtime.Open(ctx, checkpoint, runtime.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fixture, err := golden.Open("../../testdata/micro-griffin/golden/torch.safetensors")
	if err != nil {
		log.Fatal(err)
	}
	defer fixture.Close()
	r, err := logits.Compare(ctx, m, fixture, logits.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("inside the envelope:", r.OK)
	fmt.Println("tokens with the same most likely next token:", r.Metrics[0].Fixture.Tokens-r.Metrics[0].Fixture.Differ, "of", r.Metrics[0].Fixture.Tokens)
	// Output:
	// inside the envelope: true
	// tokens with the same most likely next token: 36 of 36
}
