package convert

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// agreement reports whether one written element is right for one of the source.
type agreement func(source, written []byte) bool

// binaryFormat is an IEEE type that weights are rounded to.
type binaryFormat struct {
	value    func(p []byte) float64
	mantissa int // bits
	least    int // exponent of the smallest subnormal
	most     int // exponent of the largest finite numbers
}

var binaryFormats = map[tensor.DType]binaryFormat{
	tensor.F64: {value: func(p []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(p)) }},
	tensor.F32: {func(p []byte) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(p))) }, 23, -149, 127},
	tensor.BF16: {func(p []byte) float64 {
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(p)) << 16))
	}, 7, -133, 127},
	tensor.F16: {float16Value, 10, -24, 15},
}

func float16Value(p []byte) float64 {
	code := binary.LittleEndian.Uint16(p)
	sign, exponent, mantissa := 1.0, int(code>>10&31), float64(code&1023)
	if code>>15 == 1 {
		sign = -1
	}
	switch {
	case exponent == 31 && mantissa != 0:
		return math.NaN()
	case exponent == 31:
		return math.Inf(int(sign))
	case exponent == 0:
		return math.Copysign(math.Ldexp(mantissa, -24), sign)
	}
	return sign * math.Ldexp(1024+mantissa, exponent-25)
}

// roundingAgreement returns the definition of rounding once, to nearest, ties to even: no value of
// the new type is nearer, and of two as near the one with an even last bit was taken. Where a value
// became infinite, infinity counts as the next power of two.
func roundingAgreement(from, to tensor.DType) (agreement, error) {
	source, ok := binaryFormats[from]
	target, known := binaryFormats[to]
	if !ok || !known || to == tensor.F64 {
		return nil, tensor.Bad("%s that became %s cannot be proven", from, to)
	}
	return func(s, w []byte) bool { return target.isNearest(source.value(s), target.value(w)) }, nil
}

// isNearest reports whether y, of format f, is x rounded. The halves of neighbours are exact in
// float64 for all formats that it is used with.
func (f binaryFormat) isNearest(x, y float64) bool {
	if math.IsNaN(x) || math.IsNaN(y) {
		return math.IsNaN(x) && math.IsNaN(y)
	}
	if math.Signbit(x) != math.Signbit(y) {
		return false
	}
	x, y = math.Abs(x), math.Abs(y)
	infinity := math.Ldexp(1, f.most+1)
	if math.IsInf(x, 1) {
		return math.IsInf(y, 1)
	}
	y = min(y, infinity)
	step := f.step(y)
	even := math.Mod(y/step, 2) == 0
	below := step
	if y > 0 && y == math.Ldexp(1, math.Ilogb(y)) && math.Ilogb(y)-f.mantissa > f.least {
		below = step / 2 // the step is smaller below a power of two
	}
	if low := y - below/2; y > 0 && (x < low || x == low && !even) {
		return false
	}
	if high := y + step/2; y < infinity && (x > high || x == high && !even) {
		return false
	}
	return true
}

// step is the distance from y to the next larger value.
func (f binaryFormat) step(y float64) float64 {
	if y == 0 {
		return math.Ldexp(1, f.least)
	}
	return math.Ldexp(1, max(math.Ilogb(y)-f.mantissa, f.least))
}

// valueString prints an element for people: its value where it has one, and its bits.
func valueString(d tensor.DType, p []byte) string {
	bits := make([]byte, len(p))
	for i, b := range p {
		bits[len(p)-1-i] = b
	}
	f, ok := binaryFormats[d]
	if !ok {
		return fmt.Sprintf("0x%x", bits)
	}
	return fmt.Sprintf("%g (0x%x)", f.value(p), bits)
}
