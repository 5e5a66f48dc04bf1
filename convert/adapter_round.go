package convert

import (
	"encoding/binary"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// loaders turn elements of a type into float64, which holds all of them.
var loaders = map[tensor.DType]func(dst []float64, src []byte){
	tensor.F64: func(dst []float64, src []byte) {
		for i := range dst {
			dst[i] = math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
		}
	},
	tensor.F32: func(dst []float64, src []byte) {
		for i := range dst {
			dst[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:])))
		}
	},
	tensor.BF16: func(dst []float64, src []byte) {
		for i := range dst {
			dst[i] = float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16))
		}
	},
	tensor.F16: loadF16,
}

func loadF16(dst []float64, src []byte) {
	cast, err := tensor.NewCast(tensor.F16, tensor.F32)
	if err != nil {
		panic(err) // the table of casts has it
	}
	var wide [1024]byte
	for len(dst) > 0 {
		n := min(len(dst), len(wide)/4)
		cast(wide[:4*n], src[:2*n])
		for i := range n {
			dst[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(wide[4*i:])))
		}
		dst, src = dst[n:], src[2*n:]
	}
}

// rounders round float64 once to a type, to the nearest and to even where two are as near. From limit
// on that is infinity.
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

// roundBF16 rounds numbers that are neither subnormal nor too large in bfloat16 by their bits.
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
