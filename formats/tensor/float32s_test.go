package tensor_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

func TestFloat32s(t *testing.T) {
	big := bytes.Repeat([]byte{0x80, 0x3f, 0x00, 0xc0}, 40_000) // bfloat16 1 and -2
	for _, tt := range []struct {
		dtype tensor.DType
		shape []int64
		bytes []byte
		want  []float32
	}{
		{tensor.F32, []int64{2}, []byte{0, 0, 0x80, 0x3f, 0, 0, 0x80, 0xff}, []float32{1, float32(math.Inf(-1))}},
		{tensor.F64, nil, []byte{0, 0, 0, 0x10, 0, 0, 0xf0, 0x3f}, []float32{1}}, // 1 + 2^-24, to even
		{tensor.BF16, []int64{2, 40_000}, big, slices.Repeat([]float32{1, -2}, 40_000)},
		{tensor.F16, []int64{1}, []byte{0x01, 0x00}, []float32{0x1p-24}},
		{tensor.F8E4M3, []int64{2}, []byte{0x38, 0xb8}, []float32{1, -1}},
		{tensor.F4, []int64{3, 2}, []byte{0x21, 0x43, 0x65}, []float32{0.5, 1, 1.5, 2, 3, 4}},
		{tensor.I64, []int64{1}, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, []float32{-1}},
		{tensor.Bool, []int64{2}, []byte{1, 0}, []float32{1, 0}},
		{tensor.F32, []int64{0, 3}, nil, []float32{}},
	} {
		data := &tensor.Tensor{Name: "w", DType: tt.dtype, Shape: tt.shape, Data: &tensortest.Stream{Content: tt.bytes}}
		got, err := tensor.Float32s(context.Background(), data)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s%v: %v, %v", tt.dtype, tt.shape, got[:min(len(got), 8)], err)
		}
	}
	short := &tensor.Tensor{Name: "w", DType: tensor.F32, Shape: []int64{1 << 50}, Data: &tensortest.Stream{Content: big}}
	var bad *tensor.FormatError
	if _, err := tensor.Float32s(context.Background(), short); !errors.As(err, &bad) || bad.Tensor != "w" {
		t.Errorf("data that ends early: %v", err)
	}
	pairs := &tensor.Tensor{Name: "w", DType: tensor.C64, Shape: []int64{1}, Data: &tensortest.Stream{Content: big}}
	if _, err := tensor.Float32s(context.Background(), pairs); !errors.As(err, &bad) {
		t.Errorf("complex numbers: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := tensor.Float32s(ctx, short); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is done: %v", err)
	}
}
