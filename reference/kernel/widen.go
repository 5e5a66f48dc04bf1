package kernel

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// RoundBF16 returns x rounded to the nearest bfloat16, ties to even.
func RoundBF16(x float32) float32 {
	bits := math.Float32bits(x)
	if bits&0x7fffffff > 0x7f800000 { // NaN, which rounding could turn into infinity
		return math.Float32frombits(bits&0xffff0000 | 1<<22)
	}
	return math.Float32frombits((bits + 0x7fff + bits>>16&1) & 0xffff0000)
}

// Float16 returns the value of the float16 with those bits.
func Float16(bits uint16) float32 {
	const infinity, toFloat32 = 0x1f << 23, 0x1p112
	magnitude := uint32(bits&0x7fff) << 13
	sign := uint32(bits&0x8000) << 16
	if magnitude >= infinity { // infinity and NaN keep their fraction
		return math.Float32frombits(sign | magnitude | 0x7f800000)
	}
	// The exponent is too small by 112. Multiplying corrects it, for subnormal numbers too.
	return math.Float32frombits(sign | math.Float32bits(math.Float32frombits(magnitude)*toFloat32))
}

// Widen fills dst with the little-endian elements of src. The dtype is BF16, F16, F32 or F64; F64 is
// rounded if T is float32.
func Widen[T Float](dst []T, dtype tensor.DType, src []byte) {
	switch dtype {
	case tensor.BF16:
		src = src[:2*len(dst)]
		for ; len(dst) >= 4; dst, src = dst[4:], src[8:] {
			word := binary.LittleEndian.Uint64(src)
			dst[0] = T(math.Float32frombits(uint32(word) << 16))
			dst[1] = T(math.Float32frombits(uint32(word) & 0xffff0000))
			dst[2] = T(math.Float32frombits(uint32(word>>32) << 16))
			dst[3] = T(math.Float32frombits(uint32(word>>32) & 0xffff0000))
		}
		for i := range dst {
			dst[i] = T(math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16))
		}
	case tensor.F16:
		src = src[:2*len(dst)]
		for i := range dst {
			dst[i] = T(Float16(binary.LittleEndian.Uint16(src[2*i:])))
		}
	case tensor.F32:
		src = src[:4*len(dst)]
		for i := range dst {
			dst[i] = T(math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:])))
		}
	case tensor.F64:
		src = src[:8*len(dst)]
		for i := range dst {
			dst[i] = T(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
	}
}

// hostIsLittleEndian reports whether this machine stores numbers little-endian.
var hostIsLittleEndian = func() bool {
	word := uint16(1)
	return *(*byte)(unsafe.Pointer(&word)) == 1
}()

// encodeLittleEndian is littleEndian for other machines.
func encodeLittleEndian[T Float](data []T) []byte {
	var out []byte
	for _, x := range data {
		if unsafe.Sizeof(x) == 4 {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(x)))
		} else {
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(float64(x)))
		}
	}
	return out
}
