package convert_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
)

// A PyTorch file becomes a directory that transformers loads, and every element is compared with the
// source before it appears.
func ExampleConvert() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	src, err := formats.Open("../testdata/tiny-griffin/original/torch.pt", formats.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	window, softCap, scale := int64(8), 30.0, true
	result, err := convert.Convert(context.Background(), src, filepath.Join(dir, "tiny"), convert.Options{
		To:       convert.ToHF,
		Settings: model.Settings{AttentionWindow: &window, LogitsSoftCap: &softCap, EmbeddingScale: &scale},
		Verify:   true,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d tensors, %d parameters, %s\n", result.Tensors.Len(), result.Parameters, result.DType)
	fmt.Printf("%d elements proven\n", result.Proof.Elements)
	for _, f := range result.Files {
		fmt.Println(f.Name)
	}
	// Output:
	// 99 tensors, 79328 parameters, bfloat16
	// 79328 elements proven
	// model.safetensors
	// config.json
	// generation_config.json
	// conversion.json
}

// What a conversion to Orbax would write, without reading weights.
func ExampleNewPlan() {
	src, err := formats.Open("../testdata/odd-griffin/hf", formats.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	m, err := model.Open(context.Background(), src, model.Options{})
	if err != nil {
		log.Fatal(err)
	}
	plan, err := convert.NewPlan(m, convert.PlanOptions{To: convert.ToOrbax})
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range plan.Dests[:3] {
		fmt.Printf("%s %s %v: %s\n", d.Name, d.DType, d.Shape, d.Rule)
	}
	// Output:
	// params.embedder.input_embedding float32 [61 36]: copy
	// params.blocks.0.temporal_pre_norm.scale float32 [36]: copy
	// params.blocks.0.attention_block.proj_q.kernel float32 [36 36]: transpose
}
