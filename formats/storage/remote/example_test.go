package remote_test

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

// letter is an object of one letter, repeated.
type letter string

func (l letter) Open(_ context.Context, off, n int64) (io.ReadCloser, error) {
	fmt.Printf("bytes %d to %d are fetched\n", off, off+n-1)
	return io.NopCloser(strings.NewReader(strings.Repeat(string(l), int(n)))), nil
}

// A file that is read sequentially is fetched in growing ranges.
func Example() {
	pool := remote.NewPool(context.Background(), remote.Options{})
	f := pool.NewNode("letters://a", 1_000_000, letter("a"), nil).Open("a")
	p := make([]byte, 1000)
	for range 30 {
		if _, err := io.ReadFull(f, p); err != nil {
			panic(err)
		}
	}
	fmt.Printf("%s…\n", p[:5])
	// Output:
	// bytes 0 to 4095 are fetched
	// bytes 4096 to 20479 are fetched
	// bytes 20480 to 86015 are fetched
	// aaaaa…
}
