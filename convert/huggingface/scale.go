package huggingface

import (
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// EmbeddingScale returns the number by which transformers multiplies embeddings, always, and the
// original implementation if the model has an embedding scale: the square root of the width, rounded to
// bfloat16.
func EmbeddingScale(width int64) float64 {
	bits := math.Float32bits(float32(math.Sqrt(float64(width))))
	bits += 0x7fff + bits>>16&1
	return float64(math.Float32frombits(bits &^ 0xffff))
}

// DivisionCost returns the largest relative change of an element of type d that is divided by a number
// and multiplied by it again, subnormal numbers aside. It tries all mantissas.
func DivisionCost(d tensor.DType, by float64) float64 {
	worst := 0.0
	if d == tensor.F32 {
		for i := range uint32(1 << 23) {
			x := math.Float32frombits(0x3f800000 | i)
			q := x / float32(by)
			worst = max(worst, math.Abs(float64(q*float32(by))-float64(x))/float64(x))
		}
		return worst
	}
	bits := map[tensor.DType]int{tensor.F16: 10, tensor.BF16: 7}[d]
	round := func(x float64) float64 { // no exponent is near its end
		fraction, exponent := math.Frexp(x)
		return math.Ldexp(math.RoundToEven(math.Ldexp(fraction, bits+1)), exponent-bits-1)
	}
	for i := range 1 << bits {
		x := 1 + math.Ldexp(float64(i), -bits)
		worst = max(worst, math.Abs(round(round(x/by)*by)-x)/x)
	}
	return worst
}
