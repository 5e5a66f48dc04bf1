package torch_test

import (
	"fmt"
	"os"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch"
)

func ExampleOpen() {
	checkpoint, err := torch.Open(storage.Local("testdata/sound"), "mixed_dict.pt", torch.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer checkpoint.Close()
	for _, t := range checkpoint.Tensors()[:4] {
		fmt.Println(t.Name, t.DType, t.Shape)
	}
	// Output:
	// model_state_dict.model.embed_tokens.weight bfloat16 [8 4]
	// model_state_dict.lm_head.weight bfloat16 [8 4]
	// model_state_dict.a.f32 float32 [3 5]
	// model_state_dict.a.f16 float16 [2 3]
}

func ExampleNewReader() {
	f, err := os.Open("testdata/sound/one_tensor.pt")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		fmt.Println(err)
		return
	}
	checkpoint, err := torch.NewReader(f, info.Size())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(checkpoint.Format, checkpoint.Tensors()[0].Name)
	// Output: torch-zip w
}

// A file of torch.save is laid out before its tensors are written.
func ExampleNewLayout() {
	layout, err := torch.NewLayout([]tensor.Spec{{Name: "weight", DType: tensor.BF16, Shape: []int64{2560}}}, "model.pt")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(layout.Size, "bytes")
	// Output: 6619 bytes
}
