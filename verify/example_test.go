package verify_test

import (
	"context"
	"fmt"
	"log"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/verify"
)

// Verify that a Hugging Face directory is the model that it was converted from.
func ExampleVerify() {
	source, err := formats.Open("../testdata/micro-griffin/original/torch.pt", formats.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer source.Close()
	converted, err := formats.Open("../testdata/micro-griffin/hf", formats.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer converted.Close()

	window, softCap, scale := int64(6), 30.0, true // an original checkpoint does not have them
	v, err := verify.Verify(context.Background(), source, converted, verify.Options{
		Settings: model.Settings{AttentionWindow: &window, LogitsSoftCap: &softCap, EmbeddingScale: &scale},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range v.Checks() {
		fmt.Printf("%s: %s\n", c.Name, c.Summary)
	}
	fmt.Println(v.Answer())
	// Output:
	// structure: 36 tensors: names, shapes and types as expected
	// configuration: config.json agrees in all 25 fields
	// weights: 36 tensors, 5,920 elements: identical to the source, bit for bit
	// the same model
}

// Verify that a checkpoint computes what transformers computed with the model.
func ExampleVerify_golden() {
	checkpoint, err := formats.Open("../testdata/micro-griffin/hf", formats.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoint.Close()
	v, err := verify.Verify(context.Background(), checkpoint, nil, verify.Options{Golden: "../testdata/micro-griffin/golden/hf5.safetensors"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(v.Answer())
	// Output: the model that was recorded
}
