package reference

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// Precision is the type in which activations are computed.
type Precision uint8

const (
	// Float32 computes in float32, with weights as they are stored.
	Float32 Precision = iota
	// Float64 computes in float64, with weights as they are stored. Its results stand for the exact ones.
	Float64
	// BFloat16 rounds weights and activations to bfloat16 as google-deepmind/recurrentgemma does in
	// JAX with bfloat16 and without excess precision: after every operation, except that products and
	// means are summed in float32, and that softmax and recurrence run in float32. Unlike JAX on CPUs,
	// it does not replace numbers below 1.2e-38 by zero.
	BFloat16
	// Fast is Float32 with the products of weight matrices in bfloat16: their weights and the activations that they multiply are
	// rounded to bfloat16, and the products are summed in float32. The block-diagonal gates, attention and all else are as in
	// Float32. Arithmetic.Order does not change its products. See FAST.md for its error.
	Fast
)

// PrecisionNames has the name of each Precision but Fast, indexed by it.
var PrecisionNames = [...]string{"float32", "float64", "bfloat16"}

// FastIsFaster reports whether the processor has instructions for the products of Fast, which otherwise takes far longer than
// Float32.
func FastIsFaster() bool { return kernel.MultipliesPairs() }

func (p Precision) String() string {
	if p == Fast {
		return "fast"
	}
	return PrecisionNames[p]
}

// ParsePrecision returns the Precision of that name, which is not Fast.
func ParsePrecision(name string) (Precision, error) {
	i := slices.Index(PrecisionNames[:], name)
	if i < 0 {
		return 0, fmt.Errorf("%q is not one of %s", name, strings.Join(PrecisionNames[:], ", "))
	}
	return Precision(i), nil
}

// Arithmetic selects the precision and the order of rounding. The zero value is plain float32. The
// fields after Precision select variants that are as correct as the plain one; the spread of their
// results measures the effect of rounding.
type Arithmetic struct {
	Precision Precision

	// Order, if not 0, is the seed of another order of summation. Orders that are 2 or 3 modulo 4 also
	// round the square root in the norm before they invert it, as torch does on CPUs.
	Order uint64
	// Fused rounds only the result of a chain of element-wise operations, or of a product with its bias,
	// and keeps the steps in float32, as torch's operators do and compilers may that keep excess
	// precision. It has an effect in BFloat16 only.
	Fused bool
}

// ops are the operations of an Arithmetic on its element type: T is float64 for Float64, otherwise
// float32.
type ops[T kernel.Float] struct {
	bf16, fused bool
	fast        bool // products of bfloat16
	roundRoot   bool // 1/sqrt(x) also rounds sqrt(x)
	order       *kernel.Order
}

func newOps[T kernel.Float](a Arithmetic) ops[T] {
	return ops[T]{bf16: a.Precision == BFloat16, fast: a.Precision == Fast, fused: a.Fused, roundRoot: a.Order%4 >= 2, order: kernel.SeededOrder(a.Order)}
}

// round rounds the result of a product or of a chain of element-wise operations to the precision. The
// conversion to T prevents the compiler from fusing a product with the sum that it goes into.
func (o *ops[T]) round(x T) T {
	if o.bf16 {
		return T(kernel.RoundBF16(float32(x)))
	}
	return T(x)
}

// step rounds an intermediate result of such a chain, unless the arithmetic is Fused.
func (o *ops[T]) step(x T) T {
	if o.bf16 && !o.fused {
		return T(kernel.RoundBF16(float32(x)))
	}
	return T(x)
}

// constant returns a constant of the formulas, rounded to the precision.
func (o *ops[T]) constant(x float64) T { return o.round(T(x)) }

// blockTerms returns what the number of inputs of every piece but the last of a matrix [in, out] is a multiple of.
func (a Arithmetic) blockTerms() int {
	if a.Precision == Fast {
		return 2 * kernel.BlockTerms
	}
	return kernel.BlockTerms
}

// sum adds the elements of x in T: in 8 sums of every eighth element, which are then added in pairs.
// If an Order is set, it adds the sums of Order.Split elements each.
func (o *ops[T]) sum(x []T) T {
	if o.order == nil {
		return sum(x)
	}
	var total T
	for ; len(x) > 0; x = x[min(o.order.Split, len(x)):] {
		total += sum(x[:min(o.order.Split, len(x))])
	}
	return total
}

