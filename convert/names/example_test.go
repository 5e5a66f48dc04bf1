package names_test

import (
	"fmt"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/names"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func ExampleRules_Apply() {
	rules, err := names.ParseRules("rules", strings.NewReader("h.*.attn.* -> layers.*.self_attn.*"))
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := tensor.NewCheckpoint("m", "memory", []*tensor.Tensor{{Name: "h.3.attn.q"}, {Name: "norm"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	renamed, _, err := rules.Apply(c)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, t := range renamed.Tensors() {
		fmt.Println(t.Name)
	}
	// Output:
	// layers.3.self_attn.q
	// norm
}
