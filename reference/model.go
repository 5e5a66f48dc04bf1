// Package reference is the forward pass of the Griffin family (De et al., "Griffin: Mixing Gated
// Linear Recurrences with Local Attention for Efficient Language Models", arXiv 2402.19427), written
// to be read beside the paper: one file for each layer, with its equations in the comment.
//
// A Model runs a Pass of tokens and calls the pass's Observe with every intermediate result that
// golden fixtures hold. It reads its weights through the interface Weights, one parameter at a time
// and large ones in pieces, so that it needs little more memory than its activations.
//
// Where the published implementations differ, Semantics selects one of them. Arithmetic selects
// float32, float64 (as the exact result to compare with) or bfloat16 with the roundings of the
// original implementation. Results are reproducible bit by bit on every machine.
package reference

import (
	"context"
	"errors"
	"fmt"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// Model is a configuration with its weights, and how to compute.
type Model struct {
	Config     Config
	Weights    Weights
	Semantics  Semantics
	Arithmetic Arithmetic
	Threads    int // goroutines that compute; 0 for one per core
}

// Pass is one run of tokens through the model.
type Pass struct {
	Tokens    []int32 // [Batch, length]
	Positions []int32 // [Batch, length], 0 starts a document; nil to continue from State, or to start from 0, as Semantics without positions do
	Batch     int     // number of rows

	// State is what earlier passes left for this one to continue from, and is updated. Several passes
	// over consecutive pieces of the tokens give the same bits as one pass over all of them. If it is
	// nil, the rows start from no state and none is kept.
	State *State

	// First and End select the blocks [First, End) of a partial pass. End 0 means all blocks, the final
	// norm and the logits. Input is the output of block First-1; it may be nil if First is 0, and the
	// pass then starts with the embeddings. A partial pass cannot have a State.
	First, End int
	Input      *Activations

	SkipLogits bool // end the pass after the final norm

	// Observe, if not nil, is called with every intermediate result, in order. If it returns an error,
	// the pass ends with that error.
	Observe func(Observation) error

	// Transient says that Observe does not keep the numbers: the pass uses their memory again. The logits then come in ranges
	// of the vocabulary, so that memory does not grow with the number of tokens times the vocabulary.
	Transient bool
}

// batch is the part of a Pass that all layers need: its shape and what its tokens can see.
type batch struct {
	rows, length int
	mask         mask
	seen         []int // tokens of each row before this pass
}

// tokens returns the number of tokens of all rows.
func (b *batch) tokens() int { return b.rows * b.length }

// NewState returns the state of a batch of rows that have seen no tokens.
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

// Run runs a pass and reports its results to p.Observe. It returns an error if the configuration is
// invalid, if the pass does not fit the model, if a parameter cannot be read or has another shape
// than the configuration gives it, or if ctx is cancelled.
func (m *Model) Run(ctx context.Context, p Pass) error {
	return RunTogether(ctx, []*Model{m}, []Pass{p})
}

// check reports a pass that does not fit the model, and fills in missing positions.
func (m *Model) check(p *Pass) error {
	if p.Batch < 1 || len(p.Tokens) == 0 || len(p.Tokens)%p.Batch != 0 {
		return fmt.Errorf("%d tokens cannot be divided into %d rows of equal length", len(p.Tokens), p.Batch)
	}
	for i, token := range p.Tokens {
		if token < 0 || int(token) >= m.Config.VocabSize {
			return fmt.Errorf("token %d is %d, outside the vocabulary of %d", i, token, m.Config.VocabSize)
		}
	}
	if err := m.checkPart(p); err != nil {
		return err
	}
	if p.Positions == nil || !m.Semantics.TakesPositions() {
		p.Positions = p.nextPositions()
	}
	if len(p.Positions) != len(p.Tokens) {
		return fmt.Errorf("%d positions for %d tokens", len(p.Positions), len(p.Tokens))
	}
	for i, position := range p.Positions {
		if position < 0 {
			return fmt.Errorf("position %d is %d, want 0 or more", i, position)
		}
	}
	return nil
}

// checkPart reports a range of blocks, an input or a state that does not fit the model or the pass.
func (m *Model) checkPart(p *Pass) error {
	blocks := len(m.Config.BlockTypes)
	if p.First < 0 || p.First > blocks || p.End < 0 || p.End > blocks || p.End > 0 && p.End < p.First {
		return fmt.Errorf("blocks [%d, %d) are not a range of the model's %d blocks", p.First, p.End, blocks)
	}
	if p.First > 0 && p.Input == nil {
		return fmt.Errorf("a pass that starts at block %d needs an input", p.First)
	}
	if p.Input != nil && p.Input.Len() != len(p.Tokens)*m.Config.Width {
		return fmt.Errorf("the input has %d elements, want %d tokens of width %d", p.Input.Len(), len(p.Tokens), m.Config.Width)
	}
	if s := p.State; s != nil {
		kept := len(s.float32)
		if m.Arithmetic.Precision == Float64 {
			kept = len(s.float64)
		}
		if len(s.rows) != p.Batch || kept != blocks {
			return errors.New("the state belongs to a model of another depth or precision, or to another number of rows")
		}
		if p.First > 0 || p.End > 0 || p.Input != nil {
			return errors.New("a partial pass cannot have a state")
		}
	}
	return nil
}

// nextPositions returns positions that continue those of the state, or start from 0.
func (p *Pass) nextPositions() []int32 {
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
func run[T kernel.Float](e *engine[T], x []T, m *Model, p *Pass, states []blockState[T]) error {
	ctx := e.ctx
	b := p.advance(m)
	rope := newRotation(&e.ops, p.Positions, &m.Config)
	if err := observe(p, Hidden, p.First, x); err != nil {
		return err
	}
	for i := p.First; i < p.end(m); i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		out, temporal, err := e.block(x, b, i, &states[i], &rope)
		if err != nil {
			return err
		}
		if err := observe(p, Temporal, i, temporal); err != nil {
			return err
		}
		if err := observe(p, Hidden, i+1, out); err != nil {
			return err
		}
		if p.Transient {
			e.give(x, temporal)
		}
		x = out
	}
	if p.End > 0 {
		return nil
	}
	return e.output(x, p, m.Semantics)
}

// advance moves the rows of the state forward over the pass, and returns what the layers need to
// know of it.
func (p *Pass) advance(m *Model) *batch {
	b := &batch{rows: p.Batch, length: len(p.Tokens) / p.Batch}
	for _, r := range p.State.rows {
		b.seen = append(b.seen, r.tokens)
	}
	b.mask = advance(p.State.rows, p.Positions, b.length, m.Semantics, m.Config.AttentionWindow, m.Config.ConvTaps())
	return b
}

// input returns the input of the first block of the pass.
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

// output computes the final norm and the logits from the output of the last block.
func (e *engine[T]) output(x []T, p *Pass, semantics Semantics) error {
	defer e.dropVectors()
	x, err := e.rmsNorm(x, Outer, FinalNorm)
	if err != nil {
		return err
	}
	if err := observe(p, FinalNormed, 0, x); err != nil || p.SkipLogits {
		return err
	}
	if p.Transient {
		return e.logitsInParts(x, p, semantics)
	}
	if x, err = e.logits(x, len(p.Tokens), semantics); err != nil {
		return err
	}
	return observe(p, Logits, 0, x)
}
