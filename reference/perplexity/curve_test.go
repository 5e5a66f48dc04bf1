package perplexity

import (
	"math"
	"testing"

	"github.com/griffin-ckpt/griffin/reference"
)

// TestCurve: spans are of one width, are few, and together have every token and every sum.
func TestCurve(t *testing.T) {
	for _, length := range []int{1, 5, maxSpans, maxSpans + 1, 1000, 100_000} {
		var c curve
		want := 0.0
		for row := range 2 {
			for position := 1; position <= length>>row; position++ {
				v := 1 / float64(position)
				want += v
				c.add(position, &prediction{nll: [2]float64{v, 2 * v}, kl: 3 * v})
			}
		}
		spans := c.spans(2)
		tokens, nll, kl, width := 0, 0.0, 0.0, spans[0].To-spans[0].From
		for i, s := range spans {
			tokens += s.Predicted
			nll += s.NLL[1] * float64(s.Predicted)
			kl += s.KL * float64(s.Predicted)
			if s.To-s.From != width || i > 0 && s.From < spans[i-1].To {
				t.Errorf("length %d: the span %d is from %d to %d", length, i, s.From, s.To)
			}
		}
		if tokens != length+length/2 || math.Abs(nll-2*want) > 1e-9*want || math.Abs(kl-3*want) > 1e-9*want {
			t.Errorf("length %d: %d tokens, sums %g and %g, want %g", length, tokens, nll, kl, want)
		}
		if len(spans) > maxSpans || length >= maxSpans && len(spans) < maxSpans/4 {
			t.Errorf("length %d: %d spans", length, len(spans))
		}
	}
}

// What is not finite is said to be of one of two models.
func TestNotFinite(t *testing.T) {
	two := &Scorer{models: make([]*reference.Model, 2)}
	for want, nll := range [][2]float64{{math.NaN(), 1}, {1, math.Inf(1)}} {
		if got := two.notFinite(&prediction{nll: nll}); got.Model != want {
			t.Errorf("%v: model %d", nll, got.Model)
		}
	}
	if got := (&Scorer{models: two.models[:1]}).notFinite(&prediction{nll: [2]float64{math.NaN()}}); got.Model != 0 {
		t.Errorf("one model: %d", got.Model)
	}
}
