package explain

import (
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// numberFormat describes how to round to a floating-point dtype.
type numberFormat struct {
	name     string
	mantissa int     // stored bits
	least    int     // exponent of the smallest subnormal number
	largest  float64 // largest finite number
	infinite bool    // has infinities; otherwise a number that is too large becomes NaN

	truncates bool // rounds towards zero, as programs do that drop the last bits
}

// truncated returns the format with numbers that are rounded towards zero.
func (f *numberFormat) truncated() *numberFormat {
	t := *f
	t.truncates = true
	return &t
}

// numberFormats are the dtypes for which constants are determined and to which values may have been rounded.
var numberFormats = map[tensor.DType]*numberFormat{
	tensor.F64:           {"float64", 52, -1074, math.MaxFloat64, true, false},
	tensor.F32:           {"float32", 23, -149, math.MaxFloat32, true, false},
	tensor.F16:           {"float16", 10, -24, 65504, true, false},
	tensor.BF16:          {"bfloat16", 7, -133, 0x1.fep127, true, false},
	tensor.F8E5M2:        {"float8_e5m2", 2, -16, 57344, true, false},
	tensor.F8E4M3:        {"float8_e4m3fn", 3, -9, 448, false, false},
	tensor.F8E3M4:        {"float8_e3m4", 4, -6, 15.5, true, false},
	tensor.F8E4M3FNUZ:    {"float8_e4m3fnuz", 3, -10, 240, false, false},
	tensor.F8E5M2FNUZ:    {"float8_e5m2fnuz", 2, -17, 57344, false, false},
	tensor.F8E4M3B11FNUZ: {"float8_e4m3b11fnuz", 3, -13, 30, false, false},
}

// narrowTypes are the dtypes through which values are commonly rounded, the widest mantissa first.
var narrowTypes = []tensor.DType{tensor.F32, tensor.F16, tensor.BF16, tensor.F8E4M3, tensor.F8E5M2}

// isFloat reports whether a dtype is one of numberFormats.
func isFloat(d tensor.DType) bool { return numberFormats[d] != nil }

// round returns the number of the format nearest to x, ties to even, or if the format truncates the nearest one that is not larger in size.
func (f *numberFormat) round(x float64) float64 {
	switch {
	case f.mantissa == 52:
		return x
	case f.truncates:
		return f.truncate(x)
	case f.mantissa == 23:
		return float64(float32(x))
	}
	b := math.Float64bits(x)
	if int(b>>52&0x7ff)-1023 < f.least+f.mantissa { // zero and subnormal numbers
		step := math.Ldexp(1, f.least)
		return math.Copysign(math.RoundToEven(x/step)*step, x)
	}
	drop := 52 - f.mantissa
	half := uint64(1)<<(drop-1) - 1
	y := math.Float64frombits((b + half + b>>drop&1) &^ (1<<drop - 1))
	if math.Abs(y) <= f.largest {
		return y
	}
	if x != x || math.IsInf(x, 0) && f.infinite {
		return x
	}
	if f.infinite {
		return math.Inf(int(math.Copysign(1, x)))
	}
	return math.NaN()
}

// truncate rounds towards zero.
func (f *numberFormat) truncate(x float64) float64 {
	if x != x || math.IsInf(x, 0) {
		return x
	}
	step := f.step(math.Abs(x))
	return math.Copysign(min(math.Floor(math.Abs(x)/step)*step, f.largest), x)
}

// contains reports whether the format has every number of another.
func (f *numberFormat) contains(other *numberFormat) bool {
	return f.mantissa >= other.mantissa && f.least <= other.least && f.largest >= other.largest
}

// roundAll rounds all values.
func (f *numberFormat) roundAll(values []float64) {
	if f.mantissa == 52 {
		return
	}
	for i, x := range values {
		values[i] = f.round(x)
	}
}

// explanation says that values were rounded to the format before they were stored in another, or in itself.
func (f *numberFormat) explanation(stored *numberFormat) Explanation {
	e := Explanation{Kind: Rounded, Detail: "to " + f.name}
	if f.truncates {
		e.Kind = Truncated
	}
	if !stored.contains(f) {
		e.Detail = "through " + f.name
	}
	return e
}

// step is the distance from a finite |y| to the next larger number of the format.
func (f *numberFormat) step(y float64) float64 {
	if y == 0 {
		return math.Ldexp(1, f.least)
	}
	return math.Ldexp(1, max(math.Ilogb(y)-f.mantissa, f.least))
}

// preimage returns a closed interval that contains all numbers that round to y, which is not NaN. For
// float64 it reaches to both neighbours.
func (f *numberFormat) preimage(y float64) interval {
	size := math.Abs(y)
	var in interval
	switch step := f.step(size); {
	case f.mantissa == 52:
		in = interval{math.Nextafter(size, math.Inf(-1)), math.Nextafter(size, math.Inf(1))}
	case size > f.largest:
		in = interval{f.largest + f.step(f.largest)/2, math.Inf(1)}
	default:
		in = interval{size - step/2, size + step/2}
		if fraction, _ := math.Frexp(size); fraction == 0.5 && size > math.Ldexp(1, f.least+f.mantissa) {
			in.low = size - step/4 // numbers are closer below a power of two
		}
	}
	if y < 0 {
		in = interval{-in.high, -in.low}
	}
	return in
}

// unit is a unit in the last place of y, as if the format had no subnormal numbers: 0 for 0.
func (f *numberFormat) unit(y float64) float64 {
	const exponent = 0x7ff << 52
	epsilon := math.Float64frombits(uint64(1023-f.mantissa) << 52)
	return math.Float64frombits(math.Float64bits(y)&exponent) * epsilon
}

// roundingVariance is the expected square of the error that rounding leaves in b, and in a difference that
// was rounded as well.
func (f *numberFormat) roundingVariance(b, difference float64) float64 {
	u, v := f.unit(b), f.unit(difference)
	return (u*u + v*v) / 12
}
