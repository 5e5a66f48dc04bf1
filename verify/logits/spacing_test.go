package logits

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/griffin-ckpt/griffin/reference"
)

// The spacing is that of the numbers of a dtype at the largest channel, relative to the root mean square of the channels, and none where nothing is
// finite.
func TestSpacing(t *testing.T) {
	for _, tt := range []struct {
		channels []float64
		want     float64
	}{
		{[]float64{1, -1}, 0x1p-23},
		{[]float64{math.Nextafter(2, 0), 0, 0, 0}, 0x1p-23},
		{[]float64{-2, 0, 0, 0}, 0x1p-22},
		{[]float64{3, 4, 0, 0}, 0x1p-21 / 2.5},
		{[]float64{math.Inf(1), 2, math.NaN(), -2}, 0x1p-22 / math.Sqrt(2)},
		{[]float64{0, 0}, 0},
		{[]float64{math.NaN(), 0}, 0},
	} {
		got := spacingOf(tt.channels)
		if math.Abs(got.distance-tt.want) > 1e-6*tt.want || got.channels != len(tt.channels) {
			t.Errorf("%v: %v, want %g", tt.channels, got, tt.want)
		}
		if f, b := got.in(reference.Float32), got.in(reference.BFloat16); f != got || b.distance != 0x1p16*got.distance || b.channels != got.channels {
			t.Errorf("%v: in float32 %v, in bfloat16 %v", tt.channels, f, b)
		}
	}
}

// next is the error of a token whose worst channel is the next number: as measured where that channel is also the largest.
func TestNextError(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		var y []float64
		var x []float32
		for range 40 {
			v := rng.NormFloat64()
			y, x = append(y, v), append(x, float32(v))
		}
		y[7], x[7] = 7.3, 7.3
		x[7] = math.Nextafter32(x[7], 8)
		e := tokenError(x, y)
		x[7] = math.Nextafter32(x[7], 8)
		want := tokenError(x, y)
		rms, max := spacingOf(y).in(reference.Float32).next(e)
		if e.Channel != 7 || math.Abs(rms/want.RMS-1) > 1e-9 || math.Abs(max/want.Max-1) > 1e-9 {
			t.Fatalf("%+v: next %g and %g, want %+v", e, rms, max, want)
		}
	}
}

// A token's error may be one number further than the largest error of the runs at that token.
func TestLimits(t *testing.T) {
	s := newSiteErrors("logits", false, 2, 3)
	s.spacings[0], s.spacings[1] = spacing{0.5, 4}, spacing{0, 4}
	s.runs = [][]TokenError{{{RMS: 3, Max: 5}, {RMS: 1, Max: 1}}, {{RMS: 2, Max: 6}, {RMS: 4, Max: 1}}, {{}, {}}}
	s.setLimits(reference.Float32)
	if want := math.Sqrt(9 + 0.5*10.5/4); s.least[0] != [2]float64{want, 6.5} || s.least[1] != [2]float64{4, 1} {
		t.Errorf("%v, want %g and 6.5, 4 and 1", s.least, want)
	}
	s.setLimits(reference.BFloat16)
	if got := s.least[0][1]; got != 6+0x1p15 {
		t.Errorf("in bfloat16 %g, want %g", got, 6+0x1p15)
	}
	if rms, max := s.scales(-1); rms[0] != s.rmsScale[0] || max[1] != s.maxScale[1] {
		t.Errorf("scales %v and %v", s.rmsScale, s.maxScale)
	}
}
