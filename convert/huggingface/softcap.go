package huggingface

import (
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// transformers always caps logits: tanh(x/cap)*cap. uncapped has, for each dtype in which
// transformers computes, a cap with which a model without a cap computes as if there were none. It is
// a power of two, so that x/cap is exact, and so large that tanh(x/cap) rounds to x/cap for logits up
// to 40. float16 has none, since x/cap becomes subnormal first; cost is the largest change of a logit
// with the best cap there is.
//
// Measured with torch 2.15 on every bfloat16 and float16 and 30 million others: the smallest exact
// cap is 2^17 in float32, 2^9 in bfloat16 (but for logits below 1e-32) and 2^32 in float64. Weights
// in bfloat16 are often loaded in float32, so that both use a cap that is exact in either.
var uncapped = map[tensor.DType]struct{ softCap, cost, least float64 }{
	tensor.F64:  {1 << 32, 0, 1 << 32},
	tensor.F32:  {1 << 20, 0, 1 << 20},
	tensor.BF16: {1 << 20, 0, 1 << 10},
	tensor.F16:  {1 << 11, 0x1p-14, math.Inf(1)},
}

// NoSoftCap returns the soft cap to configure for a model without one that computes in dtype d, and
// the largest change that it makes to logits up to 40, which is 0 but in float16.
func NoSoftCap(d tensor.DType) (softCap, cost float64) {
	return uncapped[d].softCap, uncapped[d].cost
}

// IsNoSoftCap reports whether a soft cap leaves the logits of a model that computes in dtype d as
// they are.
func IsNoSoftCap(softCap float64, d tensor.DType) bool {
	u, ok := uncapped[d]
	return ok && IsPowerOfTwo(softCap) && softCap >= u.least
}

// IsPowerOfTwo reports whether x is a power of two.
func IsPowerOfTwo(x float64) bool {
	fraction, _ := math.Frexp(x)
	return fraction == 0.5
}
