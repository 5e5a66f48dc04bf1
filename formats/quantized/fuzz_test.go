package quantized_test

import (
	"errors"
	"io"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/quantized"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// FuzzParts opens copies whose parts have arbitrary dtypes, shapes and contents: they are refused, or all elements can be read.
func FuzzParts(f *testing.F) {
	const nf4State = `{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [2, 64]}`
	f.Add(uint8(0), uint8(17), uint8(64), uint8(0), uint8(2), uint8(2), uint8(0), []byte(nf4State))
	f.Add(uint8(0), uint8(17), uint8(64), uint8(0), uint8(17), uint8(2), uint8(0), []byte(`{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [128], "nested_blocksize": 256, "nested_offset": 0.5}`))
	f.Add(uint8(1), uint8(11), uint8(2), uint8(64), uint8(2), uint8(2), uint8(0), []byte{})
	f.Add(uint8(2), uint8(19), uint8(4), uint8(64), uint8(2), uint8(4), uint8(1), []byte{})
	f.Add(uint8(3), uint8(15), uint8(2), uint8(8), uint8(4), uint8(2), uint8(2), []byte{})
	f.Fuzz(func(t *testing.T, scheme, codesType, rows, cols, scalesType, down, across uint8, state []byte) {
		shape := func(a, b uint8) []int64 {
			if b == 0 {
				return []int64{int64(a)}
			}
			return []int64{int64(a), int64(b)}
		}
		part := func(name string, d uint8, shape []int64) *tensor.Tensor {
			x := &tensor.Tensor{DType: tensor.F64 + tensor.DType(d)%tensor.F4Byte, Shape: shape}
			if _, size, err := tensor.SizeOf(x.DType, shape); err != nil || size > 1<<16 {
				return nil
			}
			content := make([]byte, x.Bytes())
			for i := range content {
				content[i] = byte(i * 37)
			}
			return tensortest.Stored(name, x.DType, shape, content)
		}
		codes, scales := shape(rows, cols), shape(down, across)
		parts := []*tensor.Tensor{part("a.weight", codesType, codes)}
		switch scheme % 4 {
		case 0:
			parts = append(parts, part("a.weight.absmax", scalesType, scales), part("a.weight.nested_absmax", 1, []int64{1}), part("a.weight.nested_quant_map", 1, []int64{256}),
				tensortest.Stored("a.weight.quant_state.bitsandbytes__nf4", tensor.U8, []int64{int64(len(state))}, state), openStored(t, samples+"bnb-nf4").Tensor(weight+".quant_map"))
			table := *parts[len(parts)-1]
			table.Name = "a.weight.quant_map"
			parts[len(parts)-1] = &table
		case 1:
			parts = append(parts, part("a.SCB", scalesType, scales))
		case 2:
			parts = append(parts, part("a.weight_scale", scalesType, scales))
		case 3:
			parts = append(parts, part("a.scales", scalesType, scales), part("a.biases", scalesType, scales))
		}
		for _, p := range parts {
			if p == nil {
				t.Skip()
			}
		}
		c, err := tensor.NewCheckpoint("x", "safetensors", parts)
		if err != nil {
			t.Fatal(err)
		}
		if scheme%4 == 3 {
			stated := openStored(t, samples+"mlx-4bit")
			c.Source, c.Root = stated.Source, stated.Root
		}
		q, err := quantized.Open(c)
		var bad *tensor.FormatError
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("%T %v", err, err)
		}
		if q == nil {
			return
		}
		for _, w := range q.Weights {
			r, err := w.Tensor.Data.Stream(0)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, r)
			if err != nil || n != w.Tensor.Bytes() {
				t.Fatalf("%d of %d bytes: %v", n, w.Tensor.Bytes(), err)
			}
			r.Close()
			original := tensortest.Stored(w.Tensor.Name, tensor.F32, w.Tensor.Shape, make([]byte, 4*w.Tensor.Elements()))
			if _, err := w.Judge(t.Context(), original); err != nil {
				t.Fatal(err)
			}
		}
	})
}
