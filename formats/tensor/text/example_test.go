package text_test

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

func Example() {
	fmt.Println(text.Grouped(2_682_862_080))
	fmt.Println(text.Count(1, "tensor"), "of", text.Count(2484, "tensor"))
	fmt.Println(text.CountAre(2, "tensor"), "missing;", text.Agree(1, "file", "has", "have"), "no name")
	fmt.Println(text.Printable("a\x1b[31mb"))
	// Output:
	// 2,682,862,080
	// 1 tensor of 2,484 tensors
	// 2 tensors are missing; 1 file has no name
	// a\x1b[31mb
}
