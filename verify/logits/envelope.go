package logits

import (
	"fmt"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/reference"
)

// Envelope is the error that rounding may cause, as measured. Only the rate of false alarms, FalseAlarms, is chosen.
//
// The model runs several times in the fixture's precision (in float32 for one in float64), each time with other roundings and
// another order of sums, all as legal as what the fixture's implementation did (Runs). At every site (the output of a block,
// say) and token this gives the error of each run against float64: the root mean square over the channels, and the largest, both divided by
// the root mean square of the channels themselves. The scale of an error at a token is the root mean square of it over the
// runs, because some tokens round worse than others in any order; it is at least what tokenScale takes from the other tokens.
//
// How far above its scale an error may be is measured from the runs too. Each run in turn takes the place of the fixture,
// and its errors are divided by the scales that the others give. The errors of a token can hang on the rounding of one
// number, which rounds differently in one run of a hundred, say, and its scale is known from few runs only. So the tail of
// the quotients falls off more slowly than that of a normal distribution, and a little more slowly than an exponential one. It
// is continued as a generalised Pareto distribution (quantile): the mean excess of the highest quotients, of all sites and
// tokens, measures how fast it falls off, and its shape allows for how uncertain that mean is. It is continued to the quantile
// that leaves FalseAlarms in all, for as many comparisons as the fixture has and four statistics (by Bonferroni's inequality,
// so whatever the dependence). That quantile is the factor. ENVELOPE.md counts the false alarms.
type Envelope struct {
	Runs        []string `json:"runs"`         // what they were
	FalseAlarms Number   `json:"false_alarms"` // the rate that the factors are for, per fixture
	Comparisons int      `json:"comparisons"`  // sites times tokens of the fixture

	// The factors above the scale of a site, for the model as run from the tokens on (Chain), and for blocks that were
	// given the fixture's own input (Fed).
	Chain Factors `json:"chain"`
	Fed   Factors `json:"fed"`
}

// Factors are what is allowed above the scale of a site.
type Factors struct {
	RMS Number `json:"rms"` // of the root mean square of an error
	Max Number `json:"max"` // of the largest error
}

// FalseAlarms is the rate at which fixtures of the same model may fail.
const FalseAlarms = 1e-4

// The number of legal runs: enough to see the effect of rounding and order, and more where runs are cheap, for better
// statistics.
const (
	minRuns   = 3
	maxRuns   = 12
	minErrors = 48      // at a site, of few tokens: then there are more runs than maxRuns
	runBudget = 1 << 40 // multiplications of all runs together
)

// legalRuns returns arithmetics that an implementation may legally use in a precision: plain first, in bfloat16 with and
// without rounding within chains of operations, and each with another order of sums.
func legalRuns(p reference.Precision, tokens int, parameters int64) []reference.Arithmetic {
	most := int64(max(maxRuns, minErrors/max(1, tokens)))
	n := int(min(most, max(minRuns, runBudget/max(1, int64(tokens)*parameters))))
	runs := make([]reference.Arithmetic, n)
	for i := range runs {
		runs[i] = reference.Arithmetic{Precision: p, Order: uint64(i), Fused: p == reference.BFloat16 && i%2 == 1}
	}
	return runs
}

// describeRun names an arithmetic for Envelope.Runs.
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

// newEnvelope measures the factors.
func newEnvelope(m *measurements) *Envelope {
	e := &Envelope{FalseAlarms: FalseAlarms}
	for _, a := range m.arithmetics {
		e.Runs = append(e.Runs, describeRun(a))
	}
	for _, s := range m.sites {
		for _, errors := range [][]*TokenError{s.fixture, s.decode} {
			for _, x := range errors {
				if x != nil {
					e.Comparisons++
				}
			}
		}
	}
	e.Chain, e.Fed = e.factors(m.sites, false), e.factors(m.sites, true)
	return e
}

// allowed returns what the RMS and the Max of an error at a site and token may be.
func (e *Envelope) allowed(s *siteErrors, token int) [2]float64 {
	f := e.Chain
	if s.fed {
		f = e.Fed
	}
	least := s.least[token]
	return [2]float64{math.Max(float64(f.RMS)*s.rmsScale[token], least[0]), math.Max(float64(f.Max)*s.maxScale[token], least[1])}
}

func (e *Envelope) factors(sites []*siteErrors, fed bool) Factors {
	var rms, max []float64 // quotients
	for _, s := range sites {
		if s.fed != fed || s.exact {
			continue
		}
		for k, run := range s.runs {
			rmsScale, maxScale := s.scales(k)
			for t, e := range run {
				rms = appendQuotient(rms, e.RMS, rmsScale[t])
				max = appendQuotient(max, e.Max, maxScale[t])
			}
		}
	}
	// The false alarms are shared equally among the four statistics and the comparisons.
	rate := FalseAlarms / 4 / math.Max(1, float64(e.Comparisons))
	return Factors{RMS: Number(quantile(rms, rate)), Max: Number(quantile(max, rate))}
}

// appendQuotient leaves out quotients of errors that are 0 or too large for the type of number.
func appendQuotient(quotients []float64, x, scale float64) []float64 {
	if q := x / scale; q > 0 && !math.IsInf(q, 0) {
		return append(quotients, q)
	}
	return quotients
}

// tailShares are the shares of the largest values that the tail is fitted to. The few tokens that round worst hardly show
// among the highest twentieth, and the largest errors are theirs. So the fit with the highest quantile counts.
var tailShares = []float64{0.05, 0.01, 0.002}

// minTail is the number of values that a fit needs. The first fit of fewer than 1,000 quotients takes a quarter of them, if
// those are fewer.
const minTail = 50

// The shape of the tail, as 5,000 legal runs of four models in float32 measured it (seeds from 100000 on; make false-alarms
// judges others). The quotients of all runs of a model together fall off like a generalised Pareto distribution of shape 0.01
// to 0.06. The mean excess of one fixture's tail varies as if half of its values were independent: an error in one half of a
// block is also one of the block's output, and of the run from the tokens on.
const (
	tailShape      = 0.03
	tailDependence = 2 // values to an independent one
)

// quantile returns the value that a quotient exceeds with the given probability, which may be far smaller than one over
// their number: their tail is continued.
func quantile(quotients []float64, probability float64) float64 {
	if len(quotients) < 2 {
		return 1
	}
	slices.Sort(quotients)
	var highest float64
	for i, share := range tailShares {
		m := int(share * float64(len(quotients)))
		if m < minTail {
			if i > 0 {
				break
			}
			m = min(minTail, (len(quotients)+3)/4)
		}
		highest = max(highest, tailQuantile(quotients, m, probability))
	}
	return highest
}

// tailQuantile continues the tail of the m largest of sorted values, by their mean excess over the next one. If that mean
// were exact, they would follow a generalised Pareto distribution of shape tailShape. As the mean of n independent values of an
// exponential distribution, it makes the predicted tail one of shape 1/n; the shapes are added.
func tailQuantile(sorted []float64, m int, probability float64) float64 {
	from := sorted[len(sorted)-1-m]
	var excess float64
	for _, x := range sorted[len(sorted)-m:] {
		excess += x - from
	}
	excess /= float64(m)
	shape := tailShape + tailDependence/float64(max(m, minTail))
	reach := math.Log(float64(m) / float64(len(sorted)) / probability)
	return from + excess*(1-tailShape)*math.Expm1(shape*max(reach, 0))/shape
}
