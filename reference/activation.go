package reference

import (
	"math"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// Activation is the function that is applied to the gates of the MLP and of the recurrent block. All models of the original
// implementation have GELUTanh.
type Activation uint8

// The activations, with σ(x) = 1 / (1 + e⁻ˣ) and softplus(x) = log(1 + eˣ).
const (
	GELUTanh     Activation = iota // x·(1 + tanh(sqrt(2/π)·(x + 0.044715·x³)))/2
	GELU                           // x·(1 + erf(x/sqrt(2)))/2
	GELUClipped                    // GELU within [-10, 10]
	QuickGELU                      // x·σ(1.702·x)
	SiLU                           // x·σ(x)
	Mish                           // x·tanh(softplus(x))
	HardSwish                      // x·ReLU6(x + 3)/6
	ReLU                           // max(x, 0)
	ReLU6                          // min(max(x, 0), 6)
	ReLUSquared                    // max(x, 0)²
	LeakyReLU                      // x, or x/100 if x is negative
	Sigmoid                        // σ(x)
	Tanh                           // tanh(x)
	SqrtSoftplus                   // sqrt(softplus(x))
	Laplace                        // (1 + erf((x − 0.707107)/(0.282095·sqrt(2))))/2
	Linear                         // x
)

// activationNames are those of transformers' hidden_activation, one of each function.
var activationNames = [...]string{"gelu_pytorch_tanh", "gelu", "gelu_10", "quick_gelu", "silu", "mish", "hardswish", "relu", "relu6", "relu2",
	"leaky_relu", "sigmoid", "tanh", "sqrtsoftplus", "laplace", "linear"}

func (a Activation) String() string { return activationNames[a] }

// multiplyByActivation multiplies each y by the activation of x. In BFloat16 the activation is rounded once, as torch does it,
// except for GELUTanh, which the original computes step by step.
func (o *ops[T]) multiplyByActivation(a Activation, y, x []T) {
	if a == GELUTanh {
		o.multiplyByGELU(y, x)
		return
	}
	buffer := make([]T, chunk)
	for ; len(x) > 0; x, y = x[len(buffer):], y[len(buffer):] {
		buffer = buffer[:min(len(buffer), len(x))]
		activate(a, buffer, x)
		for i := range buffer {
			y[i] = o.round(o.round(buffer[i]) * y[i])
		}
	}
}

// activate sets each element of y to the activation of the element of x.
func activate[T kernel.Float](a Activation, y, x []T) {
	switch a {
	case SiLU:
		sigmoidAll(y, x, 1)
		multiplyAll(y, x)
		return
	case QuickGELU:
		sigmoidAll(y, x, 1.702)
		multiplyAll(y, x)
		return
	case Sigmoid:
		sigmoidAll(y, x, 1)
		return
	case Tanh:
		copy(y, x)
		tanhAll(y)
		return
	}
	f := activations[a]
	for i := range y {
		y[i] = T(f(float64(x[i])))
	}
}

// sigmoidAll sets each element of y to σ(scale·x).
func sigmoidAll[T kernel.Float](y, x []T, scale T) {
	for i := range y {
		y[i] = -scale * x[i]
	}
	expAll(y)
	for i := range y {
		y[i] = 1 / (1 + y[i])
	}
}

func multiplyAll[T kernel.Float](y, x []T) {
	for i := range y {
		y[i] *= x[i]
	}
}

// activations has the other functions, which are evaluated in float64. The conversions prevent the compiler from fusing a
// product with the sum that it goes into.
var activations = map[Activation]func(float64) float64{
	GELU:         gelu,
	GELUClipped:  func(x float64) float64 { return min(max(gelu(x), -10), 10) },
	Mish:         func(x float64) float64 { return x * math.Tanh(softplus(x)) },
	HardSwish:    func(x float64) float64 { return x * min(max(x+3, 0), 6) / 6 },
	ReLU:         func(x float64) float64 { return max(x, 0) },
	ReLU6:        func(x float64) float64 { return min(max(x, 0), 6) },
	ReLUSquared:  func(x float64) float64 { return max(x, 0) * max(x, 0) },
	LeakyReLU:    func(x float64) float64 { return max(x, 0) + float64(min(x, 0)*0.01) },
	SqrtSoftplus: func(x float64) float64 { return math.Sqrt(softplus(x)) },
	Laplace:      func(x float64) float64 { return (1 + math.Erf((x-0.707107)/(0.282095*math.Sqrt2))) / 2 },
	Linear:       func(x float64) float64 { return x },
}

func gelu(x float64) float64 { return x * (1 + math.Erf(x/math.Sqrt2)) / 2 }

func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
