package orbax_test

import (
	"errors"
	"fmt"
	"os"

	"github.com/griffin-ckpt/griffin/formats/orbax"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

func ExampleOpen() {
	checkpoint, err := orbax.Open(storage.Local("testdata/sound"), "manager_v0_12", orbax.Newest)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer checkpoint.Close()
	fmt.Println(checkpoint.Format)
	for _, d := range checkpoint.Details {
		fmt.Printf("%s: %s\n", d.Key, d.Value)
	}
	t := checkpoint.Tensor("params.blocks.0.mlp_block.ffw_up.w")
	fmt.Println(t.DType, t.Shape)
	// Output:
	// orbax-ocdbt
	// step: 7
	// item: default
	// layout: as of Orbax 0.5.16 and later
	// saved: 2026-11-23T16:24:59Z
	// storage: OCDBT; zarr v2; zstd
	// checksums: CRC-32C of the index
	// bfloat16 [2 32 48]
}

func ExampleNewLayout() {
	layout, err := orbax.NewLayout([]tensor.Spec{{Name: "params.final_norm.scale", DType: tensor.BF16, Shape: []int64{2560}}}, orbax.OCDBT)
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
	content := make([]byte, 2*2560)
	sink, err := w.Sink(0)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = sink.Write(content)
	if err := errors.Join(err, sink.Close(), w.Finish([]tensor.Written{{Digest: digest.RefOf(digest.Of(digest.Default, content))}})); err != nil {
		fmt.Println(err)
		return
	}
	checkpoint, err := orbax.Open(storage.Local(dir), ".", orbax.Newest)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer checkpoint.Close()
	fmt.Println(checkpoint.Tensors()[0].Name, checkpoint.Tensors()[0].Shape)
	// Output: params.final_norm.scale [2560]
}
