package tensor_test

import (
	"bytes"
	"context"
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// matrix returns the tensor [[1, 2, 3], [4, 5, 6]] in int8.
func matrix() *tensor.Tensor {
	shape := []int64{2, 3}
	return &tensor.Tensor{Name: "w", DType: tensor.I8, Shape: shape, Data: &tensor.Strided{
		Store: bytes.NewReader([]byte{1, 2, 3, 4, 5, 6}), Length: 6, DType: tensor.I8, View: tensor.RowMajor(shape...)}}
}

func ExampleFloat32s() {
	values, err := tensor.Float32s(context.Background(), matrix())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(values)
	// Output: [1 2 3 4 5 6]
}

func ExampleViewed() {
	w := matrix()
	transposed, err := tensor.Viewed(w, tensor.RowMajor(w.Shape...).Permute(1, 0))
	if err != nil {
		fmt.Println(err)
		return
	}
	values, err := tensor.Float32s(context.Background(), transposed)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(transposed.Shape, values)
	// Output: [3 2] [1 4 2 5 3 6]
}

func ExampleSlice() {
	column, err := tensor.Slice(matrix(), ":, 2")
	if err != nil {
		fmt.Println(err)
		return
	}
	values, err := tensor.Float32s(context.Background(), column)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(column.Name, column.Shape, values)
	// Output: w[:, 2] [2] [3 6]
}

func ExampleAnnotate() {
	err := tensor.Bad("data ends after %d bytes", 12).At(8)
	fmt.Println(tensor.Annotate(err, tensor.Location{File: "model.safetensors", Tensor: "lm_head.weight"}))
	// Output: model.safetensors: offset 8: tensor "lm_head.weight": data ends after 12 bytes
}
