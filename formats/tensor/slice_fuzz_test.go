package tensor_test

import (
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// FuzzSlice takes any text as an index of a tensor whose elements count up. What it selects ascends, is within the
// tensor, and is the same whether the tensor lies in a file or has to be decoded.
func FuzzSlice(f *testing.F) {
	for _, index := range []string{"", ":", "0", "-1", "1:3", "-2:, :2", "0, 1, 2", ":, -1", " 1 : , ::", "9223372036854775807", "-9223372036854775808:", "5:1", ",", "+1", "1:2:3", "...", "0x1"} {
		f.Add(index, uint8(3), uint8(4), uint8(5))
	}
	f.Fuzz(func(t *testing.T, index string, a, b, c uint8) {
		shape := []int64{int64(a % 8), int64(b % 8), int64(c % 8)}
		content := make([]byte, shape[0]*shape[1]*shape[2])
		for i := range content {
			content[i] = byte(i)
		}
		stored := tensortest.Stored("w", tensor.U8, shape, content)
		decoded := &tensor.Tensor{Name: "w", DType: tensor.U8, Shape: shape, Data: &tensortest.Stream{Content: content}}
		var parts [2][]byte
		for i, w := range []*tensor.Tensor{stored, decoded} {
			part, err := tensor.Slice(w, index)
			if err != nil {
				if i == 1 && parts[0] != nil {
					t.Fatalf("[%s] of %v: %v if it has to be decoded", index, shape, err)
				}
				continue
			}
			if len(part.Shape) > len(shape) || part.Elements() > w.Elements() {
				t.Fatalf("[%s] of %v is %v", index, shape, part.Shape)
			}
			parts[i] = make([]byte, part.Bytes())
			if err := tensor.ReadFullAt(part, parts[i], 0); err != nil {
				t.Fatalf("[%s] of %v: %v", index, shape, err)
			}
		}
		if string(parts[0]) != string(parts[1]) {
			t.Fatalf("[%s] of %v: %v and %v", index, shape, parts[0], parts[1])
		}
		if len(content) <= 256 {
			for i := 1; i < len(parts[0]); i++ {
				if parts[0][i] <= parts[0][i-1] {
					t.Fatalf("[%s] of %v: %v does not ascend", index, shape, parts[0])
				}
			}
		}
	})
}
