//go:build !nobuckets

package main

import (
	"io/fs"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/bucket"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

func init() {
	registerBuckets = func(pool func() *remote.Pool, register func(scheme string, open storage.Opener)) {
		open := func(address string) (fs.FS, string, error) { return bucket.Open(address, bucket.Options{Pool: pool()}) }
		register("gs", open)
		register("s3", open)
	}
}
