package flax_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/flax"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func ExampleOpen() {
	checkpoint, err := flax.Open(storage.Local("testdata/sound"), "state_plain.msgpack")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer checkpoint.Close()
	values, err := tensor.Float32s(context.Background(), checkpoint.Tensor("params.a.f32"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.3f\n%v\n", values, checkpoint.Details)
	// Output:
	// [-0.391 0.482 -0.239 0.958]
	// [{checksums none} {not arrays 7 scalars, 2 texts, 1 None}]
}

func ExampleParse() {
	const file = "\x82\xa4step\x07\xa4name\xa4tiny"
	root, err := flax.Parse(strings.NewReader(file), int64(len(file)))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(root.Get("step").Int, root.Get("name").Text)
	// Output: 7 tiny
}
