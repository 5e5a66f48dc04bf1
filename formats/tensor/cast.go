package tensor

import (
	"encoding/binary"
	"math"
	"sync"
)

// Cast converts row-major little-endian elements of one floating-point type to another. dst has
// room for exactly as many elements as src holds, and does not overlap it. It returns how many
// finite elements became infinite.
//
// A value is rounded once, to nearest, ties to even, subnormals included. A NaN stays a NaN: it keeps
// its sign and the leading bits of its payload and becomes quiet, as in the conversions of processors.
// (The NaN bits that torch makes depend on its build and on the position within the tensor, so they
// cannot be compared.)
type Cast func(dst, src []byte) (overflowed int64)

// NewCast returns the conversion from float64, float32, float16, bfloat16 or an 8-bit float to
// float32, bfloat16 or float16. Other types are a *FormatError.
func NewCast(from, to DType) (Cast, error) {
	target, ok := roundTargets[to]
	source, known := floats[from]
	switch {
	case !ok || !known:
		return nil, Bad("%s cannot be converted to %s", from, to)
	case from == F32 && to == BF16:
		return castF32BF16, nil
	case from == F32 && to == F16:
		return castF32F16, nil
	case from == F64:
		return castF64(target), nil
	case from == F32:
		return castF32F32, nil
	case from == BF16 && to == F32:
		return castBF16F32, nil
	}
	return castByTable(castTable(from, source, to, target), from.Size(), to.Size()), nil
}

// floatFormat describes a binary floating-point type: a sign, an exponent and a mantissa, from
// the highest bit down.
type floatFormat struct {
	exponent, mantissa int // bits
	bias               int
	special            specials
}

// specials says which codes of a type are infinities and NaN.
type specials uint8

const (
	ieee   specials = iota // those with the largest exponent
	fn                     // no infinities; NaN is the largest code
	fnuz                   // no infinities; NaN is the code of minus zero
	powers                 // no sign, mantissa, zero or infinity; NaN is the largest code
	finite                 // no infinities, no NaN
)

// floats are the types that a Cast reads.
var floats = map[DType]floatFormat{
	F64:           {11, 52, 1023, ieee},
	F32:           {8, 23, 127, ieee},
	F16:           {5, 10, 15, ieee},
	BF16:          {8, 7, 127, ieee},
	F8E5M2:        {5, 2, 15, ieee},
	F8E3M4:        {3, 4, 3, ieee},
	F8E4M3:        {4, 3, 7, fn},
	F8E4M3FNUZ:    {4, 3, 8, fnuz},
	F8E5M2FNUZ:    {5, 2, 16, fnuz},
	F8E4M3B11FNUZ: {4, 3, 11, fnuz},
	F8E8M0:        {8, 0, 127, powers},
}

// roundTargets are the types that a Cast writes.
var roundTargets = map[DType]floatFormat{F32: floats[F32], F16: floats[F16], BF16: floats[BF16]}

// decode returns the exact value of a code of a type of at most 16 bits. A NaN keeps its sign and
// its payload, which becomes the leading bits of the payload in float64.
func (f floatFormat) decode(code uint32) float64 {
	if f.special == powers {
		if code == 0xff {
			return math.NaN()
		}
		return math.Ldexp(1, int(code)-f.bias)
	}
	sign := uint64(code>>(f.exponent+f.mantissa)&1) << 63
	exponent := int(code >> f.mantissa & (1<<f.exponent - 1))
	mantissa := uint64(code & (1<<f.mantissa - 1))
	largest := exponent == 1<<f.exponent-1
	nan := uint64(0x7ff)<<52 | mantissa<<(52-f.mantissa)
	switch {
	case f.special == fnuz && sign != 0 && exponent == 0 && mantissa == 0:
		return math.NaN()
	case f.special == fn && largest && mantissa == 1<<f.mantissa-1,
		f.special == ieee && largest:
		return math.Float64frombits(sign | nan)
	case exponent == 0:
		value := math.Ldexp(float64(mantissa), 1-f.bias-f.mantissa)
		return math.Float64frombits(math.Float64bits(value) | sign)
	}
	value := math.Ldexp(float64(mantissa|1<<f.mantissa), exponent-f.bias-f.mantissa)
	return math.Float64frombits(math.Float64bits(value) | sign)
}

