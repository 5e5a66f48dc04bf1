package digest_test

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// The pieces of a file are hashed in the order in which they are written.
func Example() {
	h := digest.New(digest.BLAKE3)
	h.Feed(3, []byte("ght"))
	h.Feed(0, []byte("wei"))
	if size := int64(6); h.Missing(size) == size {
		fmt.Println(h.Sum(size).Named())
	}
	// Output: blake3:f9e0135ebc6bbf8dae87add8e1ce8cd5f984dd3117f4478096f7865135a7d5b2
}
