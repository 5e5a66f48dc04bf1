package adapter_test

import (
	"encoding/binary"
	"fmt"
	"log"
	"math"

	"github.com/griffin-ckpt/griffin/convert/adapter"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

func floats(name string, shape []int64, values ...float32) *tensor.Tensor {
	var content []byte
	for _, x := range values {
		content = binary.LittleEndian.AppendUint32(content, math.Float32bits(x))
	}
	return tensortest.Stored(name, tensor.F32, shape, content)
}

// The tensor stores the transpose of the parameter that the adapter changes, as Flax does.
func ExampleApply() {
	stored := floats("kernel", []int64{3, 2},
		1, 2,
		3, 4,
		5, 6)
	change := &peft.Change{Parameter: "weight", Scale: 0.5,
		Left:  &peft.Factor{Tensor: floats("lora_B", []int64{2, 1}, 10, 20)},
		Right: &peft.Factor{Tensor: floats("lora_A", []int64{1, 3}, 1, 2, 3)},
	}
	update, err := adapter.NewUpdate(change, []int64{2, 3}, tensor.RowMajor(2, 3).Permute(1, 0), 0)
	if err != nil {
		log.Fatal(err)
	}
	merged, err := adapter.Apply(stored, stored.Shape, []*adapter.Update{update})
	if err != nil {
		log.Fatal(err)
	}
	content := make([]byte, merged.Bytes())
	if _, err := merged.ReadAt(content, 0); err != nil {
		log.Fatal(err)
	}
	values := make([]float64, merged.Elements())
	tensor.ValuesOf(merged.DType).Decode(values, content)
	fmt.Println(values)
	// Output: [6 12 13 24 20 36]
}
