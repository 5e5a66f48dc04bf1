package npy_test

import (
	"bytes"
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/npy"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func ExampleWrite() {
	shape := []int64{2, 3}
	t := &tensor.Tensor{Name: "w", DType: tensor.I8, Shape: shape, Data: &tensor.Strided{
		Store: bytes.NewReader([]byte{1, 2, 3, 4, 5, 6}), Length: 6, DType: tensor.I8, View: tensor.RowMajor(shape...)}}
	var file bytes.Buffer
	if err := npy.Write(&file, t); err != nil {
		fmt.Println(err)
		return
	}
	header, _, _ := bytes.Cut(file.Bytes()[10:], []byte("\n"))
	fmt.Printf("%s\n", bytes.TrimSpace(header))
	// Output: {'descr': '|i1', 'fortran_order': False, 'shape': (2, 3), }
}
