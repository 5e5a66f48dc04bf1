package logits

import (
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/internal/forward"
)

// siteErrors are the errors of one result of the model at every token, counted over the rows of all passes.
type siteErrors struct {
	name  string
	fed   bool // the block was given the fixture's own input
	exact bool // compared bit for bit

	fixture []*TokenError  // by token; nil where the fixture has none
	decode  []*TokenError  // of logits: the fixture's decoding, at the same tokens; nil for other results
	runs    [][]TokenError // by legal run and token

	notFinite recordedNotFinite

	rmsScale, maxScale []float64    // by token: what errors of legal runs usually are
	spacings           []spacing    // by token
	least              [][2]float64 // by token: the RMS and the Max that are allowed in any case, the next number beyond those of the legal runs
}

func newSiteErrors(name string, fed bool, tokens, runs int) *siteErrors {
	return &siteErrors{name: name, fed: fed, fixture: make([]*TokenError, tokens), runs: make([][]TokenError, runs), spacings: make([]spacing, tokens), least: make([][2]float64, tokens)}
}

// add sets the errors of all tokens.
func (s *siteErrors) add(fixture *fixtureValues, truth *reference.Activations, runs []*reference.Activations) {
	for t := range s.fixture {
		y := tokenOf(truth, t).Float64
		if x := fixture.token(t); x != nil {
			e := tokenError(x, y)
			s.fixture[t] = &e
			s.notFinite.add(t, x, y, false)
		}
		s.spacings[t] = spacingOf(y)
		for k, run := range runs {
			s.runs[k] = append(s.runs[k], tokenError(asRecorded(tokenOf(run, t)), y))
		}
	}
}

// finite reports whether the fixture's errors are.
func (s *siteErrors) finite() bool {
	return !slices.ContainsFunc(s.fixture, func(e *TokenError) bool { return e != nil && math.IsNaN(e.Largest-e.Largest) })
}

// setLimits sets what errors usually are, and what they may be at least, by all legal runs, which have a precision.
func (s *siteErrors) setLimits(p reference.Precision) {
	s.rmsScale, s.maxScale = s.scales(-1)
	for t := range s.least {
		for _, run := range s.runs {
			rms, max := s.spacings[t].in(p).next(run[t])
			s.least[t] = [2]float64{math.Max(s.least[t][0], rms), math.Max(s.least[t][1], max)}
		}
	}
}

// scales returns what errors usually are at each token, by all runs but one (-1: by all).
func (s *siteErrors) scales(without int) (rms, max []float64) {
	tokens := len(s.runs[0])
	rms, max = make([]float64, tokens), make([]float64, tokens)
	var allRMS, allMax, n float64
	for k, run := range s.runs {
		if k == without {
			continue
		}
		for t, e := range run {
			rms[t] += e.RMS * e.RMS
			max[t] += e.Max * e.Max
			allRMS += e.RMS * e.RMS
			allMax += e.Max * e.Max
		}
		n++
	}
	for t := range tokens {
		rms[t] = tokenScale(rms[t]/n, allRMS/n/float64(tokens))
		max[t] = tokenScale(max[t]/n, allMax/n/float64(tokens))
	}
	return rms, max
}

// tokenScale returns the scale of errors at a token from the mean squares of the errors at the token itself and at all tokens
// of the site. A token that rounds better than others is given half of what the others have, since its mean is over few runs.
func tokenScale(own, all float64) float64 { return math.Sqrt(math.Max(own, (own+all)/2)) }

// tokenOf returns the activations of one token.
func tokenOf(a *reference.Activations, token int) *reference.Activations {
	return forward.Tokens(a, token, 1)
}

// asRecorded returns activations in float32, as a fixture has them.
func asRecorded(a *reference.Activations) []float32 {
	if a.Float64 == nil {
		return a.Float32
	}
	out := make([]float32, len(a.Float64))
	for i, x := range a.Float64 {
		out[i] = float32(x)
	}
	return out
}

// tokenError returns the error of the channels of one token.
func tokenError(x []float32, y []float64) TokenError {
	var e TokenError
	var squares, norm float64
	for i, want := range y {
		d := math.Abs(difference(float64(x[i]), want))
		squares += d * d
		if !math.IsInf(want, 0) && !math.IsNaN(want) {
			norm += want * want
		}
		if !(d <= e.Largest) && !math.IsNaN(e.Largest) {
			e.Largest, e.Channel = d, i
		}
	}
	scale := math.Sqrt(norm / float64(len(y)))
	if scale == 0 {
		scale = 1
	}
	e.RMS, e.Max = math.Sqrt(squares/float64(len(y)))/scale, e.Largest/scale
	return e
}

// difference returns x - y. It is 0 for two infinities of one sign, and for two NaN.
func difference(x, y float64) float64 {
	if x == y || math.IsNaN(x) && math.IsNaN(y) {
		return 0
	}
	return x - y
}
