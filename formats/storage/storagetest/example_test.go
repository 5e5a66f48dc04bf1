package storagetest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/griffin-ckpt/griffin/formats/storage/storagetest"
)

// A server whose second answer breaks in the middle.
func Example() {
	files := storagetest.NewFiles(map[string][]byte{"f": make([]byte, 2000)})
	answers := 0
	server := httptest.NewServer(&storagetest.Faulty{Handler: files, Fault: func(*http.Request) storagetest.Fault {
		if answers++; answers == 2 {
			return storagetest.Drop
		}
		return storagetest.None
	}})
	defer server.Close()
	for range 2 {
		resp, err := http.Get(server.URL + "/f")
		if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(resp.Body)
		fmt.Println(len(body), err)
		resp.Body.Close()
	}
	// Output:
	// 2000 <nil>
	// 1000 unexpected EOF
}
