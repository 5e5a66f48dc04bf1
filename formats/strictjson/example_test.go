package strictjson_test

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
)

func ExampleParse() {
	value, err := strictjson.Parse([]byte(`{"width": 2560, "window": 2048}`), 4)
	if err != nil {
		fmt.Println(err)
		return
	}
	object := value.(*strictjson.Object)
	width, _ := object.Get("width")
	n, _ := strictjson.Int(width)
	fmt.Println(object.Keys(), n)
	// Output: [width window] 2560
}

func ExampleCheck() {
	fmt.Println(strictjson.Check([]byte(`{"width": 2560, "width": 4096}`), 4))
	// Output: offset 16: duplicate key "width"
}
