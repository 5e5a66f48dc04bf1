package proof

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// rounding judges elements that were converted to another dtype, or divided, or both.
type rounding struct {
	source, target binaryFormat
	widens         bool       // target has every value of source: numbers are kept
	divisor        float64    // 1 if nothing was divided
	intervals      []interval // by the codes of a target of 16 bits without their sign; nil for others
}

// interval is the magnitudes that round to a number.
type interval struct{ low, high float64 }

// binaryFormat is a floating-point type as IEEE 754 describes it.
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

// newRounding returns a rounding that judges by the definition of rounding once, to nearest, ties to
// even: no value of the new type is nearer, and of two that are equally near the one with an even last
// bit was taken. Infinity counts as the next power of two after the largest number. This is not how
// tensor.Cast rounds.
//
// If elements were divided, the values that they are compared with are multiplied instead, which is
// exact.
func newRounding(from, to tensor.DType, divide float64) (*rounding, error) {
	source, ok := binaryFormats[from]
	target, known := binaryFormats[to]
	if !ok || !known || to == tensor.F64 && divide != 0 {
		return nil, tensor.Bad("%s that became %s cannot be proven", from, to)
	}
	r := &rounding{source: source, target: target, widens: to == tensor.F64, divisor: 1}
	if divide != 0 {
		r.divisor = divide
	}
	switch {
	case to.Size() == 2 && r.divisor == 1:
		r.intervals = undividedIntervals[to]()
	case to.Size() == 2:
		r.intervals = target.intervals(r.divisor)
	}
	return r, nil
}

// holds reports whether written is source rounded, and whether that made a finite number infinite.
func (r *rounding) holds(source, written []byte) (right, overflowed bool) {
	x, y := r.source.value(source), r.target.value(written)
	if r.widens {
		return math.Float64bits(x) == math.Float64bits(y) || math.IsNaN(x) && math.IsNaN(y), false
	}
	return r.target.isNearest(x, y, r.divisor), math.IsInf(y, 0) && !math.IsInf(x, 0) && !math.IsNaN(x)
}

// keeps reports whether n elements of written, step bytes apart, have the values of those of source, stride bytes apart.
func (r *rounding) keeps(source []byte, stride int64, written []byte, step, n int64) bool {
	for i := range n {
		x, y := r.source.value(source[i*stride:]), r.target.value(written[i*step:])
		if math.Float64bits(x) != math.Float64bits(y) && !(math.IsNaN(x) && math.IsNaN(y)) {
			return false
		}
	}
	return r.divisor == 1
}

// allHold reports whether all elements of written are those of source, step bytes apart, rounded to
// finite numbers. It may report false if some are NaN or infinite, or the new type is float64; holds judges each element.
func (r *rounding) allHold(source []byte, step int64, written []byte) bool {
	switch {
	case r.widens:
		return false
	case r.intervals != nil && r.source.mantissa == 23:
		return r.allHold16(source, step, written, func(p []byte) float64 {
			return float64(math.Float32frombits(binary.LittleEndian.Uint32(p)))
		})
	case r.intervals != nil:
		return r.allHold16(source, step, written, r.source.value)
	case r.divisor != 1:
		return r.allHold32(source, step, written)
	}
	at := int64(0)
	for i := 0; i+4 <= len(written); i += 4 { // whether they are numbers of float32 and were kept
		x, y := r.source.value(source[at:]), float64(math.Float32frombits(binary.LittleEndian.Uint32(written[i:])))
		if math.Float64bits(x) != math.Float64bits(y) || math.IsNaN(x) {
			return false
		}
		at += step
	}
	return true
}

func (r *rounding) allHold16(source []byte, step int64, written []byte, value func(p []byte) float64) bool {
	at := int64(0)
	for i := 0; i+2 <= len(written); i += 2 {
		x, code := value(source[at:]), binary.LittleEndian.Uint16(written[i:])
		in := &r.intervals[code&0x7fff]
		if size := math.Abs(x); !(size >= in.low && size <= in.high) || math.Signbit(x) != (code>>15 != 0) {
			return false
		}
		at += step
	}
	return true
}

// allHold32 judges float32 that was divided. It may also report false if an element is 0 or halfway
// between two numbers.
func (r *rounding) allHold32(source []byte, step int64, written []byte) bool {
	at := int64(0)
	for i := 0; i+4 <= len(written); i += 4 {
		x, code := r.source.value(source[at:]), binary.LittleEndian.Uint32(written[i:])
		magnitude := code &^ (1 << 31)
		if magnitude == 0 || magnitude >= 0x7f7fffff || math.Signbit(x) != (code>>31 != 0) {
			return false
		}
		below, y, above := math.Float32frombits(magnitude-1), math.Float32frombits(magnitude), math.Float32frombits(magnitude+1)
		size := 2 * math.Abs(x)
		if !(size > (float64(below)+float64(y))*r.divisor && size < (float64(y)+float64(above))*r.divisor) {
			return false
		}
		at += step
	}
	return true
}

// undividedIntervals has the intervals of the types of 16 bits for the divisor 1.
var undividedIntervals = map[tensor.DType]func() []interval{
	tensor.BF16: sync.OnceValue(func() []interval { return binaryFormats[tensor.BF16].intervals(1) }),
	tensor.F16:  sync.OnceValue(func() []interval { return binaryFormats[tensor.F16].intervals(1) }),
}

// intervals returns, by code, the magnitudes that round to each number after division. Infinity and NaN
// have none.
func (f binaryFormat) intervals(divisor float64) []interval {
	all := make([]interval, 1<<15)
	for code := range all {
		var p [2]byte
		binary.LittleEndian.PutUint16(p[:], uint16(code))
		y := f.value(p[:])
		if math.IsNaN(y) || math.IsInf(y, 0) {
			all[code] = interval{math.Inf(1), math.Inf(-1)}
			continue
		}
		// Halfway to the neighbours, which are exact in float64. The even one has the ties.
		below, above := f.halves(y)
		below, above = below*divisor, above*divisor
		if code&1 == 1 {
			below, above = math.Nextafter(below, math.Inf(1)), math.Nextafter(above, 0)
		}
		all[code] = interval{max(below, 0), above}
	}
	return all
}

// halves returns the points halfway from y >= 0 to the next numbers.
func (f binaryFormat) halves(y float64) (below, above float64) {
	step := f.step(y)
	under := step
	if y == math.Ldexp(1, math.Ilogb(y)) && math.Ilogb(y)-f.mantissa > f.least {
		under = step / 2 // numbers lie closer below a power of two
	}
	return y - under/2, y + step/2
}

// isNearest reports whether y, of format f, is x / divisor rounded. The halves of neighbours are exact
// in float64 for all formats that it is used with, and so are their products with a divisor of 24 bits.
func (f binaryFormat) isNearest(x, y, divisor float64) bool {
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
	even := math.Mod(y/f.step(y), 2) == 0
	low, high := f.halves(y)
	low, high = low*divisor, high*divisor
	if x < low || x == low && !even {
		return false
	}
	if y < infinity && (x > high || x == high && !even) {
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
