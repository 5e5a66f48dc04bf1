package hub_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/http/httptest"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/hub"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/storage/storagetest"
)

// A repository is a source whose files are read at one commit. This one is on a hub in this process;
// hub.Environment() has the settings for the real one.
func ExampleOpen() {
	h := storagetest.NewHub()
	h.Add("org/model", map[string][]byte{"config.json": []byte(`{"model_type": "recurrent_gemma"}`), "sub/vocab": nil})
	server := httptest.NewServer(h)
	defer server.Close()

	source, name, err := hub.Open("hf://org/model", hub.Options{
		Settings: hub.Settings{Endpoint: server.URL},
		Pool:     remote.NewPool(context.Background(), remote.Options{}),
	})
	if err != nil {
		panic(err)
	}
	entries, err := fs.ReadDir(source, name)
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		fmt.Println(storage.Path(source, e.Name()), e.IsDir())
	}
	config, err := storage.ReadFile(source, "config.json", 1<<20)
	fmt.Println(string(config), err)
	// Output:
	// hf://org/model/config.json false
	// hf://org/model/sub true
	// {"model_type": "recurrent_gemma"} <nil>
}
