package safetensors_test

import (
	"context"
	"fmt"
	"os"

	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func ExampleOpen() {
	checkpoint, err := safetensors.Open(storage.Local("testdata"), "hf_sharded")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer checkpoint.Close()
	fmt.Println(checkpoint.Metadata["format"], checkpoint.Details, len(checkpoint.Tensors()))
	// Output: pt [{shards 4} {checksums none}] 57
}

// The size and the header of every file are known before any element is written, so that tensors
// can be written in any order.
func ExampleNewLayout() {
	layout, err := safetensors.NewLayout([]tensor.Spec{
		{Name: "b", DType: tensor.U8, Shape: []int64{2}},
		{Name: "a", DType: tensor.U8, Shape: []int64{3}},
	}, 0, map[string]string{"format": "pt"})
	if err != nil {
		fmt.Println(err)
		return
	}
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	w, err := layout.Create(dir, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close()
	for i, content := range []string{"\x01\x02", "\x03\x04\x05"} {
		file, offset, _ := w.At(i)
		if _, err := file.WriteAt([]byte(content), offset); err != nil {
			fmt.Println(err)
			return
		}
	}
	checkpoint, err := safetensors.Open(storage.Local(dir), safetensors.SingleName)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer checkpoint.Close()
	for _, t := range checkpoint.Tensors() {
		values, err := tensor.Float32s(context.Background(), t)
		fmt.Println(t.Name, values, err)
	}
	// Output:
	// a [3 4 5] <nil>
	// b [1 2] <nil>
}