func sum[T kernel.Float](x []T) T {
	var s [8]T
	for ; len(x) >= 8; x = x[8:] {
		s[0] += x[0]
		s[1] += x[1]
		s[2] += x[2]
		s[3] += x[3]
		s[4] += x[4]
		s[5] += x[5]
		s[6] += x[6]
		s[7] += x[7]
	}
	for i := range x {
		s[i] += x[i]
	}
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

// Elementary functions, evaluated in float64 and rounded to T once.

func exp[T kernel.Float](x T) T   { return T(math.Exp(float64(x))) }
func log1p[T kernel.Float](x T) T { return T(math.Log1p(float64(x))) }
func sqrt[T kernel.Float](x T) T  { return T(math.Sqrt(float64(x))) }

// expAll replaces the elements of x by e to their power.
func expAll[T kernel.Float](x []T) {
	switch x := any(x).(type) {
	case []float32:
		kernel.Exp(x, x)
	case []float64:
		for i := range x {
			x[i] = math.Exp(x[i])
		}
	}
}

// tanhAll replaces the elements of x by their hyperbolic tangents.
func tanhAll[T kernel.Float](x []T) {
	switch x := any(x).(type) {
	case []float32:
		kernel.Tanh(x, x)
	case []float64:
		for i := range x {
			x[i] = math.Tanh(x[i])
		}
	}
}

// rsqrt returns 1 / sqrt(x).
func (o *ops[T]) rsqrt(x T) T {
	if o.roundRoot {
		return o.step(1 / o.round(sqrt(x)))
	}
	return o.step(T(1 / math.Sqrt(float64(x))))
}

// inFloat32 returns x as float32 if its operations round to that: then a function of package kernel does several at once.
func (o *ops[T]) inFloat32(x []T) ([]float32, bool) {
	single, ok := any(x).([]float32)
	return single, ok && !o.bf16
}

// addTo adds each x to y.
func (o *ops[T]) addTo(y, x []T) {
	if y, ok := o.inFloat32(y); ok {
		kernel.Add(y, any(x).([]float32))
		return
	}
	for i, x := range x {
		y[i] = o.round(o.step(y[i]) + x)
	}
}

// addProduct adds a·b to y, element by element.
func (o *ops[T]) addProduct(y, a, b []T) {
	if y, ok := o.inFloat32(y); ok {
		kernel.AddProduct(y, any(a).([]float32), any(b).([]float32))
		return
	}
	for i := range y {
		y[i] = o.step(y[i] + o.step(a[i]*b[i]))
	}
}

// sigmoid replaces the elements of x by 1 / (1 + e⁻ˣ).
func (o *ops[T]) sigmoid(x []T) {
	if x, ok := o.inFloat32(x); ok {
		kernel.Sigmoid(x, x)
		return
	}
	for i := range x {
		x[i] = -x[i]
	}
	expAll(x)
	for i := range x {
		x[i] = o.round(1 / o.step(1+o.step(x[i])))
	}
}

// softplus returns log(1 + eˣ), computed without overflow as max(x, 0) + log(1 + e^-|x|).
func (o *ops[T]) softplus(x T) T {
	return o.round(max(x, 0) + o.step(log1p(o.step(exp(-max(x, -x))))))
}

// chunk is the number of elements for which element-wise operations keep intermediate results.
const chunk = 512

// multiplyByGELU multiplies each y by the tanh form of GELU of x,
//
//	GELU(x) = x·(1 + tanh(sqrt(2/π)·(x + 0.044715·x³)))/2
func (o *ops[T]) multiplyByGELU(y, x []T) {
	if y, ok := o.inFloat32(y); ok {
		kernel.MultiplyByGELU(y, any(x).([]float32))
		return
	}
	cubic, scale := o.constant(0.044715), o.constant(math.Sqrt(2/math.Pi))
	buffer := make([]T, chunk)
	for ; len(x) > 0; x, y = x[len(buffer):], y[len(buffer):] {
		buffer = buffer[:min(len(buffer), len(x))]
		for i := range buffer {
			cube := o.step(o.step(x[i]*x[i]) * x[i])
			buffer[i] = o.step(scale * o.step(x[i]+o.step(cubic*cube)))
		}
		tanhAll(buffer)
		for i := range buffer {
			half := o.step(o.step(1+o.step(buffer[i])) / 2)
			y[i] = o.round(o.round(x[i]*half) * y[i])
		}
	}
}
