package upload_test

import (
	"context"
	"fmt"
	"log"

	"gocloud.dev/blob/memblob"

	"github.com/griffin-ckpt/griffin/formats/storage/bucket"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

// A directory of a bucket appears when its last file does.
func Example() {
	b := memblob.OpenBucket(nil)
	defer b.Close()
	pool := remote.NewPool(context.Background(), remote.Options{})
	sink := bucket.NewSink(b, "mem://bucket", "runs/7", false, bucket.Options{Pool: pool})
	u, err := sink.Begin(publish.SinkOptions{Names: []string{"weights"}, Last: "config.json"})
	if err != nil {
		log.Fatal(err)
	}
	defer u.Discard()
	for name, content := range map[string]string{"weights": "0123456789", "config.json": "{}"} {
		w, err := u.Create(name, int64(len(content)))
		if err != nil {
			log.Fatal(err)
		}
		if _, err := w.WriteAt([]byte(content), 0); err != nil {
			log.Fatal(err)
		}
	}
	names, err := sink.Contents()
	fmt.Println(names, err)
	if err := u.Publish(); err != nil {
		log.Fatal(err)
	}
	names, err = sink.Contents()
	fmt.Println(names, err)
	// Output:
	// [] <nil>
	// [config.json weights] <nil>
}
