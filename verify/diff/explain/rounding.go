package explain

import (
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// numberFormat is what rounding to a floating-point type needs to know of it.
type numberFormat struct {
	name     string
	mantissa int     // bits that are stored
	least    int     // exponent of the smallest subnormal number
	largest  float64 // finite number
	infinite bool    // has infinities; otherwise what is too large becomes NaN, or the largest number
}

// numberFormats are the types that constants are sought for and that values may have been rounded to.
var numberFormats = map[tensor.DType]*numberFormat{
	tensor.F64:           {"float64", 52, -1074, math.MaxFloat64, true},
	tensor.F32:           {"float32", 23, -149, math.MaxFloat32, true},
	tensor.F16:           {"float16", 10, -24, 65504, true},
	tensor.BF16:          {"bfloat16", 7, -133, 0x1.fep127, true},
	tensor.F8E5M2:        {"float8_e5m2", 2, -16, 57344, true},
	tensor.F8E4M3:        {"float8_e4m3fn", 3, -9, 448, false},
	tensor.F8E3M4:        {"float8_e3m4", 4, -6, 15.5, true},
	tensor.F8E4M3FNUZ:    {"float8_e4m3fnuz", 3, -10, 240, false},
	tensor.F8E5M2FNUZ:    {"float8_e5m2fnuz", 2, -17, 57344, false},
	tensor.F8E4M3B11FNUZ: {"float8_e4m3b11fnuz", 3, -13, 30, false},
}

// narrowTypes are those that values are commonly rounded through, the widest mantissa first: who can
// be told by a wider one has not been rounded to a narrower.
var narrowTypes = []tensor.DType{tensor.F32, tensor.F16, tensor.BF16, tensor.F8E4M3, tensor.F8E5M2}

// round returns the value of the type nearest to x, of two as near the one with an even last bit.
func (f *numberFormat) round(x float64) float64 {
	switch f.mantissa {
	case 52:
		return x
	case 23:
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

// step is the distance from a finite |y| to the next larger number of the type.
func (f *numberFormat) step(y float64) float64 {
	if y == 0 {
		return math.Ldexp(1, f.least)
	}
	return math.Ldexp(1, max(math.Ilogb(y)-f.mantissa, f.least))
}

// roundsTo returns the numbers that round to y, or somewhat more: the interval is closed, and for
// float64, whose halves are no float64, it reaches to both neighbours. ok is false for NaN.
func (f *numberFormat) roundsTo(y float64) (low, high float64, ok bool) {
	if y != y {
		return 0, 0, false
	}
	size := math.Abs(y)
	if f.mantissa == 52 {
		low, high = math.Nextafter(size, math.Inf(-1)), math.Nextafter(size, math.Inf(1))
	} else if size > f.largest {
		low, high = f.largest+f.step(f.largest)/2, math.Inf(1)
	} else {
		step := f.step(size)
		low, high = size-step/2, size+step/2
		if fraction, _ := math.Frexp(size); fraction == 0.5 && size > math.Ldexp(1, f.least+f.mantissa) {
			low = size - step/4 // numbers lie closer below a power of two
		}
	}
	if y < 0 {
		low, high = -high, -low
	}
	return low, high, true
}

// odd takes a float64 that is x rounded to nearest, and the sign of what that left out, and returns x
// rounded to odd: of the two float64 around it the one whose last bit is set. Rounding that to a type of
// at most 50 bits is rounding x itself, once (Boldo and Melquiond 2008).
func odd(rounded, rest float64) float64 {
	b := math.Float64bits(rounded)
	if rest == 0 || rest != rest || b&1 == 1 || rounded == 0 || math.IsInf(rounded, 0) {
		return rounded
	}
	if rest > 0 != (rounded > 0) {
		b--
	}
	return math.Float64frombits(b | 1)
}

// A step is an operation on every value.
type step interface {
	apply(values []float64)
	explain() Explanation
}

// rounding rounds to a type.
type rounding struct{ to *numberFormat }

func (r rounding) apply(values []float64) {
	if r.to.mantissa == 52 {
		return
	}
	for i, x := range values {
		values[i] = r.to.round(x)
	}
}

func (r rounding) explain() Explanation {
	return Explanation{Kind: Rounded, Detail: "to " + r.to.name}
}

// scaling multiplies by a constant, or divides by it, and leaves the product rounded to odd for the
// rounding that follows; or rounded to float32 first, as implementations do that compute in it.
type scaling struct {
	by     float64
	divide bool
	via    *numberFormat // float32, or nil
	exact  bool          // the result is rounded to float64 first: no rounding to odd
	detail string
}

func (s scaling) apply(values []float64) {
	for i, x := range values {
		var y, rest float64
		if s.divide {
			y = x / s.by
			rest = -math.FMA(y, s.by, -x)
			if s.by < 0 {
				rest = -rest
			}
		} else {
			y = x * s.by
			rest = math.FMA(x, s.by, -y)
		}
		if !s.exact {
			y = odd(y, rest)
		}
		if s.via != nil {
			y = s.via.round(y)
		}
		values[i] = y
	}
}

func (s scaling) explain() Explanation { return Explanation{Kind: Scaled, Detail: s.detail} }

// adding adds a constant, likewise.
type adding struct {
	constant float64
	via      *numberFormat
	exact    bool
	detail   string
}

func (a adding) apply(values []float64) {
	for i, x := range values {
		y := x + a.constant
		if !a.exact {
			part := y - x // Knuth's sum without error: y + rest is x + constant
			rest := (x - (y - part)) + (a.constant - part)
			y = odd(y, rest)
		}
		if a.via != nil {
			y = a.via.round(y)
		}
		values[i] = y
	}
}

func (a adding) explain() Explanation { return Explanation{Kind: Added, Detail: a.detail} }

// unit is a unit in the last place of y, without a look at subnormal numbers: 0 for 0.
func (f *numberFormat) unit(y float64) float64 {
	const exponent = 0x7ff << 52
	epsilon := math.Float64frombits(uint64(1023-f.mantissa) << 52)
	return math.Float64frombits(math.Float64bits(y)&exponent) * epsilon
}

// rounded is the expected square of the error of b, and of a difference that was rounded as well.
func (f *numberFormat) rounded(b, difference float64) float64 {
	u, v := f.unit(b), f.unit(difference)
	return (u*u + v*v) / 12
}
