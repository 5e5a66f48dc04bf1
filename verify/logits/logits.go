// Package logits compares what a model computes with a golden fixture: hidden states and logits, in float64, judged by the
// errors that legal rounding causes (Envelope). Where something is outside, it finds the block, the half of it, the token,
// the channel and, if it can be told, the cause.
//
// Data flows one way: the runs measure errors, the judgement compares them with the envelope, the localiser explains what
// is outside.
package logits

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Options say how a model is compared with a fixture.
type Options struct {
	Semantics *reference.Semantics // nil for those of the fixture's implementation
	Other     *runtime.Model       // another checkpoint that should be the same model, whose tensors may explain a fault; or nil
	Given     model.Settings       // of those of the model that the caller gave, because the checkpoint does not state them
	Digest    digest.Algorithms    // of Result.Digests; 0 for none
}

// Compare runs a model on the tokens of a fixture and compares every result that was recorded with float64, within the
// envelope that the model's own runs measure. For results outside the envelope, it says where the fault is.
//
// All runs go through the model together, block by block, and only one block's output of each is kept, so that memory does
// not grow with the number of blocks.
func Compare(ctx context.Context, m *runtime.Model, f *golden.Fixture, o Options) (*Result, error) {
	in := newInput(m, f, o.Semantics)
	r := in.result()
	if sizes := Mismatch(&m.Config, f); sizes != "" {
		r.Summary = "the fixture is of another model: " + sizes
		return r, nil
	}
	rivals := rivals(in, &o)
	var weights *model.DigestedWeights
	if o.Digest != 0 {
		in.float64, weights = m.Digested(in.semantics, in.float64.Arithmetic, o.Digest)
	}
	measured, err := measure(ctx, in, rivals)
	if err != nil {
		return nil, err
	}
	if weights != nil {
		if r.Digests, err = weights.Sums(ctx); err != nil {
			return nil, err
		}
	}
	j := judge(in, measured)
	r.OK, r.Envelope, r.Sites, r.Metrics = j.ok, j.envelope, j.results, measured.metrics()
	if r.OK {
		r.judgeRivals(rivals)
		if s := untoldWindow(in, &o); s != nil && r.OK {
			r.Untold = append(r.Untold, s)
		}
	} else {
		if r.Faults, err = localise(ctx, in, measured, j, &o); err != nil {
			return nil, err
		}
	}
	r.Summary = r.summary(len(in.tokens))
	return r, nil
}

// BytesRead returns about how many bytes of weights Compare reads, not counting the search for causes: those of the blocks
// once for all runs that go through them together, those of the logits once for each run.
func BytesRead(m *runtime.Model, f *golden.Fixture) int64 {
	in := newInput(m, f, nil)
	runs, alone, times := 1+len(in.legalRuns()), len(rivals(in, &Options{})), 1
	if in.fed {
		times = 2
	}
	groups := (times*runs + in.together() - 1) / in.together()
	if alone > 0 { // rivals are between the runs from the tokens on and those that are fed
		groups = times * ((runs+in.together()-1)/in.together() + alone)
	}
	runs = times * (runs + alone)
	var total int64
	for _, named := range m.Found.ParameterTensors(&m.Config) {
		readings := groups
		if shape := named.Tensor.Shape; len(shape) == 2 && shape[0] == m.Config.VocabSize {
			readings = runs
		}
		total += named.Tensor.Bytes() * int64(readings)
	}
	return total
}

// summary describes the result in one line.
func (r *Result) summary(tokens int) string {
	if r.OK {
		return fmt.Sprintf("%s of %s %s within rounding over %s (worst: %.0f%% of the limit)",
			text.Count(len(r.Sites), "output"), r.Implementation, verb(len(r.Sites), "matches", "match"), text.Count(tokens, "token"), 100*float64(r.Worst()))
	}
	var parts []string
	for _, f := range r.Fold(r.Faults, false) {
		parts = append(parts, f.Detail)
	}
	return strings.Join(parts, "; ")
}

// Headline describes the result in one line that leaves the faults out.
func (r *Result) Headline() string {
	if r.OK || len(r.Faults) == 0 {
		return r.Summary
	}
	outside := r.Outside()
	if outside == 0 {
		return fmt.Sprintf("%s of %s match within rounding, but together they show other settings", text.Count(len(r.Sites), "output"), r.Implementation)
	}
	say := fmt.Sprintf("%d of %s of %s %s by more than rounding", outside, text.Count(len(r.Sites), "output"), r.Implementation, verb(outside, "differs", "differ"))
	if r.Beside != "" {
		say += "; " + r.Beside
	}
	return say
}

// Worst returns the largest share of the envelope.
func (r *Result) Worst() Number {
	worst := Number(0)
	for _, s := range r.Sites {
		if !s.Exact {
			worst = Number(math.Max(float64(worst), float64(s.Worst.Share)))
		}
	}
	return worst
}

func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
