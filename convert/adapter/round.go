package adapter

import (
	"encoding/binary"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// rounders round float64 once to a type, to nearest even. limit is the least number that rounds to
// infinity.
var rounders = map[tensor.DType]struct {
	round func(dst []byte, src []float64)
	limit float64
}{
	tensor.F64: {func(dst []byte, src []float64) {
		for i, x := range src {
			binary.LittleEndian.PutUint64(dst[8*i:], math.Float64bits(x))
		}
	}, math.Inf(1)},
	tensor.F32: {func(dst []byte, src []float64) {
		for i, x := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(float32(x)))
		}
	}, 0x1.ffffffp127},
	tensor.BF16: {roundBF16, 0x1.ffp127},
	tensor.F16:  {func(dst []byte, src []float64) { roundAny(tensor.F16, dst, src) }, 65520},
}

// roundBF16 rounds by the bits of a number, unless it is subnormal or too large in bfloat16.
func roundBF16(dst []byte, src []float64) {
	const (
		dropped = 52 - 7 // bits of the mantissa
		rebias  = (1023 - 127) << 7
		sign    = 1 << 63
	)
	for i, x := range src {
		bits := math.Float64bits(x)
		if exponent := bits >> 52 & 0x7ff; exponent < 1023-125 || exponent > 1023+126 {
			roundAny(tensor.BF16, dst[2*i:][:2], src[i:][:1])
			continue
		}
		magnitude := bits &^ sign
		magnitude += 1<<(dropped-1) - 1 + magnitude>>dropped&1
		binary.LittleEndian.PutUint16(dst[2*i:], uint16(bits>>63<<15|(magnitude>>dropped-rebias)))
	}
}

func roundAny(to tensor.DType, dst []byte, src []float64) {
	cast, err := tensor.NewCast(tensor.F64, to)
	if err != nil {
		panic(err) // the table of casts has it
	}
	var wide [1024]byte
	for len(src) > 0 {
		n := min(len(src), len(wide)/8)
		for i, x := range src[:n] {
			binary.LittleEndian.PutUint64(wide[8*i:], math.Float64bits(x))
		}
		cast(dst[:int64(n)*to.Size()], wide[:8*n])
		src, dst = src[n:], dst[int64(n)*to.Size():]
	}
}
