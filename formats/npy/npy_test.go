package npy

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func strided(d tensor.DType, data []byte, shape ...int64) *tensor.Tensor {
	v := tensor.RowMajor(shape...)
	return &tensor.Tensor{Name: "w", DType: d, Shape: shape, Data: &tensor.Strided{
		Store: bytes.NewReader(data), Length: v.Elements(), DType: d, View: v}}
}

func TestWriteHeader(t *testing.T) {
	for _, tt := range []struct {
		shape []int64
		want  string
	}{
		{nil, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }"},
		{[]int64{3}, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }"},
		{[]int64{1, 2}, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }"},
	} {
		var out bytes.Buffer
		n := int64(1)
		for _, s := range tt.shape {
			n *= s
		}
		data := bytes.Repeat([]byte{1, 2, 3, 4}, int(n))
		if err := Write(&out, strided(tensor.F32, data, tt.shape...)); err != nil {
			t.Fatal(err)
		}
		file := out.Bytes()
		length := int(binary.LittleEndian.Uint16(file[8:]))
		if string(file[:8]) != "\x93NUMPY\x01\x00" || (10+length)%64 != 0 {
			t.Errorf("%v: magic %q, data at %d", tt.shape, file[:8], 10+length)
		}
		if got := strings.TrimSpace(string(file[10 : 10+length])); got != tt.want {
			t.Errorf("%v: header %q, want %q", tt.shape, got, tt.want)
		}
		if !bytes.Equal(file[10+length:], data) {
			t.Errorf("%v: data %v", tt.shape, file[10+length:])
		}
	}
}

func TestWriteWidensBFloat16(t *testing.T) {
	var data []byte
	for _, f := range []float32{1, -2.5, float32(math.Inf(1)), 0} {
		data = binary.LittleEndian.AppendUint16(data, uint16(math.Float32bits(f)>>16))
	}
	data = bytes.Repeat(data, 10_000)
	var out bytes.Buffer
	if err := Write(&out, strided(tensor.BF16, data, 40_000)); err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(out.Bytes())
	r.Seek(-16*10_000, io.SeekEnd)
	got := make([]float32, 4*10_000)
	binary.Read(r, binary.LittleEndian, got)
	for i, f := range got {
		if want := []float32{1, -2.5, float32(math.Inf(1)), 0}[i%4]; f != want {
			t.Fatalf("element %d is %v, want %v", i, f, want)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	if err := Write(io.Discard, strided(tensor.F8E4M3, []byte{1}, 1)); err == nil {
		t.Error("float8 was written")
	}
	if err := Write(io.Discard, strided(tensor.U8, []byte{1}, make([]int64, 65)...)); err == nil {
		t.Error("65 axes were written")
	}
}