// round returns the code nearest to a float64 in an IEEE type of at most 32 bits, and whether a
// finite value became infinite.
func (f floatFormat) round(value float64) (code uint32, overflowed bool) {
	bits := math.Float64bits(value)
	sign := uint32(bits>>63) << (f.exponent + f.mantissa)
	exponent, fraction := int(bits>>52&0x7ff), bits&(1<<52-1)
	infinity := uint32(1<<f.exponent-1) << f.mantissa
	switch {
	case exponent == 0x7ff && fraction == 0:
		return sign | infinity, false
	case exponent == 0x7ff:
		return sign | infinity | 1<<(f.mantissa-1) | uint32(fraction>>(52-f.mantissa)), false
	case exponent == 0: // zero, or far less than half of the smallest subnormal
		return sign, false
	}
	significand := fraction | 1<<52
	exponent += f.bias - 1023 // with the bias of the type
	shift := 52 - f.mantissa
	base := uint32(0)
	if exponent >= 1 {
		if exponent >= 1<<f.exponent-1 {
			return sign | infinity, true
		}
		// The leading bit of the significand adds one to the exponent, and so does a carry.
		base = uint32(exponent-1) << f.mantissa
	} else if shift += 1 - exponent; shift > 54 {
		return sign, false
	}
	code = base + uint32(roundShift(significand, shift))
	return sign | code, code >= infinity
}

// roundShift returns v / 2^shift rounded to nearest, ties to even. shift is 1 to 63.
func roundShift(v uint64, shift int) uint64 {
	q, rest, half := v>>shift, v&(1<<shift-1), uint64(1)<<(shift-1)
	if rest > half || rest == half && q&1 == 1 {
		q++
	}
	return q
}

// castF32BF16 converts four elements at a time, unless one of them is NaN or becomes infinite.
func castF32BF16(dst, src []byte) (overflowed int64) {
	for len(src) >= 16 && len(dst) >= 8 {
		low, high := binary.LittleEndian.Uint64(src), binary.LittleEndian.Uint64(src[8:])
		a, b, c, d := uint32(low), uint32(low>>32), uint32(high), uint32(high>>32)
		if max(a&f32Magnitude, b&f32Magnitude, c&f32Magnitude, d&f32Magnitude) < bf16Infinite {
			code := uint64(nearestBF16(a)) | uint64(nearestBF16(b))<<16 | uint64(nearestBF16(c))<<32 | uint64(nearestBF16(d))<<48
			binary.LittleEndian.PutUint64(dst, code)
		} else {
			for i, u := range [...]uint32{a, b, c, d} {
				overflowed += putBF16(dst[2*i:], u)
			}
		}
		src, dst = src[16:], dst[8:]
	}
	for len(src) >= 4 && len(dst) >= 2 {
		overflowed += putBF16(dst, binary.LittleEndian.Uint32(src))
		src, dst = src[4:], dst[2:]
	}
	return overflowed
}

const (
	f32Magnitude = 0x7fffffff // without the sign
	f32Infinity  = 0x7f800000
	bf16Infinite = 0x7f7f8000 // the first float32 that rounds to infinity in bfloat16
)

// nearestBF16 rounds a float32 below bf16Infinite.
func nearestBF16(u uint32) uint32 { return (u + 0x7fff + u>>16&1) >> 16 }

// putBF16 rounds any float32 and returns 1 if a finite one became infinite.
func putBF16(dst []byte, u uint32) (overflowed int64) {
	code := nearestBF16(u)
	if magnitude := u & f32Magnitude; magnitude > f32Infinity {
		code = u>>16 | 0x40
	} else if magnitude >= bf16Infinite && magnitude < f32Infinity {
		overflowed = 1
	}
	binary.LittleEndian.PutUint16(dst, uint16(code))
	return overflowed
}

