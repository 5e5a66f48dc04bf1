package proof

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Numbers that are not finite are found wherever they are, and no others.
func TestHasNotFinite(t *testing.T) {
	for _, tt := range []struct {
		dtype       tensor.DType
		finite, bad []uint64 // their bits: of zeros, the smallest and the largest numbers; of NaN and infinities
	}{
		{tensor.F16, []uint64{0, 0x8000, 1, 0x3c00, 0x7bff, 0xfbff}, []uint64{0x7c00, 0xfc00, 0x7c01, 0x7e00, 0xffff}},
		{tensor.BF16, []uint64{0, 0x8000, 1, 0x3f80, 0x7f7f, 0xff7f}, []uint64{0x7f80, 0xff80, 0x7f81, 0x7fc0, 0xffff}},
		{tensor.F32, []uint64{0, 0x80000000, 1, 0x3f800000, 0x7f7fffff, 0xff7fffff}, []uint64{0x7f800000, 0xff800000, 0x7f800001, 0x7fc00000, 0xffffffff}},
		{tensor.F64, []uint64{0, 1 << 63, 1, 0x3ff0 << 48, 0x7fefffffffffffff, 0xffefffffffffffff}, []uint64{0x7ff << 52, 0xfff << 52, 0x7ff<<52 + 1, 0x7ff8 << 48, 1<<64 - 1}},
	} {
		for n := range 40 {
			var p []byte
			size := int(tt.dtype.Size())
			for i := range n {
				p = append(p, binary.LittleEndian.AppendUint64(nil, tt.finite[i%len(tt.finite)])[:size]...)
			}
			if HasNotFinite(tt.dtype, p) {
				t.Errorf("%s: %d finite numbers", tt.dtype, n)
			}
			for i := range n {
				for _, bad := range tt.bad {
					with := slices.Clone(p)
					copy(with[i*size:], binary.LittleEndian.AppendUint64(nil, bad)[:size])
					if !HasNotFinite(tt.dtype, with) {
						t.Errorf("%s: %#x at %d of %d was not found", tt.dtype, bad, i, n)
					}
				}
			}
		}
	}
	if HasNotFinite(tensor.I16, []byte{0xff, 0xff}) {
		t.Error("an integer")
	}
}
