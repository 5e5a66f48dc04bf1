package main

import "testing"

// TestEncode: the bytes are those of GNU's assembler (binutils 2.40, which writes the second source first).
func TestEncode(t *testing.T) {
	for _, tt := range []struct {
		name              string
		second, first, to byte
		want              [6]byte
	}{
		{"VDPBF16PS", 15, 8, 23, [6]byte{0x62, 0xc2, 0x3e, 0x48, 0x52, 0xff}},
		{"VCVTNE2PS2BF16", 15, 8, 23, [6]byte{0x62, 0xc2, 0x3f, 0x48, 0x72, 0xff}},
		{"VDPBF16PS", 30, 4, 0, [6]byte{0x62, 0x92, 0x5e, 0x48, 0x52, 0xc6}},
		{"VDPBF16PS", 30, 16, 14, [6]byte{0x62, 0x12, 0x7e, 0x40, 0x52, 0xf6}},
		{"VCVTNE2PS2BF16", 12, 30, 30, [6]byte{0x62, 0x42, 0x0f, 0x40, 0x72, 0xf4}},
		{"VDPBF16PS", 9, 24, 0, [6]byte{0x62, 0xd2, 0x3e, 0x40, 0x52, 0xc1}},
	} {
		if got := unknown[tt.name].encode(tt.to, tt.first, tt.second); got != tt.want {
			t.Errorf("%s Z%d, Z%d, Z%d: % x, want % x", tt.name, tt.second, tt.first, tt.to, got, tt.want)
		}
	}
}
