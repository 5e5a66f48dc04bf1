package generate

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// Sampling says how the next token is chosen. The zero value is greedy: the token with the highest logit, and of
// equal ones the first.
type Sampling struct {
	// Temperature divides the logits before tokens are drawn with their probabilities; 0 is greedy.
	Temperature float64
	// TopK limits the choice to the most likely tokens; 0 is no limit.
	TopK int
	// TopP limits the choice further to the fewest of the most likely tokens that have together at least this
	// probability; 0 and 1 are no limit.
	TopP float64
	// Seed selects the random numbers. The same seed gives the same tokens on every machine.
	Seed uint64
}

// Validate returns an error if a field is out of its range.
func (s Sampling) Validate() error {
	switch {
	case !(s.Temperature >= 0) || math.IsInf(s.Temperature, 0):
		return fmt.Errorf("temperature is %g, want 0 or more", s.Temperature)
	case s.TopK < 0:
		return fmt.Errorf("top k is %d, want 1 or more, or 0 for all", s.TopK)
	case !(s.TopP >= 0 && s.TopP <= 1):
		return fmt.Errorf("top p is %g, want more than 0 and at most 1", s.TopP)
	}
	return nil
}

// ErrNotFinite is the cause of the *tensor.FormatError that is returned if logits are NaN or infinite, so that no token
// can be chosen: the weights are damaged, or too large for the arithmetic.
var ErrNotFinite = errors.New("logits are not finite")

// sampler chooses tokens.
type sampler struct {
	Sampling
	random     *rand.Rand
	candidates []candidate
}

// candidate is a token that may be chosen.
type candidate struct {
	token int32
	logit float64
}

func newSampler(s Sampling) (*sampler, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return &sampler{Sampling: s, random: rand.New(rand.NewPCG(s.Seed, 0))}, nil
}

// next chooses a token by the logits of one token.
func (s *sampler) next(logits *reference.Activations) (int32, error) {
	best, err := highest(logits.Float32)
	if logits.Float64 != nil {
		best, err = highest(logits.Float64)
	}
	if err != nil {
		return 0, err
	}
	if s.Temperature == 0 {
		return int32(best), nil
	}
	s.collect(logits)
	highest, total := logits.At(best), 0.0
	weights := make([]float64, len(s.candidates))
	for i, c := range s.candidates {
		weights[i] = math.Exp((c.logit - highest) / s.Temperature)
		total += weights[i]
	}
	if s.TopP > 0 && s.TopP < 1 {
		weights, total = nucleus(weights, s.TopP*total)
	}
	return s.candidates[draw(weights, s.random.Float64()*total)].token, nil
}

// highest returns the index of the highest logit, the lowest index if several are equal. Logits that are not finite are an error.
func highest[T float32 | float64](logits []T) (int, error) {
	best := 0
	for i, x := range logits {
		if x-x != 0 { // NaN, or infinite
			return 0, tensor.Bad("%w: that of token %d is %g", ErrNotFinite, i, x)
		}
		if x > logits[best] {
			best = i
		}
	}
	return best, nil
}

// collect lists the tokens that may be chosen, with the most likely first if their order matters.
func (s *sampler) collect(logits *reference.Activations) {
	s.candidates = s.candidates[:0]
	for i := range logits.Len() {
		s.candidates = append(s.candidates, candidate{int32(i), logits.At(i)})
	}
	if s.TopK > 0 || s.TopP > 0 && s.TopP < 1 {
		slices.SortFunc(s.candidates, func(a, b candidate) int {
			return cmp.Or(cmp.Compare(b.logit, a.logit), cmp.Compare(a.token, b.token))
		})
	}
	if s.TopK > 0 {
		s.candidates = s.candidates[:min(s.TopK, len(s.candidates))]
	}
}

// nucleus returns the first weights that together are at least enough, and their sum.
func nucleus(weights []float64, enough float64) ([]float64, float64) {
	total := 0.0
	for i, w := range weights {
		if total += w; total >= enough {
			return weights[:i+1], total
		}
	}
	return weights, total
}

// draw returns the index of the weight that the point x of their sum falls into.
func draw(weights []float64, x float64) int {
	for i, w := range weights {
		if x -= w; x < 0 {
			return i
		}
	}
	for i := len(weights) - 1; i > 0; i-- { // x is the sum itself, by rounding
		if weights[i] > 0 {
			return i
		}
	}
	return 0
}
