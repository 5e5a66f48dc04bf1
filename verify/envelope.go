package verify

import (
	"fmt"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/reference"
)

// Envelope is what rounding may do, as measured. No number of it is picked by hand but the rate of
// false alarms, FalseAlarms.
//
// The model runs several times in the fixture's type of number, each time with other roundings and
// another order of sums, all as legal as what the fixture's implementation did (Runs). At every
// site (the output of a block, say) and token this gives the error of each run against float64: the
// root mean square over the channels, and the largest, both over the root mean square of the
// channels themselves. What an error usually is, its scale, is the root mean square of it over all tokens
// and runs, averaged (in squares) with that of the runs at the token itself: some tokens round worse
// than others in whatever order.
//
// How far above its scale an error may be is read off the runs too. Each run in turn is taken for a
// fixture, and its errors are divided by the scales that the others give. An error is a sum of very many
// small roundings, so that the tail of its square falls off exponentially. The mean excess of the highest
// twentieth of the squared quotients, of all sites and tokens, measures how fast; continued to the
// quantile that, for as many comparisons as the fixture has and four statistics, leaves FalseAlarms
// in all (by Bonferroni's inequality, so whatever depends on whatever), it gives the factor.
// ENVELOPE.md has the false alarms counted.
type Envelope struct {
	Runs        []string `json:"runs"`         // what they were
	FalseAlarms Number   `json:"false_alarms"` // the rate that the factors are for, per fixture
	Comparisons int      `json:"comparisons"`  // sites times tokens of the fixture

	// The factors over a site's scale, for the root mean square of an error and the largest, of the model
	// run from the tokens on, and of blocks that were fed the fixture's input.
	Chain Factors `json:"chain"`
	Fed   Factors `json:"fed"`
}

// Factors are allowances over the scale of a site.
type Factors struct {
	RMS Number `json:"rms"`
	Max Number `json:"max"`
}

// FalseAlarms is the rate at which a faithful fixture may fail, per fixture: the one number that is chosen.
const FalseAlarms = 1e-4

// Bounds of the number of runs: enough to see what roundings and orders do, and as many as make
// good statistics where they cost little.
const (
	fewestRuns  = 3
	mostRuns    = 12
	cheapEnough = 1 << 40 // multiplications in all runs together
)

// legalRuns returns arithmetics that compute as legally in a precision as an implementation might:
// plain first, in bfloat16 with and without the roundings within chains of operations, and all the
// sums in orders of their own.
func legalRuns(p reference.Precision, tokens int, parameters int64) []reference.Arithmetic {
	n := int(min(mostRuns, max(fewestRuns, cheapEnough/max(1, int64(tokens)*parameters))))
	runs := make([]reference.Arithmetic, n)
	for i := range runs {
		runs[i] = reference.Arithmetic{Precision: p, Order: uint64(i), Fused: p == reference.BFloat16 && i%2 == 1}
	}
	return runs
}

// describeRun names an arithmetic as Envelope.Runs has it.
func describeRun(a reference.Arithmetic) string {
	s := a.Precision.String()
	if a.Fused {
		s += ", chains rounded once"
	}
	if a.Order != 0 {
		s += fmt.Sprintf(", order %d", a.Order)
	}
	return s
}

// site gathers the errors at one place of the model.
type site struct {
	name string
	fed  bool
	// Of every token, [batch of all passes, length]: the fixture's (nil where it has none) and those of
	// the runs.
	fixture []*TokenError
	decode  []*TokenError // of logits: the fixture's decoding, at the same tokens
	runs    [][]TokenError

	exact    bool      // held bit for bit instead
	rms, max []float64 // scales, by token
}

// scales returns what errors usually are at each token, by all runs but one (-1: by all).
func (s *site) scales(without int) (rms, max []float64) {
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
		rms[t] = math.Sqrt((rms[t] + allRMS/float64(tokens)) / (2 * n))
		max[t] = math.Sqrt((max[t] + allMax/float64(tokens)) / (2 * n))
	}
	return rms, max
}

// newEnvelope settles the scales of sites, and the factors.
func newEnvelope(runs []reference.Arithmetic, sites []*site) *Envelope {
	e := &Envelope{FalseAlarms: FalseAlarms}
	for _, r := range runs {
		e.Runs = append(e.Runs, describeRun(r))
	}
	for _, s := range sites {
		s.rms, s.max = s.scales(-1)
		for i := range s.fixture {
			e.Comparisons += b2i(s.fixture[i] != nil)
		}
		for i := range s.decode {
			e.Comparisons += b2i(s.decode[i] != nil)
		}
	}
	e.Chain, e.Fed = e.factors(sites, false), e.factors(sites, true)
	return e
}

func (e *Envelope) factors(sites []*site, fed bool) Factors {
	var rms, max []float64 // squares of quotients
	for _, s := range sites {
		if s.fed != fed || s.exact {
			continue
		}
		for k, run := range s.runs {
			scaleRMS, scaleMax := s.scales(k)
			for t, e := range run {
				rms = appendSquare(rms, e.RMS, scaleRMS[t])
				max = appendSquare(max, e.Max, scaleMax[t])
			}
		}
	}
	// Each of the four statistics has its share of the alarms, and so has each comparison.
	share := FalseAlarms / 4 / math.Max(1, float64(e.Comparisons))
	return Factors{RMS: Number(quantile(rms, share)), Max: Number(quantile(max, share))}
}

func appendSquare(squares []float64, x, scale float64) []float64 {
	if q := x / scale; q > 0 && !math.IsInf(q, 0) {
		return append(squares, q*q)
	}
	return squares // nothing to round there, or too large for the type of number
}

// tailShare is the share of the largest values that the tail is fitted to.
const tailShare = 0.05

// quantile returns the root of what one of the squares exceeds with a probability that may be far
// smaller than one over their number: their tail is continued as an exponential one.
func quantile(squares []float64, probability float64) float64 {
	if len(squares) < 2 {
		return 1
	}
	slices.Sort(squares)
	m := min(len(squares)-1, max(10, int(tailShare*float64(len(squares)))))
	from := squares[len(squares)-1-m]
	var excess float64
	for _, x := range squares[len(squares)-m:] {
		excess += x - from
	}
	excess /= float64(m)
	reach := math.Log(float64(m) / float64(len(squares)) / probability)
	return math.Sqrt(from + excess*max(reach, 0))
}
