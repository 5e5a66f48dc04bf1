package tensor

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

// The names are those of torch, numpy with ml_dtypes, and the safetensors format.
func TestDTypes(t *testing.T) {
	for _, tt := range []struct {
		d           DType
		name        string
		bits        int
		size        int64
		swap        int
		safetensors string
	}{
		{F64, "float64", 64, 8, 8, "F64"},
		{BF16, "bfloat16", 16, 2, 2, "BF16"},
		{C64, "complex64", 64, 8, 4, "C64"},
		{I4, "int4", 8, 1, 1, ""},
		{Bool, "bool", 8, 1, 1, "BOOL"},
		{F8E4M3, "float8_e4m3fn", 8, 1, 1, "F8_E4M3"},
		{F6E3M2, "float6_e3m2fn", 6, 0, 1, "F6_E3M2"},
		{F4, "float4_e2m1fn_packed", 4, 0, 1, "F4"},
		{F4Byte, "float4_e2m1fn", 8, 1, 1, ""},
		{Invalid, "invalid", 0, 0, 1, ""},
		{dtypeCount, "invalid", 0, 0, 1, ""},
		{math.MaxUint8, "invalid", 0, 0, 1, ""},
	} {
		if tt.d.String() != tt.name || tt.d.Bits() != tt.bits || tt.d.Size() != tt.size || tt.d.SwapUnit() != tt.swap || tt.d.Safetensors() != tt.safetensors {
			t.Errorf("%d: %s, %d bits, %d bytes, unit %d, %q; want %+v", tt.d, tt.d, tt.d.Bits(), tt.d.Size(), tt.d.SwapUnit(), tt.d.Safetensors(), tt)
		}
		if lanes := ValuesOf(tt.d).Lanes; (lanes == 0) != (tt.bits == 0) {
			t.Errorf("%s: %d lanes", tt.d, lanes)
		}
	}
	for d := F64; d < dtypeCount; d++ {
		if got := DTypeByName(d.String()); got != d {
			t.Errorf("%s by its name: %s", d, got)
		}
		if s := d.Safetensors(); s != "" && DTypeBySafetensors(s) != d {
			t.Errorf("%s by %q: %s", d, s, DTypeBySafetensors(s))
		}
	}
	for _, name := range []string{"", "invalid", "f32", "F32 "} {
		if DTypeByName(name) != Invalid || DTypeBySafetensors(name) != Invalid {
			t.Errorf("%q is the name of a type", name)
		}
	}
}

func TestValues(t *testing.T) {
	for _, tt := range []struct {
		d    DType
		src  []byte
		want []float64
	}{
		{I64, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0, 0, 0, 0, 0}, []float64{-2, 3}},
		{U64, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0}, []float64{1 << 64, 1}},
		{I16, []byte{0, 0x80, 0xff, 0x7f}, []float64{-32768, 32767}},
		{U16, []byte{0, 0x80, 0xff, 0x7f}, []float64{32768, 32767}},
		{I4, []byte{0x08, 0xf8, 0x07}, []float64{-8, -8, 7}},
		{I2, []byte{0x02, 0x01}, []float64{-2, 1}},
		{Bool, []byte{0, 1}, []float64{0, 1}},
		{C64, []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}, []float64{1, -2}},
		{C32, []byte{0, 0x3c, 0, 0xc0}, []float64{1, -2}},
		{F4x2, []byte{0x21, 0xf7}, []float64{0.5, 1, 6, -6}},
		{F4, []byte{0x21, 0xf7}, []float64{0.5, 1, 6, -6}},
		{F4Byte, []byte{0x01, 0x0f, 0xf7}, []float64{0.5, -6, 6}},
		// Four codes of 6 bits in three bytes, the first in the lowest bits: 08, 1f, 21, 10.
		{F6E2M3, []byte{0xc8, 0x17, 0x42}, []float64{1, 7.5, -0.125, 2}},
		// 0c, 1f, 21, 3f, 0c.
		{F6E3M2, []byte{0xcc, 0x17, 0xfe, 0x0c}, []float64{1, 28, -0.0625, -28, 1}},
	} {
		got := make([]float64, len(tt.want))
		ValuesOf(tt.d).Decode(got, tt.src)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s %x: %v, want %v", tt.d, tt.src, got, tt.want)
		}
	}
}

func TestSwapBytes(t *testing.T) {
	for unit, want := range map[int]string{1: "abcdefgh", 2: "badcfehg", 4: "dcbahgfe", 8: "hgfedcba"} {
		p := []byte("abcdefgh")
		if SwapBytes(p, unit); !bytes.Equal(p, []byte(want)) {
			t.Errorf("units of %d: %s, want %s", unit, p, want)
		}
	}
}
