package logits

import (
	"context"

	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/forward"
)

// Distance compares the logits of two models with the same vocabulary at the tokens of passes, from token first of each row
// on. It returns nil if there are no such tokens.
func Distance(ctx context.Context, a, b *reference.Model, passes []golden.Pass, first int) (*Metrics, error) {
	var m meter
	for i := range passes {
		if err := m.compareRuns(ctx, a, b, &passes[i], first); err != nil {
			return nil, err
		}
	}
	if len(m.tokens) == 0 {
		return nil, nil
	}
	metrics := m.metrics()
	return &metrics, nil
}

func (m *meter) compareRuns(ctx context.Context, a, b *reference.Model, p *golden.Pass, from int) error {
	models := [2]*reference.Model{a, b}
	var last [2]*reference.Activations
	for i, model := range models {
		var err error
		if last[i], err = forward.LastBlock(ctx, model, reference.Pass{Tokens: p.Tokens, Positions: p.Positions, Batch: p.Batch}); err != nil {
			return err
		}
	}
	step := max(1, forward.LogitsAtATime(a)/2)
	for row := range p.Batch {
		for first := from; first < p.Length; first += step {
			n := min(step, p.Length-first)
			var logits [2]*reference.Activations
			for i, model := range models {
				err := forward.Head(ctx, model, p.Tokens[:n], forward.Tokens(last[i], row*p.Length+first, n), func(o reference.Observation) error {
					if o.Site == reference.Logits {
						logits[i] = &o.Activations
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			for t := range n {
				addLogits(m, row, first+t, tokenOf(logits[1], t).Float32, tokenOf(logits[0], t).Float32)
			}
		}
	}
	return nil
}
