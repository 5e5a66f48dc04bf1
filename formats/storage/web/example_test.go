package web_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/storage/web"
)

// A checkpoint is opened where it is. Only its headers are read.
func ExampleOpen() {
	server := httptest.NewServer(http.FileServerFS(os.DirFS("../../../testdata/tiny-griffin")))
	defer server.Close()

	pool := remote.NewPool(context.Background(), remote.Options{})
	source, name, err := web.Open(server.URL+"/hf", web.Options{Pool: pool})
	if err != nil {
		panic(err)
	}
	checkpoint, err := formats.OpenSource(source, name, formats.Options{})
	if err != nil {
		panic(err)
	}
	defer checkpoint.Close()
	fmt.Println(checkpoint.Format, len(checkpoint.Tensors()), "tensors")
	// Output: safetensors 99 tensors
}
