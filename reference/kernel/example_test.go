package kernel_test

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// Two rows of activations are multiplied by a bfloat16 matrix of three outputs and two inputs.
func ExampleMultiply() {
	w := &kernel.Matrix{
		DType: tensor.BF16,
		Data: []byte{ // little-endian, [out, in]
			0x80, 0x3f, 0x00, 0x40, // 1, 2
			0x00, 0x00, 0x80, 0xbf, // 0, -1
			0x00, 0x3f, 0x00, 0x3f, // 0.5, 0.5
		},
		Rows: 3, Cols: 2, Stride: 2,
	}
	x := []float32{10, 20, 1, 3}
	y := make([]float32, 2*w.Out())
	var scratch kernel.Scratch[float32]
	kernel.Multiply(y, w.Out(), x, w.In(), 2, w, 0, w.Out(), nil, &scratch)
	fmt.Println(y[:3])
	fmt.Println(y[3:])
	// Output:
	// [50 -20 15]
	// [7 -3 2]
}
