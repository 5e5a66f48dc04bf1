package tensortest_test

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

func Example() {
	w := tensortest.Stored("w", tensor.U8, []int64{2, 3}, []byte("abcdef"))
	transposed, err := tensor.Viewed(w, tensor.RowMajor(2, 3).Permute(1, 0))
	if err != nil {
		panic(err)
	}
	content := make([]byte, 6)
	if _, err := transposed.ReadAt(content, 0); err != nil {
		panic(err)
	}
	fmt.Printf("%v %s\n", transposed.Shape, content)
	// Output: [3 2] adbecf
}
