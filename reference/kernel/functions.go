package kernel

import "math"

// functions are functions of slices of float32 of equal length, for one instruction set. See those of the same names.
type functions struct {
	exp, tanh, sigmoid  func(dst, src []float32)
	softCap             func(dst, src []float32, bound float32)
	multiplyByGELU, add func(dst, src []float32)
	addProduct          func(dst, a, b []float32)
}

// Exp sets dst[i] to e to the power src[i], for as many elements as src has. dst may be src. The result
// is the exact value rounded to float32, or, if that lies within 2⁻¹⁷ ulp of a tie, one of its two
// neighbours: the error is at most 0.50001 ulp.
func Exp(dst, src []float32) { use.exp(dst[:len(src)], src) }

// Tanh sets dst[i] to the hyperbolic tangent of src[i]. dst may be src. Its error is that of Exp.
func Tanh(dst, src []float32) { use.tanh(dst[:len(src)], src) }

// Sigmoid sets dst[i] to 1 / (1 + e⁻ˣ) of x = src[i], with each of its steps rounded to float32. dst may be src.
func Sigmoid(dst, src []float32) { use.sigmoid(dst[:len(src)], src) }

// SoftCap sets dst[i] to bound·tanh(src[i]/bound), with each of its steps rounded to float32. dst may be src.
func SoftCap(dst, src []float32, bound float32) { use.softCap(dst[:len(src)], src, bound) }

// MultiplyByGELU multiplies dst[i] by the tanh form of GELU of x = src[i],
//
//	x·(1 + tanh(sqrt(2/π)·(x + 0.044715·x³)))/2
//
// with each of its steps rounded to float32.
func MultiplyByGELU(dst, src []float32) { use.multiplyByGELU(dst[:len(src)], src) }

// Add adds src[i] to dst[i].
func Add(dst, src []float32) { use.add(dst[:len(src)], src) }

// AddProduct adds a[i]·b[i], rounded to float32, to dst[i].
func AddProduct(dst, a, b []float32) { use.addProduct(dst[:len(a)], a, b[:len(a)]) }

// The functions are computed in float64, where a few fused multiply-adds give far more than the 24 bits of
// float32, and are rounded once. x = n·log(2) + r with a whole n, so that |r| <= log(2)/2 and
// eˣ = 2ⁿ·eʳ; e^r − 1 is a polynomial.
const (
	log2e = 0x1.71547652b82fep0
	ln2   = 0x1.62e42fefa39efp-1

	// roundToInt added to a number that is not large leaves the nearest whole number in the last bits.
	roundToInt = 0x1.8p52

	expLow, expHigh = -105, 89 // beyond these, eˣ is 0 or infinite in float32
	tanhHigh        = 20       // tanh(x) is 1 for 2x beyond this
)

// expm1Terms are the coefficients of (eʳ − 1 − r)/r² at the Chebyshev nodes of |r| <= log(2)/2: eʳ is
// right to 2⁻⁴³, e^r − 1 to 2⁻⁴².
var expm1Terms = [8]float64{
	0x1.fffffffffe062p-2, 0x1.5555555554f96p-3, 0x1.55555565c7e0ep-5, 0x1.111111170bc08p-7,
	0x1.6c166bde96885p-10, 0x1.a019c36bc053cp-13, 0x1.a136bf03ec612p-16, 0x1.72ad458027fbcp-19,
}

// expm1Reduced returns e^r − 1 and the bits of which the last 12 are n.
func expm1Reduced(x float64) (expm1 float64, n uint64) {
	whole := math.FMA(x, log2e, roundToInt)
	r := math.FMA(roundToInt-whole, ln2, x)
	q := expm1Terms[7]
	for i := 6; i >= 0; i-- {
		q = math.FMA(q, r, expm1Terms[i])
	}
	return math.FMA(float64(r*r), q, r), math.Float64bits(whole)
}

// exp returns eˣ.
func exp(x float32) float32 {
	expm1, n := expm1Reduced(clamp(float64(x), expLow, expHigh))
	return float32(math.Float64frombits(math.Float64bits(1+expm1) + n<<52))
}

// tanh returns (e²ˣ − 1)/(e²ˣ + 1), computed for |x|.
func tanh(x float32) float32 {
	expm1, n := expm1Reduced(clamp(2*math.Abs(float64(x)), 0, tanhHigh))
	power := math.Float64frombits(math.Float64bits(1) + n<<52)
	expm1 = math.FMA(power, expm1, power-1)
	return float32(math.Copysign(expm1/(expm1+2), float64(x)))
}

// The constants of GELU.
const (
	geluCubic = 0.044715
	geluScale = 0x1.9884533d43651p-1 // sqrt(2/π)
)

// multiplyByGELU returns y times GELU of x. The conversions prevent the compiler from fusing a product with the sum that it
// goes into.
func multiplyByGELU(y, x float32) float32 {
	cube := float32(float32(x*x) * x)
	t := tanh(float32(geluScale * float32(x+float32(geluCubic*cube))))
	return float32(x*float32(float32(1+t)/2)) * y
}

// genericFunctions are the functions without assembly.
var genericFunctions = functions{
	exp:     each(exp),
	tanh:    each(tanh),
	sigmoid: each(func(x float32) float32 { return 1 / (1 + exp(-x)) }),
	softCap: func(dst, src []float32, bound float32) {
		for i, x := range src {
			dst[i] = tanh(x/bound) * bound
		}
	},
	multiplyByGELU: func(dst, src []float32) {
		for i, x := range src {
			dst[i] = multiplyByGELU(dst[i], x)
		}
	},
	add: func(dst, src []float32) {
		for i, x := range src {
			dst[i] += x
		}
	},
	addProduct: func(dst, a, b []float32) {
		for i, x := range a {
			dst[i] += float32(x * b[i])
		}
	},
}

// each returns the function that sets the elements of dst to f of those of src.
func each(f func(float32) float32) func(dst, src []float32) {
	return func(dst, src []float32) {
		for i, x := range src {
			dst[i] = f(x)
		}
	}
}

// clamp returns x within bounds, or NaN if x is NaN.
func clamp(x, low, high float64) float64 {
	if x < low {
		return low
	}
	if x > high {
		return high
	}
	return x
}
