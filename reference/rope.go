package reference

import (
	"math"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// rotation holds the sines and cosines of the angles of a pass, [tokens, angles].
type rotation[T kernel.Float] struct {
	angles   int // per token: a quarter of the head dimension in the original
	sin, cos []T
}

// newRotation computes the angles of rotary position embedding (RoPE) for heads of head_dim channels,
// of which the first half, rot = head_dim/2, is rotated:
//
//	angle(t, j) = position_t / 10000^(2j/rot),  0 <= j < rot/2
//
// A Variant may have another base than 10000, and rotate another part of the head.
//
// In float32 every step is rounded to float32, as in all implementations: at positions in the
// thousands the rounding of the angle dominates their rounding errors.
func newRotation[T kernel.Float](o *ops[T], positions []int32, c *Config) rotation[T] {
	rot, angles := c.rotary()
	r := rotation[T]{angles: angles, sin: make([]T, len(positions)*angles), cos: make([]T, len(positions)*angles)}
	for j := range r.angles {
		frequency := 1 / T(math.Pow(c.variant().RopeTheta, float64(T(2*j)/T(rot))))
		for t, position := range positions {
			sin, cos := math.Sincos(float64(T(position) * frequency))
			r.sin[t*r.angles+j] = o.round(T(sin))
			r.cos[t*r.angles+j] = o.round(T(cos))
		}
	}
	return r
}

// rotate rotates the head of token t in place: channel j of the first half is paired with j + rot/2,
//
//	(x_j, x_j+rot/2) → (x_j·cos − x_j+rot/2·sin, x_j+rot/2·cos + x_j·sin)
//
// The rest of the head is unchanged.
func (r *rotation[T]) rotate(o *ops[T], head []T, t int) {
	sin, cos := r.sin[t*r.angles:][:r.angles], r.cos[t*r.angles:][:r.angles]
	first, second := head[:r.angles], head[r.angles:][:r.angles]
	for j := range first {
		x, y := first[j], second[j]
		first[j] = o.round(o.step(x*cos[j]) - o.step(y*sin[j]))
		second[j] = o.round(o.step(y*cos[j]) + o.step(x*sin[j]))
	}
}
