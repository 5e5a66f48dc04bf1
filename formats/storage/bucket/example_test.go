package bucket_test

import (
	"context"
	"fmt"
	"os"

	"gocloud.dev/blob/memblob"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/storage/bucket"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

// A checkpoint in a bucket is read where it is. This bucket is in memory; Open takes the address of one
// in a cloud.
func ExampleNew() {
	ctx := context.Background()
	b := memblob.OpenBucket(nil)
	defer b.Close()
	content, err := os.ReadFile("../../../testdata/tiny-griffin/original/torch.pt")
	if err != nil {
		panic(err)
	}
	if err := b.WriteAll(ctx, "runs/2b.pt", content, nil); err != nil {
		panic(err)
	}

	source, name, err := bucket.New(b, "mem://models", "runs/2b.pt", bucket.Options{Pool: remote.NewPool(ctx, remote.Options{})})
	if err != nil {
		panic(err)
	}
	checkpoint, err := formats.OpenSource(source, name, formats.Options{})
	if err != nil {
		panic(err)
	}
	defer checkpoint.Close()
	fmt.Println(checkpoint.Path, checkpoint.Format, len(checkpoint.Tensors()))
	// Output: mem://models/runs/2b.pt torch-zip 89
}
