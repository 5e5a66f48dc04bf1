package verify

import (
	"context"
	"fmt"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/reference"
)

// RuntimeResult says where the source under its own implementation and the converted checkpoint under
// the one that will run it part. That they do is a fact about them, and no failure.
type RuntimeResult struct {
	Runtime string `json:"runtime"` // "original", "transformers4" or "transformers5"
	Summary string `json:"summary"` // one sentence
	Reason  string `json:"reason,omitempty"`

	// Part says that they part within the tokens, First where (Share and Channel do not apply).
	Part  bool   `json:"part"`
	First *Place `json:"first,omitempty"`
	Pass  string `json:"pass,omitempty"` // of First: "" or "packed"

	// From is the position from which they part in a document that is long enough; -1 if they never do.
	From int `json:"from"`

	// Of logits, source against converted: those of the tokens from First on, row by row, where they part, or of
	// all where weights are not bit for bit the same. nil where no pass was needed.
	Metrics *Metrics `json:"metrics,omitempty"`
}

// CompareRuntime finds out where two models that should be the same part when each is run by its
// own implementation: the source by the original, the converted one by runtime. passes are tokens with
// their positions, or nil for none. Where the weights are proven to be the same, nothing is run
// for tokens that cannot differ.
func CompareRuntime(ctx context.Context, source, converted *Model, runtime reference.Semantics, passes []GoldenPass, proven bool) (*RuntimeResult, error) {
	r := &RuntimeResult{Runtime: runtime.String(), From: partFrom(&source.Config, source.Semantics(), &converted.Config, runtime)}
	reached := 0 // tokens of the longest document
	for i := range passes {
		p := &passes[i]
		for _, position := range p.Positions {
			reached = max(reached, int(position)+1)
		}
		if r.Part {
			continue
		}
		if token, why := firstApart(source, converted, runtime, p); token >= 0 {
			r.Part, r.Pass, r.Reason = true, p.Name, why
			r.First = &Place{Row: token / p.Length, Token: token % p.Length, Position: p.Positions[token]}
		}
	}
	if err := r.measure(ctx, source, converted, runtime, passes, proven); err != nil {
		return nil, err
	}
	r.summarise(source, reached)
	return r, nil
}

// partFrom returns the position of a document from which the models part; -1 if never.
func partFrom(a *convert.Config, as reference.Semantics, b *convert.Config, bs reference.Semantics) int {
	if zeroLogits(a, as) != zeroLogits(b, bs) {
		return 0
	}
	if !a.Has(convert.Attention) {
		return -1
	}
	x, y := keys(as, int(a.AttentionWindow)), keys(bs, int(b.AttentionWindow))
	switch {
	case x == y:
		return -1
	case x == 0 || y != 0 && y < x:
		return y
	}
	return x
}

// keys returns the most tokens that attention sees, 0 for all.
func keys(s reference.Semantics, window int) int {
	switch s {
	case reference.Transformers4:
		return 0
	case reference.Transformers5:
		return window
	}
	return window + 1
}

// zeroLogits reports whether all logits are zero: transformers divides by a soft cap of 0.
func zeroLogits(c *convert.Config, s reference.Semantics) bool {
	return c.LogitsSoftCap == 0 && s != reference.Original
}

// firstApart returns the first token of a pass that sees something else in the two models, counted
// over all rows, and what; -1 if none does.
func firstApart(source, converted *Model, runtime reference.Semantics, p *GoldenPass) (int, string) {
	if zeroLogits(&converted.Config, runtime) {
		return 0, "transformers divides by the soft cap of 0, and all its logits are zero"
	}
	a := reference.Sights(source.Semantics(), int(source.Config.AttentionWindow), p.Positions, p.Batch)
	b := reference.Sights(runtime, int(converted.Config.AttentionWindow), p.Positions, p.Batch)
	attention, recurrent := source.Config.Has(convert.Attention), source.Config.Has(convert.Recurrent)
	for column := range p.Length { // the earliest in any row
		for row := range p.Batch {
			t := row*p.Length + column
			switch {
			case attention && a[t].Keys != b[t].Keys:
				return t, fmt.Sprintf("attention sees %s there in the original, and %s under %s", countOf(a[t].Keys, "token"), countOf(b[t].Keys, "token"), runtime)
			case recurrent && a[t].Taps != b[t].Taps:
				return t, fmt.Sprintf("the convolution sees %d tokens before it in the original, and %d under %s: it is not cut at document boundaries", a[t].Taps, b[t].Taps, runtime)
			}
		}
	}
	return -1, ""
}

