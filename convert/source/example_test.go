package source_test

import (
	"context"
	"fmt"

	"github.com/griffin-ckpt/griffin/convert/source"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// The digest of a tensor comes from bytes that are read for another purpose.
func Example() {
	w := tensortest.Stored("w", tensor.U8, []int64{6}, []byte("weight"))
	digest := source.NewDigest(w, digest.SHA256)
	r, err := source.Open(w, digest)
	if err != nil {
		panic(err)
	}
	defer r.Close()
	content := make([]byte, w.Bytes())
	if _, err := r.ReadAt(content, 0); err != nil {
		panic(err)
	}
	if err := r.Finish(); err != nil {
		panic(err)
	}
	sum, err := digest.Sum(context.Background())
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s %s…\n", content, sum.Hex()[:8])
	// Output: weight 0844df8f…
}
