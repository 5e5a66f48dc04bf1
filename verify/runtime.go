package verify

import (
	"context"
	"fmt"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/forward"
)

// RuntimeResult says where the source and the converted checkpoint part when each is run by what runs its
// layout: the original implementation, or for a Hugging Face directory a runtime. That they do is a fact about
// implementations, and no failure.
type RuntimeResult struct {
	Runtime string `json:"runtime"` // "original", "transformers4" or "transformers5": what runs the Hugging Face side
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

	Facts []RuntimeFact `json:"facts,omitempty"` // what each implementation does with the Hugging Face side
}

// side is one side of a comparison of runtimes: a model and what runs it.
type side struct {
	*Model
	as        reference.Semantics
	name, way string // "the original", "in the original"
}

// under returns the configuration that the side computes with.
func (s *side) under() *convert.Config { return s.ConfigUnder(s.as) }

// sides returns what runs each of two models; ok is false where both are run by the original.
func sides(source, converted *Model, runtime reference.Semantics) (a, b side, ok bool) {
	for _, s := range []struct {
		to *side
		m  *Model
	}{{&a, source}, {&b, converted}} {
		*s.to = side{s.m, reference.Original, "the original", "in the original"}
		if s.m.Found.Layout == convert.HuggingFace {
			*s.to, ok = side{s.m, runtime, runtime.String(), "under " + runtime.String()}, true
		}
	}
	if ok && a.Found.Layout == b.Found.Layout {
		a.name, a.way, b.name, b.way = "its source", "in the source", "the conversion", "in the conversion"
	}
	return a, b, ok
}

// CompareRuntime finds out where two models that should be the same part when each is run by what runs its
// layout; runtime is what runs a Hugging Face directory. passes are tokens with their positions, or nil for
// none. Where the weights are proven to be the same, nothing is run for tokens that cannot differ. It returns
// nil where both are run by the original.
func CompareRuntime(ctx context.Context, source, converted *Model, runtime reference.Semantics, passes []golden.Pass, proven bool) (*RuntimeResult, error) {
	a, b, ok := sides(source, converted, runtime)
	if !ok {
		return nil, nil
	}
	r := &RuntimeResult{Runtime: runtime.String(), From: partFrom(a.under(), a.as, b.under(), b.as)}
	for i := range passes {
		p := &passes[i]
		if r.Part {
			break
		}
		if token, why := firstApart(&a, &b, p); token >= 0 {
			r.Part, r.Pass, r.Reason = true, p.Name, why
			r.First = &Place{Row: token / p.Length, Token: token % p.Length, Position: p.Positions[token]}
		}
	}
	if err := r.measure(ctx, &a, &b, passes, proven); err != nil {
		return nil, err
	}
	r.summarise(&a, &b, longest(passes))
	written := b
	if b.Found.Layout != convert.HuggingFace {
		written = a
	}
	r.Facts = written.Facts()
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

// firstApart returns the first token of a pass that sees something else on the two sides, counted
// over all rows, and what; -1 if none does.
func firstApart(a, b *side, p *golden.Pass) (int, string) {
	if zeroLogits(a.under(), a.as) != zeroLogits(b.under(), b.as) {
		return 0, "transformers divides by the soft cap of 0, and all its logits are zero"
	}
	x := reference.TokenMasks(a.as, int(a.under().AttentionWindow), p.Positions, p.Batch)
	y := reference.TokenMasks(b.as, int(b.under().AttentionWindow), p.Positions, p.Batch)
	attention, recurrent := a.Config.Has(convert.Attention), a.Config.Has(convert.Recurrent)
	for column := range p.Length { // the earliest in any row
		for row := range p.Batch {
			t := row*p.Length + column
			switch {
			case attention && x[t].Keys != y[t].Keys:
				return t, fmt.Sprintf("attention sees %s there %s, and %s %s", countOf(x[t].Keys, "token"), a.way, countOf(y[t].Keys, "token"), b.way)
			case recurrent && x[t].Taps != y[t].Taps:
				return t, fmt.Sprintf("the convolution sees %d tokens before it %s, and %d %s: transformers does not cut it at document boundaries", x[t].Taps, a.way, y[t].Taps, b.way)
			}
		}
	}
	return -1, ""
}

// measure runs both models where that can tell something.
func (r *RuntimeResult) measure(ctx context.Context, a, b *side, passes []golden.Pass, proven bool) error {
	if proven && !r.Part {
		return nil
	}
	if a.Config.VocabSize != b.Config.VocabSize || a.Config.Width != b.Config.Width || len(a.Config.BlockTypes) != len(b.Config.BlockTypes) {
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
		if err := m.hold(ctx, a.Reference(a.as, reference.Arithmetic{}), b.Reference(b.as, reference.Arithmetic{}), p, from); err != nil {
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
func (m *meter) hold(ctx context.Context, source, converted *reference.Model, p *golden.Pass, from int) error {
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
	step := max(1, forward.LogitsAtATime(source)/2)
	for row := range p.Batch {
		for first := from; first < p.Length; first += step {
			n := min(step, p.Length-first)
			var y [2]*reference.Activations
			for i, model := range []*reference.Model{source, converted} {
				err := model.Run(ctx, reference.Pass{Tokens: p.Tokens[:n], Batch: 1, First: len(model.Config.BlockTypes), Input: forward.Tokens(last[i], row*p.Length+first, n),
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

func (r *RuntimeResult) summarise(a, b *side, reached int) {
	who, what, under := b.name, a.name, ""
	if a.Found.Layout == b.Found.Layout {
		under = "under " + r.Runtime + " "
	}
	switch {
	case r.Part:
		in := ""
		if r.Pass != "" {
			in = " of the " + r.Pass + " rows"
		}
		r.Summary = fmt.Sprintf("%s%s parts from %s at token %d of row %d%s (position %d): %s", under, who, what, r.First.Token, r.First.Row, in, r.First.Position, r.Reason)
		if r.From < 0 {
			r.Summary += "; of a document alone it computes the same at every position"
		}
	case r.From < 0:
		r.Summary = fmt.Sprintf("%s%s computes what %s does at every position of a document", under, who, what)
	case reached == 0:
		r.Summary = fmt.Sprintf("%s%s parts from %s at position %d of a document", under, who, what, r.From)
	default:
		r.Summary = fmt.Sprintf("%sthe window of %d was not reached: %s parts from %s at position %d, and the longest document has %s",
			under, a.Original.AttentionWindow, who, what, r.From, countOf(reached, "token"))
	}
}
