// Package reference is the forward pass of the Griffin family (De et al., "Griffin: Mixing Gated
// Linear Recurrences with Local Attention for Efficient Language Models", arXiv 2402.19427),
// written to be read beside the paper: one file a layer, with its equations.
//
// Its weights come through the interface Weights, as they are stored and piece by piece, so that a
// model needs little more memory than its activations. It follows any of the published
// implementations where they part (Semantics), computes in float32, in float64 as a yardstick, or
// in bfloat16 as the original does (Arithmetic), and shows every intermediate result that the
// golden fixtures hold (Observation).
package reference

import (
	"context"
	"fmt"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// Model is a configuration with its weights, and how to compute.
type Model struct {
	Config     Config
	Weights    Weights
	Semantics  Semantics
	Arithmetic Arithmetic
	Threads    int // goroutines that compute; 0 for one a core
}

// Pass is one run of tokens through the model.
type Pass struct {
	Tokens    []int32 // [Batch, length]
	Positions []int32 // [Batch, length]; nil to count on from the state, or from 0. 0 starts a document
	Batch     int     // rows

	// State carries rows on from pass to pass: several passes over pieces of the tokens give the same
	// bits as one over all of them. nil starts at the beginning and keeps nothing.
	State *State

	// A pass over some of the blocks: from Input, the output of block First-1 (or nil: the embeddings,
	// where First is 0), up to but not including block End (0: all of them, final norm and logits). It
	// takes no State.
	First, End int
	Input      *Activations

	SkipLogits bool // ends the pass after the final norm

	// Observe is called with every intermediate result, in order. An error ends the pass.
	Observe func(Observation) error
}

// pass is what the layers need to know of a Pass.
type pass struct {
	batch, length int
	sight         sight
	before        []int // tokens that each row has seen before
}

func (p *pass) tokens() int { return p.batch * p.length }

// NewState returns the state of a batch of rows that have seen nothing yet.
func (m *Model) NewState(batch int) *State {
	s := &State{rows: make([]row, batch)}
	reach := m.Semantics.reach(m.Config.AttentionWindow)
	if m.Arithmetic.Precision == Float64 {
		s.float64 = newBlockStates[float64](&m.Config, batch, reach)
	} else {
		s.float32 = newBlockStates[float32](&m.Config, batch, reach)
	}
	return s
}

// Run runs a pass. Results are given to p.Observe.
func (m *Model) Run(ctx context.Context, p Pass) error {
	if err := m.Config.Validate(); err != nil {
		return err
	}
	if err := m.check(&p); err != nil {
		return err
	}
	if p.State == nil {
		p.State = m.NewState(p.Batch)
	}
	if m.Arithmetic.Precision == Float64 {
		return run[float64](ctx, m, &p, p.State.float64)
	}
	return run[float32](ctx, m, &p, p.State.float32)
}

// check reports a pass that does not fit the model, and fills in what was left out.
func (m *Model) check(p *Pass) error {
	if p.Batch < 1 || len(p.Tokens) == 0 || len(p.Tokens)%p.Batch != 0 {
		return fmt.Errorf("%d tokens do not make %d rows", len(p.Tokens), p.Batch)
	}
	for i, token := range p.Tokens {
		if token < 0 || int(token) >= m.Config.VocabSize {
			return fmt.Errorf("token %d is %d, outside the vocabulary of %d", i, token, m.Config.VocabSize)
		}
	}
	if err := m.checkPart(p); err != nil {
		return err
	}
	if p.Positions == nil {
		p.Positions = p.following()
	}
	if len(p.Positions) != len(p.Tokens) {
		return fmt.Errorf("%d positions for %d tokens", len(p.Positions), len(p.Tokens))
	}
	for i, position := range p.Positions {
		if position < 0 {
			return fmt.Errorf("position %d is %d", i, position)
		}
	}
	return nil
}

// checkPart reports blocks, an input or a state that do not fit the model or each other.
func (m *Model) checkPart(p *Pass) error {
	blocks := len(m.Config.BlockTypes)
	if p.First < 0 || p.First > blocks || p.End < 0 || p.End > blocks || p.End > 0 && p.End < p.First {
		return fmt.Errorf("blocks %d to %d of %d", p.First, p.End, blocks)
	}
	if p.First > 0 && p.Input == nil {
		return fmt.Errorf("a pass from block %d on needs its input", p.First)
	}
	if p.Input != nil && p.Input.Len() != len(p.Tokens)*m.Config.Width {
		return fmt.Errorf("input of %d elements, want %d tokens of width %d", p.Input.Len(), len(p.Tokens), m.Config.Width)
	}
	if s := p.State; s != nil {
		kept := len(s.float32)
		if m.Arithmetic.Precision == Float64 {
			kept = len(s.float64)
		}
		if len(s.rows) != p.Batch || kept != blocks {
			return fmt.Errorf("the state is of another model or batch")
		}
		if p.First > 0 || p.End > 0 || p.Input != nil {
			return fmt.Errorf("a pass over some of the blocks keeps no state")
		}
	}
	return nil
}

// following returns positions that count on from where the rows are.
func (p *Pass) following() []int32 {
	positions := make([]int32, len(p.Tokens))
	length := len(p.Tokens) / p.Batch
	for i := range positions {
		next := int32(0)
		if p.State != nil && p.State.Tokens() > 0 {
			next = p.State.rows[i/length].position + 1
		}
		positions[i] = next + int32(i%length)
	}
	return positions
}

// run is the model (section 2): embedding, blocks, final norm, logits.
func run[T kernel.Float](ctx context.Context, m *Model, p *Pass, states []blockState[T]) error {
	e := newEngine[T](ctx, m)
	inner := p.begin(m)
	turn := newRotation(&e.numbers, p.Positions, m.Config.HeadDim())

	x, err := e.input(p)
	if err != nil {
		return err
	}
	if err := observe(p, Hidden, p.First, x); err != nil {
		return err
	}
	end := p.End
	if end == 0 {
		end = len(m.Config.BlockTypes)
	}
	for i := p.First; i < end; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		out, temporal, err := e.block(x, inner, i, &states[i], &turn)
		if err != nil {
			return err
		}
		if err := observe(p, Temporal, i, temporal); err != nil {
			return err
		}
		if err := observe(p, Hidden, i+1, out); err != nil {
			return err
		}
		x = out
	}
	if p.End > 0 {
		return nil
	}
	return e.head(x, p, m.Semantics)
}

// begin works out what each token sees, and moves the rows of the state on.
func (p *Pass) begin(m *Model) *pass {
	inner := &pass{batch: p.Batch, length: len(p.Tokens) / p.Batch}
	for _, r := range p.State.rows {
		inner.before = append(inner.before, r.tokens)
	}
	inner.sight = look(p.State.rows, p.Positions, inner.length, m.Semantics, m.Config.AttentionWindow)
	return inner
}

// input returns what the first block of the pass is given.
func (e *engine[T]) input(p *Pass) ([]T, error) {
	if p.Input == nil {
		return e.embed(p.Tokens)
	}
	x := make([]T, p.Input.Len())
	for i := range x {
		x[i] = e.round(T(p.Input.At(i)))
	}
	return x, nil
}

// head computes what comes after the blocks.
func (e *engine[T]) head(x []T, p *Pass, semantics Semantics) error {
	x, err := e.rmsNorm(x, Outer, FinalNorm)
	if err != nil {
		return err
	}
	if err := observe(p, FinalNormed, 0, x); err != nil || p.SkipLogits {
		return err
	}
	if x, err = e.logits(x, len(p.Tokens), semantics); err != nil {
		return err
	}
	return observe(p, Logits, 0, x)
}
