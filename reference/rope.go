package reference

import (
	"math"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// ropeTheta is the longest wavelength of the rotary position embedding, over 2π.
const ropeTheta = 10_000

// rotation has the angles of the tokens of a pass: their sines and cosines, [tokens, angles].
type rotation[T kernel.Float] struct {
	angles   int // a quarter of a head
	sin, cos []T
}

// newRotation computes the angles of rotary position embedding (RoPE) for heads of headDim, of
// which the first half, rot = headDim/2 channels, is turned:
//
//	angle(t, j) = position_t / 10000^(2j/rot),  0 <= j < rot/2
//
// In float32 every step is rounded to float32, as in all the implementations: at positions in the
// thousands the rounding of the angle is what their rounding errors consist of.
func newRotation[T kernel.Float](a *numbers[T], positions []int32, headDim int) rotation[T] {
	rot := headDim / 2
	r := rotation[T]{angles: rot / 2, sin: make([]T, len(positions)*rot/2), cos: make([]T, len(positions)*rot/2)}
	for j := range r.angles {
		frequency := 1 / T(math.Pow(ropeTheta, float64(T(2*j)/T(rot))))
		for t, position := range positions {
			sin, cos := math.Sincos(float64(T(position) * frequency))
			r.sin[t*r.angles+j] = a.round(T(sin))
			r.cos[t*r.angles+j] = a.round(T(cos))
		}
	}
	return r
}

// turn rotates the head of token t in place: channel j of the first half is paired with j + rot/2,
//
//	(x_j, x_j+rot/2) → (x_j·cos − x_j+rot/2·sin, x_j+rot/2·cos + x_j·sin)
//
// and the second half of the head stays as it is.
func (r *rotation[T]) turn(a *numbers[T], head []T, t int) {
	sin, cos := r.sin[t*r.angles:][:r.angles], r.cos[t*r.angles:][:r.angles]
	first, second := head[:r.angles], head[r.angles:][:r.angles]
	for j := range first {
		x, y := first[j], second[j]
		first[j] = a.round(a.step(x*cos[j]) - a.step(y*sin[j]))
		second[j] = a.round(a.step(y*cos[j]) + a.step(x*sin[j]))
	}
}
