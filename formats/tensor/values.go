package tensor

import (
	"encoding/binary"
	"math"
	"sync"
)

// Values decodes the elements of a type into numbers.
type Values struct {
	// Lanes is the number of numbers in an element: 2 for complex types (real and imaginary part) and
	// for float4_e2m1fn_x2, otherwise 1.
	Lanes int

	// Decode writes the numbers of the elements in src to dst, len(dst) of them. src holds the bytes of
	// these elements, little-endian, those of packed types from the lowest bit of a byte up. The numbers
	// are exact, except that integers beyond 2^53 are rounded to nearest.
	Decode func(dst []float64, src []byte)
}

// ValuesOf returns the decoder of a type, the zero Values for Invalid.
func ValuesOf(d DType) Values {
	switch d {
	case F64:
		return Values{1, decodeF64}
	case F32:
		return Values{1, decodeF32}
	case BF16:
		return Values{1, decodeBF16}
	case C128:
		return Values{2, decodeF64}
	case C64:
		return Values{2, decodeF32}
	case C32:
		return Values{2, decodeCodes(F16)}
	case F4x2:
		return Values{2, decodePacked(4)}
	case F4:
		return Values{1, decodePacked(4)}
	case F6E2M3, F6E3M2:
		return Values{1, decodePacked6(d)}
	case I64, U64, I32, U32, I16, U16:
		return Values{1, decodeIntegers(d)}
	case Invalid:
		return Values{}
	}
	if d >= dtypeCount {
		return Values{}
	}
	return Values{1, decodeCodes(d)}
}

func decodeF64(dst []float64, src []byte) {
	for i := range dst {
		dst[i] = math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
	}
}

func decodeF32(dst []float64, src []byte) {
	src = src[:4*len(dst)]
	for i := range dst {
		dst[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:])))
	}
}

func decodeBF16(dst []float64, src []byte) {
	src = src[:2*len(dst)]
	for i := range dst {
		dst[i] = float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16))
	}
}

func decodeIntegers(d DType) func(dst []float64, src []byte) {
	read := map[DType]func(p []byte) float64{
		I64: func(p []byte) float64 { return float64(int64(binary.LittleEndian.Uint64(p))) },
		U64: func(p []byte) float64 { return float64(binary.LittleEndian.Uint64(p)) },
		I32: func(p []byte) float64 { return float64(int32(binary.LittleEndian.Uint32(p))) },
		U32: func(p []byte) float64 { return float64(binary.LittleEndian.Uint32(p)) },
		I16: func(p []byte) float64 { return float64(int16(binary.LittleEndian.Uint16(p))) },
		U16: func(p []byte) float64 { return float64(binary.LittleEndian.Uint16(p)) },
	}[d]
	size := int(d.Size())
	return func(dst []float64, src []byte) {
		for i := range dst {
			dst[i] = read(src[i*size:])
		}
	}
}

// decodeCodes decodes elements of one or two bytes with a table.
func decodeCodes(d DType) func(dst []float64, src []byte) {
	table := valueTable(d)
	if d == F16 {
		return func(dst []float64, src []byte) {
			for i := range dst {
				dst[i] = table[binary.LittleEndian.Uint16(src[2*i:])]
			}
		}
	}
	return func(dst []float64, src []byte) {
		for i := range dst {
			dst[i] = table[src[i]]
		}
	}
}

// decodePacked decodes elements of 4 bits, the low half of a byte first.
func decodePacked(bits int) func(dst []float64, src []byte) {
	table := valueTable(F4Byte)
	return func(dst []float64, src []byte) {
		for i := range dst {
			dst[i] = table[src[i/2]>>(bits*(i%2))&15]
		}
	}
}

// decodePacked6 decodes elements of 6 bits, four of them in three bytes.
func decodePacked6(d DType) func(dst []float64, src []byte) {
	table := valueTable(d)
	return func(dst []float64, src []byte) {
		for i := range dst {
			bit := 6 * i
			code := uint(src[bit/8]) >> (bit % 8)
			if bit%8 > 2 {
				code |= uint(src[bit/8+1]) << (8 - bit%8)
			}
			dst[i] = table[code&63]
		}
	}
}

var valueTables sync.Map // DType -> func() []float64

// valueTable returns the numbers of all codes of a type of at most 16 bits. It is made once.
func valueTable(d DType) []float64 {
	build, _ := valueTables.LoadOrStore(d, sync.OnceValue(func() []float64 {
		t := make([]float64, 1<<d.Bits())
		for code := range t {
			t[code] = valueOfCode(d, uint32(code))
		}
		return t
	}))
	return build.(func() []float64)()
}

// smallFloats are the floating-point types without infinities and NaN, which no Cast reads.
var smallFloats = map[DType]floatFormat{
	F6E2M3: {2, 3, 1, finite},
	F6E3M2: {3, 2, 3, finite},
	F4Byte: {2, 1, 1, finite},
}

func valueOfCode(d DType, code uint32) float64 {
	if f, ok := floats[d]; ok {
		return f.decode(code)
	}
	switch d {
	case I8:
		return float64(int8(code))
	case I4: // the high bits may repeat the sign or be zero
		return float64(int8(code<<4) >> 4)
	case I2:
		return float64(int8(code<<6) >> 6)
	case F4Byte:
		return smallFloats[d].decode(code & 15)
	}
	if f, ok := smallFloats[d]; ok {
		return f.decode(code)
	}
	return float64(code) // uint8 and bool
}