// measure runs both models where that can tell something.
func (r *RuntimeResult) measure(ctx context.Context, source, converted *Model, runtime reference.Semantics, passes []GoldenPass, proven bool) error {
	if proven && !r.Part {
		return nil
	}
	if source.Config.VocabSize != converted.Config.VocabSize || source.Config.Width != converted.Config.Width || len(source.Config.BlockTypes) != len(converted.Config.BlockTypes) {
		return nil
	}
	var m meter
	for i := range passes {
		p := &passes[i]
		if r.Part && p.Name != r.Pass {
			continue
		}
		from := 0
		if r.Part && proven {
			from = r.First.Token
		}
		if err := m.hold(ctx, source.Reference(source.Semantics(), reference.Arithmetic{}), converted.Reference(runtime, reference.Arithmetic{}), p, from); err != nil {
			return err
		}
	}
	if len(m.tokens) > 0 {
		metrics := m.metrics()
		r.Metrics = &metrics
	}
	return nil
}

// hold compares the logits of two models at the tokens of each row from one on.
func (m *meter) hold(ctx context.Context, source, converted *reference.Model, p *GoldenPass, from int) error {
	last := [2]*reference.Activations{}
	for i, model := range []*reference.Model{source, converted} {
		err := model.Run(ctx, reference.Pass{Tokens: p.Tokens, Positions: p.Positions, Batch: p.Batch, SkipLogits: true, Observe: func(o reference.Observation) error {
			if o.Site == reference.Hidden && o.Index == len(model.Config.BlockTypes) {
				a := o.Activations
				last[i] = &a
			}
			return nil
		}})
		if err != nil {
			return err
		}
	}
	step := max(1, logitsAtATime(source)/2)
	for row := range p.Batch {
		for first := from; first < p.Length; first += step {
			n := min(step, p.Length-first)
			var y [2]*reference.Activations
			for i, model := range []*reference.Model{source, converted} {
				err := model.Run(ctx, reference.Pass{Tokens: p.Tokens[:n], Batch: 1, First: len(model.Config.BlockTypes), Input: some(last[i], row*p.Length+first, n),
					Observe: func(o reference.Observation) error {
						if o.Site == reference.Logits {
							a := o.Activations
							y[i] = &a
						}
						return nil
					}})
				if err != nil {
					return err
				}
			}
			for t := range n {
				add(m, row, first+t, rowOf(y[1], t).Float32, rowOf(y[0], t).Float32)
			}
		}
	}
	return nil
}

func (r *RuntimeResult) summarise(source *Model, reached int) {
	switch {
	case r.Part:
		in := ""
		if r.Pass != "" {
			in = " of the " + r.Pass + " rows"
		}
		r.Summary = fmt.Sprintf("%s parts from the original at token %d of row %d%s (position %d): %s", r.Runtime, r.First.Token, r.First.Row, in, r.First.Position, r.Reason)
	case r.From < 0:
		r.Summary = fmt.Sprintf("%s computes what the original does at every position of a document", r.Runtime)
	case reached == 0:
		r.Summary = fmt.Sprintf("%s parts from the original at position %d of a document", r.Runtime, r.From)
	default:
		r.Summary = fmt.Sprintf("the window of %d was not reached: %s parts from the original at position %d, and the longest document has %s",
			source.Config.AttentionWindow, r.Runtime, r.From, countOf(reached, "token"))
	}
}
