package formats_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// A checkpoint is opened, its tensors are listed, and one is read as float32.
func ExampleOpen() {
	checkpoint, err := formats.Open("../testdata/micro-griffin/hf", formats.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer checkpoint.Close()
	fmt.Println(checkpoint.Format, "with", len(checkpoint.Tensors()), "tensors")
	for _, t := range checkpoint.Tensors()[:3] {
		fmt.Println(t.Name, t.DType, t.Shape)
	}
	norm, err := tensor.Float32s(context.Background(), checkpoint.Tensor("model.final_norm.weight"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.3f\n", norm[:4])
	// Output:
	// safetensors with 36 tensors
	// model.embed_tokens.weight float16 [40 16]
	// model.final_norm.weight float16 [16]
	// model.layers.0.channel_pre_norm.weight float16 [16]
	// [0.046 0.115 0.219 -0.391]
}

// The step of a training run is an option.
func ExampleOpen_step() {
	step := int64(7)
	checkpoint, err := formats.Open("orbax/testdata/sound/manager_v0_12", formats.Options{Step: &step})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer checkpoint.Close()
	fmt.Println(checkpoint.Format, checkpoint.Details[0].Key, checkpoint.Details[0].Value)
	// Output: orbax-ocdbt step 7
}

// Checkpoints are read from any file system, such as memory.
func ExampleOpenSource() {
	content, err := storage.ReadFile(storage.Local("flax/testdata/sound"), "state_plain.msgpack", 1<<20)
	if err != nil {
		fmt.Println(err)
		return
	}
	source := fstest.MapFS{"run/params.msgpack": {Data: content}}
	checkpoint, err := formats.OpenSource(source, "run/params.msgpack", formats.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer checkpoint.Close()
	fmt.Println(checkpoint.Path, checkpoint.Format, checkpoint.Tensor("params.a.f32").Shape)
	// Output: run/params.msgpack flax-msgpack [2 2]
}
