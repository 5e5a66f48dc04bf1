//go:build !nobuckets

package addresses

import (
	"context"
	"io/fs"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/bucket"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

func init() {
	registerBuckets = func(pool func() *remote.Pool, register func(scheme string, open storage.Opener)) {
		open := func(address string) (fs.FS, string, error) { return bucket.Open(address, bucket.Options{Pool: pool()}) }
		sink := func(_ context.Context, address string, single bool) (publish.Sink, error) {
			return bucket.OpenSink(address, single, bucket.Options{Pool: pool()})
		}
		for _, scheme := range []string{"gs", "s3"} {
			register(scheme, open)
			publish.RegisterSink(scheme, sink)
		}
	}
}
