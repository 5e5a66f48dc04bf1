package diff

import (
	"encoding/binary"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// ulps counts the representable values of a floating-point dtype.
type ulps struct {
	bytes  int
	signed bool
}

// ulpsOf returns nil for dtypes that are not floating-point numbers of whole bytes.
func ulpsOf(d tensor.DType) *ulps {
	switch d {
	case tensor.F64, tensor.C128:
		return &ulps{8, true}
	case tensor.F32, tensor.C64:
		return &ulps{4, true}
	case tensor.F16, tensor.BF16, tensor.C32:
		return &ulps{2, true}
	case tensor.F8E4M3, tensor.F8E5M2, tensor.F8E4M3FNUZ, tensor.F8E5M2FNUZ, tensor.F8E4M3B11FNUZ, tensor.F8E3M4:
		return &ulps{1, true}
	case tensor.F8E8M0:
		return &ulps{1, false}
	}
	return nil
}

// between returns how many representable values lie between number k of a and number k of b, counting one of
// the two.
func (u *ulps) between(a, b []byte, k int) uint64 {
	x, y := u.ordinal(a[k*u.bytes:]), u.ordinal(b[k*u.bytes:])
	if x < y {
		x, y = y, x
	}
	return uint64(x) - uint64(y)
}

// ordinal numbers the values of the dtype in ascending order. Both zeros are 0.
func (u *ulps) ordinal(p []byte) int64 {
	var code uint64
	switch u.bytes {
	case 8:
		code = binary.LittleEndian.Uint64(p)
	case 4:
		code = uint64(binary.LittleEndian.Uint32(p))
	case 2:
		code = uint64(binary.LittleEndian.Uint16(p))
	default:
		code = uint64(p[0])
	}
	sign := uint64(1) << (8*u.bytes - 1)
	if u.signed && code&sign != 0 {
		return -int64(code &^ sign)
	}
	return int64(code)
}
