package hfconfig_test

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
)

func ExampleRead() {
	c, err := hfconfig.Read(storage.Local("../../testdata/odd-griffin/hf"), hfconfig.Name)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.HiddenSize, c.AttentionWindowSize, c.LogitsSoftCap, c.Layers())
	fmt.Println(c.Rope.Theta, c.Has("rope_theta"))
	// Output:
	// 36 5 20 [attention recurrent attention]
	// 10000 false
}
