package golden_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Record what a checkpoint computes for random tokens, and read the fixture.
func ExampleRecord() {
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
	dir, err := os.MkdirTemp("", "golden")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	tokens, err := golden.RandomTokens(6, m.Config.VocabSize, 1)
	if err != nil {
		log.Fatal(err)
	}
	path := filepath.Join(dir, "golden.safetensors")
	run := m.Reference(reference.Original, reference.Arithmetic{Precision: reference.Float32})
	if _, err := golden.Record(ctx, path, run, tokens, golden.RecordOptions{DecodeFrom: 4}); err != nil {
		log.Fatal(err)
	}

	f, err := golden.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	fmt.Println(f.Meta.Implementation, f.Meta.Semantics, f.Meta.DType)
	fmt.Println(f.Passes[0].Names())
	fmt.Println("logits of", f.Passes[0].Length, "tokens, decoded from token", f.Decode.Start)
	// Output:
	// griffin original float32
	// [hidden.0 temporal.0 hidden.1 temporal.1 hidden.2 final_norm logits]
	// logits of 6 tokens, decoded from token 4
}
