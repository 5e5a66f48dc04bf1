// Command hubserver runs the stand-in for the Hugging Face Hub over directories, for checks that are not
// written in Go. It prints the hub's address and runs until its standard input ends.
//
//	go run ./testdata/interop/hubserver ORG/NAME=DIR...
package main

import (
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage/storagetest"
)

func main() {
	log.SetFlags(0)
	hub := storagetest.NewHub()
	for _, arg := range os.Args[1:] {
		name, dir, ok := strings.Cut(arg, "=")
		if !ok {
			log.Fatalf("hubserver: %q is not ORG/NAME=DIR", arg)
		}
		contents := map[string][]byte{}
		err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				contents[path], err = fs.ReadFile(os.DirFS(dir), path)
			}
			return err
		})
		if err != nil {
			log.Fatal(err)
		}
		repo, _ := hub.Add(name, contents)
		hub.Commit(repo, "refs/pr/1", contents)
		hub.Commit(repo, "a/branch", contents)
		repo.Gated = strings.HasSuffix(name, "-gated")
		repo.Private = strings.HasSuffix(name, "-private")
	}
	address := func(h http.Handler) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		go http.Serve(listener, h)
		return "http://" + listener.Addr().String()
	}
	hub.UseStorage(address(hub.Storage()))
	fmt.Println(address(hub))
	io.Copy(io.Discard, os.Stdin)
}
