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
)

// PrecisionNames has the name of each Precision, indexed by it.
var PrecisionNames = [...]string{"float32", "float64", "bfloat16"}

func (p Precision) String() string { return PrecisionNames[p] }

// ParsePrecision returns the Precision of that name.
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
	roundRoot   bool // 1/sqrt(x) also rounds sqrt(x)
	order       *kernel.Order
}

func newOps[T kernel.Float](a Arithmetic) ops[T] {
	return ops[T]{bf16: a.Precision == BFloat16, fused: a.Fused, roundRoot: a.Order%4 >= 2, order: kernel.SeededOrder(a.Order)}
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

// sum adds n terms in T, in order. If an Order is set, it adds the sums of Order.Split terms each.
func (o *ops[T]) sum(n int, term func(i int) T) T {
	split := n
	if o.order != nil {
		split = o.order.Split
	}
	var total T
	for from := 0; from < n; from += split {
		var part T
		for i := from; i < min(from+split, n); i++ {
			part += term(i)
		}
		total += part
	}
	return total
}

// Elementary functions, evaluated in float64 and rounded to T once.

func exp[T kernel.Float](x T) T   { return T(math.Exp(float64(x))) }
func tanh[T kernel.Float](x T) T  { return T(math.Tanh(float64(x))) }
func log1p[T kernel.Float](x T) T { return T(math.Log1p(float64(x))) }
func sqrt[T kernel.Float](x T) T  { return T(math.Sqrt(float64(x))) }

// rsqrt returns 1 / sqrt(x).
func (o *ops[T]) rsqrt(x T) T {
	if o.roundRoot {
		return o.step(1 / o.round(sqrt(x)))
	}
	return o.step(T(1 / math.Sqrt(float64(x))))
}

// sigmoid returns 1 / (1 + e⁻ˣ).
func (o *ops[T]) sigmoid(x T) T {
	return o.round(1 / o.step(1+o.step(exp(-x))))
}

// softplus returns log(1 + eˣ), computed without overflow as max(x, 0) + log(1 + e^-|x|).
func (o *ops[T]) softplus(x T) T {
	return o.round(max(x, 0) + o.step(log1p(o.step(exp(-max(x, -x))))))
}

// gelu returns the tanh form of GELU, x·(1 + tanh(sqrt(2/π)·(x + 0.044715·x³)))/2.
func (o *ops[T]) gelu(x T) T {
	cube := o.step(o.step(x*x) * x)
	inner := o.step(x + o.step(o.constant(0.044715)*cube))
	half := o.step(o.step(1+o.step(tanh(o.step(o.constant(math.Sqrt(2/math.Pi))*inner)))) / 2)
	return o.round(x * half)
}
