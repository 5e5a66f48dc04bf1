package storage_test

import (
	"fmt"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

// Any fs.FS whose files implement io.ReaderAt is a source.
func ExampleOpen() {
	source := fstest.MapFS{"model.bin": {Data: []byte("weights")}}
	f, size, err := storage.Open(source, "model.bin")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	tail := make([]byte, 3)
	if _, err := f.ReadAt(tail, size-3); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s, the last of %d bytes\n", tail, size)
	// Output: hts, the last of 7 bytes
}