func castF32F16(dst, src []byte) (overflowed int64) {
	const smallest, infinite = 0x38800000, 0x477ff000 // 2^-14; the first that rounds to infinity
	for len(src) >= 4 && len(dst) >= 2 {
		u := binary.LittleEndian.Uint32(src)
		sign, magnitude := u>>16&0x8000, u&f32Magnitude
		var code uint32
		switch {
		case magnitude < smallest:
			// The last bit of the sum has the value of the smallest subnormal float16, so the addition
			// rounds.
			code = math.Float32bits(math.Float32frombits(magnitude)+0.5) & 0xffff // 0.5 has no bits there
		case magnitude < infinite:
			code = (magnitude + 0xfff + magnitude>>13&1 - (127-15)<<23) >> 13
		case magnitude <= f32Infinity:
			code = 0x7c00
			if magnitude < f32Infinity {
				overflowed++
			}
		default:
			code = 0x7e00 | magnitude>>13&0x3ff
		}
		binary.LittleEndian.PutUint16(dst, uint16(sign|code))
		src, dst = src[4:], dst[2:]
	}
	return overflowed
}

func castBF16F32(dst, src []byte) (overflowed int64) {
	for len(src) >= 2 && len(dst) >= 4 {
		u := uint32(binary.LittleEndian.Uint16(src)) << 16
		if u&f32Magnitude > f32Infinity {
			u |= 0x400000
		}
		binary.LittleEndian.PutUint32(dst, u)
		src, dst = src[2:], dst[4:]
	}
	return 0
}

func castF64(target floatFormat) Cast {
	return func(dst, src []byte) (overflowed int64) {
		for ; len(src) >= 8; src = src[8:] {
			code, over := target.round(math.Float64frombits(binary.LittleEndian.Uint64(src)))
			dst = putCode(dst, code, target)
			if over {
				overflowed++
			}
		}
		return overflowed
	}
}

// castF32F32 only makes NaN quiet.
func castF32F32(dst, src []byte) (overflowed int64) {
	for ; len(src) >= 4; src, dst = src[4:], dst[4:] {
		u := binary.LittleEndian.Uint32(src)
		if u&f32Magnitude > f32Infinity {
			u |= 0x400000
		}
		binary.LittleEndian.PutUint32(dst, u)
	}
	return 0
}

// float64FromF32 converts the bits of a float32. It keeps the payload of a NaN, which processors
// need not.
func float64FromF32(u uint32) float64 {
	if u&f32Magnitude > f32Infinity {
		return math.Float64frombits(uint64(u>>31)<<63 | 0x7ff<<52 | uint64(u&0x7fffff)<<29)
	}
	return float64(math.Float32frombits(u))
}

func putCode(dst []byte, code uint32, f floatFormat) []byte {
	if f.mantissa == 23 {
		binary.LittleEndian.PutUint32(dst, code)
		return dst[4:]
	}
	binary.LittleEndian.PutUint16(dst, uint16(code))
	return dst[2:]
}

// codes maps the codes of one type to those of another, with overflowBit set if a finite value becomes
// infinite. That happens only for destinations of 16 bits.
type codes [1 << 16]uint32

const overflowBit = 16

var castTables sync.Map // [2]DType -> func() *codes

// castTable returns the table from a type of 8 or 16 bits to another. It is made once.
func castTable(from DType, source floatFormat, to DType, target floatFormat) *codes {
	build, _ := castTables.LoadOrStore([2]DType{from, to}, sync.OnceValue(func() *codes {
		t := new(codes)
		for old := range uint32(1) << from.Bits() {
			code, over := target.round(source.decode(old))
			if over {
				code |= 1 << overflowBit
			}
			t[old] = code
		}
		return t
	}))
	return build.(func() *codes)()
}

func castByTable(t *codes, wide, narrow int64) Cast {
	if wide == 2 && narrow == 2 {
		return t.cast16
	}
	return func(dst, src []byte) (overflowed int64) {
		for int64(len(src)) >= wide {
			code := t[src[0]]
			if wide == 2 {
				code = t[binary.LittleEndian.Uint16(src)]
			}
			if narrow == 4 {
				binary.LittleEndian.PutUint32(dst, code)
			} else {
				binary.LittleEndian.PutUint16(dst, uint16(code))
				overflowed += int64(code >> overflowBit)
			}
			src, dst = src[wide:], dst[narrow:]
		}
		return overflowed
	}
}

func (t *codes) cast16(dst, src []byte) (overflowed int64) {
	for len(src) >= 2 && len(dst) >= 2 {
		code := t[binary.LittleEndian.Uint16(src)]
		binary.LittleEndian.PutUint16(dst, uint16(code))
		overflowed += int64(code >> overflowBit)
		src, dst = src[2:], dst[2:]
	}
	return overflowed
}
