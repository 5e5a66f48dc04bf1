package ocdbt_test

import (
	"fmt"
	"os"

	"github.com/griffin-ckpt/griffin/formats/orbax/ocdbt"
)

func ExampleWrite() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	err = ocdbt.Write(dir, []ocdbt.Entry{
		{Key: "b", Value: ocdbt.Value{Inline: []byte("two")}},
		{Key: "a", Value: ocdbt.Value{Inline: []byte("one")}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	db, err := ocdbt.Open(os.DirFS(dir), ".")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	for _, key := range db.Keys() {
		value, _ := db.Get(key)
		fmt.Printf("%s = %s\n", key, value.Inline)
	}
	// Output:
	// a = one
	// b = two
}
