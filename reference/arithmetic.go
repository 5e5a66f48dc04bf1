package reference

import (
	"math"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// Precision is the type of number that activations are held in.
type Precision uint8

const (
	// Float32 holds activations and sums in float32, weights as they are stored.
	Float32 Precision = iota
	// Float64 is the yardstick: everything in float64, weights as they are stored.
	Float64
	// BFloat16 rounds weights and activations to bfloat16 where google-deepmind/recurrentgemma's JAX
	// code does when it runs in bfloat16 without excess precision: after every operation, except
	// that products and means are summed in float32, and that softmax and recurrence run in it.
	// (JAX on CPUs also takes numbers below 1.2e-38 for zero; here they are kept.)
	BFloat16
)

// PrecisionNames has the name of each Precision on the command line.
var PrecisionNames = [...]string{"float32", "float64", "bfloat16"}

func (p Precision) String() string { return PrecisionNames[p] }

// Arithmetic says how to compute. The zero value is plain float32. What follows Precision makes
// variants that are as legal as the plain one, so that their spread shows what rounding does.
type Arithmetic struct {
	Precision Precision

	// Order other than 0 seeds another order of the sums. Of every four orders, 2 and 3 take the inverse
	// square root of the norm in two steps that are rounded each, as torch does on CPUs.
	Order uint64
	// Fused keeps the steps of an element-wise chain, and a product with its bias, in float32 and
	// rounds their result only, as torch's operators do, and compilers that may keep excess
	// precision. It makes a difference in BFloat16 alone.
	Fused bool
}

// numbers is an Arithmetic with its type of number: T is float64 for Float64, otherwise float32.
type numbers[T kernel.Float] struct {
	bf16, fused bool
	rootFirst   bool // 1/sqrt(x) rounds the root, too
	order       *kernel.Order
}

func newNumbers[T kernel.Float](a Arithmetic) numbers[T] {
	return numbers[T]{bf16: a.Precision == BFloat16, fused: a.Fused, rootFirst: a.Order%4 >= 2, order: kernel.SeededOrder(a.Order)}
}

// round rounds the result of an operation. (The conversion keeps a compiler from fusing a product
// with the sum that it goes into.)
func (a *numbers[T]) round(x T) T {
	if a.bf16 {
		return T(kernel.RoundBF16(float32(x)))
	}
	return T(x)
}

// step rounds within a chain of element-wise operations.
func (a *numbers[T]) step(x T) T {
	if a.bf16 && !a.fused {
		return T(kernel.RoundBF16(float32(x)))
	}
	return T(x)
}

// constant returns a constant of the formulas as the activations' type has it.
func (a *numbers[T]) constant(x float64) T { return a.round(T(x)) }

// sum adds n terms in order (or as the order that is set has it), in T.
func (a *numbers[T]) sum(n int, term func(i int) T) T {
	split := n
	if a.order != nil {
		split = a.order.Split
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

// The functions of the model. Each is evaluated in float64 and rounded once.

func exp[T kernel.Float](x T) T   { return T(math.Exp(float64(x))) }
func tanh[T kernel.Float](x T) T  { return T(math.Tanh(float64(x))) }
func log1p[T kernel.Float](x T) T { return T(math.Log1p(float64(x))) }
func sqrt[T kernel.Float](x T) T  { return T(math.Sqrt(float64(x))) }

// rsqrt returns 1 / sqrt(x).
func (a *numbers[T]) rsqrt(x T) T {
	if a.rootFirst {
		return a.step(1 / a.round(sqrt(x)))
	}
	return a.step(T(1 / math.Sqrt(float64(x))))
}

// sigmoid returns 1 / (1 + e⁻ˣ).
func (a *numbers[T]) sigmoid(x T) T {
	return a.round(1 / a.step(1+a.step(exp(-x))))
}

// softplus returns log(1 + eˣ) = max(x, 0) + log(1 + e^-|x|), which does not overflow.
func (a *numbers[T]) softplus(x T) T {
	return a.round(max(x, 0) + a.step(log1p(a.step(exp(-max(x, -x))))))
}

// gelu returns the tanh form of GELU, x·(1 + tanh(sqrt(2/π)·(x + 0.044715·x³)))/2.
func (a *numbers[T]) gelu(x T) T {
	cube := a.step(a.step(x*x) * x)
	inner := a.step(x + a.step(a.constant(0.044715)*cube))
	half := a.step(a.step(1+a.step(tanh(a.step(a.constant(math.Sqrt(2/math.Pi))*inner)))) / 2)
	return a.round(x * half)
}
