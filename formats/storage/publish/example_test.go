package publish_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
)

// The destination appears when the stage is published, with all its files.
func ExampleStage() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	dst := filepath.Join(dir, "model")
	stage, err := publish.NewStage(dst, false)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stage.Discard()
	if err := publish.WriteFile(filepath.Join(stage.Dir, "config.json"), []byte("{}")); err != nil {
		fmt.Println(err)
		return
	}
	_, err = os.Stat(dst)
	fmt.Println("there before:", err == nil)
	if err := stage.Publish(); err != nil {
		fmt.Println(err)
		return
	}
	_, err = os.Stat(filepath.Join(dst, "config.json"))
	fmt.Println("there after:", err == nil)
	// Output:
	// there before: false
	// there after: true
}
