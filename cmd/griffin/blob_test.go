//go:build !nobuckets

package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/bucket"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

// registerBlob makes the addresses blob://BUCKET/KEY those of a bucket that is the directory in BLOBDIR, as s3:// and gs:// are those
// of stores.
func registerBlob(ctx context.Context) {
	open := func() *blob.Bucket {
		b, err := fileblob.OpenBucket(os.Getenv("BLOBDIR"), &fileblob.Options{CreateDir: true, NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
		if err != nil {
			panic(err)
		}
		return b
	}
	o := bucket.Options{Pool: remote.NewPool(ctx, remote.Options{Notice: func(address, text string) {
		fmt.Fprintf(os.Stderr, "griffin: %s: %s\n", address, text)
	}})}
	split := func(address string) (name, key string) {
		address, _, _ = strings.Cut(strings.TrimPrefix(address, "blob://"), "?")
		name, key, _ = strings.Cut(address, "/")
		return "blob://" + name, key
	}
	storage.Register("blob", func(address string) (fs.FS, string, error) {
		name, key := split(address)
		return bucket.New(open(), name, key, o)
	})
	publish.RegisterSink("blob", func(_ context.Context, address string, single bool) (publish.Sink, error) {
		name, key := split(address)
		return bucket.NewSink(open(), name, key, single, o), nil
	})
}

func init() { registerTestAddresses = registerBlob }
