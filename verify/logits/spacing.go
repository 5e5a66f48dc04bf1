package logits

import (
	"math"

	"github.com/griffin-ckpt/griffin/reference"
)

// spacing is the distance between neighbouring numbers of a dtype at the largest channel of a token, relative to the root mean square of the channels.
// Errors are multiples of such distances. Where all runs round a channel to the same number, they do not show that another order of sums may round it
// to the next one.
type spacing struct {
	distance float64
	channels int
}

// spacingOf returns the spacing of float32 for a token's channels.
func spacingOf(channels []float64) spacing {
	var largest, squares float64
	for _, x := range channels {
		if a := math.Abs(x); !math.IsInf(a, 0) && !math.IsNaN(a) {
			largest, squares = math.Max(largest, a), squares+a*a
		}
	}
	s := spacing{channels: len(channels)}
	if largest > 0 {
		_, exponent := math.Frexp(largest)
		s.distance = math.Ldexp(1, exponent-24) / math.Sqrt(squares/float64(len(channels)))
	}
	return s
}

// in returns the spacing of a precision that legal runs have.
func (s spacing) in(p reference.Precision) spacing {
	if p == reference.BFloat16 {
		s.distance *= 1 << 16
	}
	return s
}

// next returns the RMS and the Max of an error that has become larger by one distance, in the channel in which it is largest.
func (s spacing) next(e TokenError) (rms, max float64) {
	squares := s.distance * (2*e.Max + s.distance)
	return math.Sqrt(e.RMS*e.RMS + squares/float64(s.channels)), e.Max + s.distance
}
