package zarr

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// fillBytes returns the element of a fill value in the metadata, little-endian. The value is a number, a boolean,
// "NaN", "Infinity", "-Infinity", the bits of a float in hexadecimal, or an array of two of these for a complex
// number.
func fillBytes(d tensor.DType, v any) ([]byte, error) {
	if pair, ok := v.([]any); ok && len(pair) == 2 {
		if part := map[tensor.DType]tensor.DType{tensor.C64: tensor.F32, tensor.C128: tensor.F64}[d]; part != tensor.Invalid {
			re, err := fillBytes(part, pair[0])
			if err != nil {
				return nil, err
			}
			im, err := fillBytes(part, pair[1])
			return append(re, im...), err
		}
	}
	var b []byte
	ok := false
	switch v := v.(type) {
	case bool:
		if ok = d == tensor.Bool; v {
			b = []byte{1}
		} else {
			b = []byte{0}
		}
	case json.Number:
		b, ok = fillNumber(d, string(v))
	case string:
		b, ok = fillString(d, v)
	}
	if !ok {
		return nil, bad("fill_value %v is not a %s", strictjson.Describe(v), d)
	}
	return b, nil
}

// fillNumber encodes a JSON number.
func fillNumber(d tensor.DType, text string) ([]byte, bool) {
	if f, ok := floats[d]; ok {
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, false
		}
		return f.encode(x)
	}
	if d == tensor.C64 || d == tensor.C128 || d == tensor.Bool {
		return nil, false
	}
	if x, err := strconv.ParseFloat(text, 64); err == nil && strings.ContainsAny(text, ".eE") && x == math.Trunc(x) && math.Abs(x) < 1<<53 {
		text = strconv.FormatInt(int64(x), 10)
	}
	bits := d.Bits()
	switch d {
	case tensor.I4:
		bits = 4
	case tensor.I2:
		bits = 2
	}
	b := make([]byte, 8)
	switch d {
	case tensor.U8, tensor.U16, tensor.U32, tensor.U64:
		x, err := strconv.ParseUint(text, 10, bits)
		if err != nil {
			return nil, false
		}
		binary.LittleEndian.PutUint64(b, x)
	default:
		x, err := strconv.ParseInt(text, 10, bits)
		if err != nil {
			return nil, false
		}
		binary.LittleEndian.PutUint64(b, uint64(x))
	}
	return b[:d.Size()], true
}

// fillString encodes a value that is not a JSON number.
func fillString(d tensor.DType, text string) ([]byte, bool) {
	f, ok := floats[d]
	if !ok {
		return nil, false
	}
	if digits, ok := strings.CutPrefix(text, "0x"); ok {
		b, err := hex.DecodeString(digits)
		slices.Reverse(b)
		return b, err == nil && int64(len(b)) == d.Size()
	}
	switch text {
	case "NaN":
		return f.bytes(f.nan), f.nan != 0
	case "Infinity":
		return f.bytes(f.infinity), f.infinity != 0
	case "-Infinity":
		return f.bytes(f.infinity | 1<<(f.bits-1)), f.infinity != 0
	}
	return nil, false
}

// float is a binary floating-point format of sign, exponent and mantissa.
type float struct {
	bits, mantissa, bias int
	infinity, nan        uint64 // codes, 0 if there are none
	codes                uint64 // number of finite codes without sign; 0 for float64 and float32
}

// floats are the formats of IEEE 754 and of ml_dtypes.
var floats = map[tensor.DType]float{
	tensor.F64:           {bits: 64, infinity: 0x7ff0000000000000, nan: 0x7ff8000000000000},
	tensor.F32:           {bits: 32, infinity: 0x7f800000, nan: 0x7fc00000},
	tensor.F16:           {16, 10, 15, 0x7c00, 0x7e00, 0x7c00},
	tensor.BF16:          {16, 7, 127, 0x7f80, 0x7fc0, 0x7f80},
	tensor.F8E5M2:        {8, 2, 15, 0x7c, 0x7e, 0x7c},
	tensor.F8E3M4:        {8, 4, 3, 0x70, 0x78, 0x70},
	tensor.F8E4M3:        {8, 3, 7, 0, 0x7f, 0x7f},
	tensor.F8E4M3FNUZ:    {8, 3, 8, 0, 0x80, 0x80},
	tensor.F8E5M2FNUZ:    {8, 2, 16, 0, 0x80, 0x80},
	tensor.F8E4M3B11FNUZ: {8, 3, 11, 0, 0x80, 0x80},
	tensor.F4Byte:        {4, 1, 1, 0, 0, 8},
}

// value returns the number of a code without sign.
func (f float) value(code uint64) float64 {
	exponent, fraction := int(code>>f.mantissa), code&(1<<f.mantissa-1)
	if exponent == 0 {
		return math.Ldexp(float64(fraction), 1-f.bias-f.mantissa)
	}
	return math.Ldexp(float64(fraction|1<<f.mantissa), exponent-f.bias-f.mantissa)
}

// encode rounds x to the nearest number of the format, ties to even. It returns false if x exceeds the largest.
func (f float) encode(x float64) ([]byte, bool) {
	switch f.bits {
	case 64:
		return f.bytes(math.Float64bits(x)), true
	case 32:
		y := float32(x)
		return f.bytes(uint64(math.Float32bits(y))), !math.IsInf(float64(y), 0)
	}
	size := math.Abs(x)
	code := uint64(sort.Search(int(f.codes), func(i int) bool { return f.value(uint64(i)) >= size }))
	if code == f.codes {
		return nil, false
	}
	if code > 0 {
		above, below := f.value(code)-size, size-f.value(code-1)
		if below < above || below == above && code%2 == 1 {
			code--
		}
	}
	if math.Signbit(x) && (code != 0 || f.nan != 0x80) { // formats whose code of -0 is NaN have no -0
		code |= 1 << (f.bits - 1)
	}
	return f.bytes(code), true
}

// bytes returns the stored form of a code.
func (f float) bytes(code uint64) []byte {
	b := make([]byte, 8)
	binary.LittleEndian.PutUint64(b, code)
	return b[:max(f.bits/8, 1)]
}
