package ocdbt_test

import (
	"fmt"
	"io"
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
	}, nil)
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
		section, _, err := db.Section(key)
		if err != nil {
			fmt.Println(err)
			return
		}
		value, err := io.ReadAll(section)
		fmt.Println(key, string(value), err)
	}
	// Output:
	// a one <nil>
	// b two <nil>
}
