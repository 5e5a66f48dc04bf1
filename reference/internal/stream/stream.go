// Package stream runs the reference model over one row of tokens that arrives in pieces, with the state
// carried along. Memory depends neither on the number of tokens nor on that times the vocabulary.
package stream

import (
	"context"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// BlockTokens is the most tokens that Run takes.
const BlockTokens = 512

// Stream is a model with the state of the tokens that it has read.
type Stream struct {
	Model *reference.Model
	State *reference.State
}

// New returns a model that has read no tokens.
func New(m *reference.Model) *Stream { return &Stream{m, m.NewState(1)} }

// Check returns a *tensor.FormatError if a token is outside the vocabulary of a model.
func Check(m *reference.Model, tokens []int32) error {
	for i, token := range tokens {
		if token < 0 || int(token) >= m.Config.VocabSize {
			return tensor.Bad("token %d is %d, outside the vocabulary of %d", i, token, m.Config.VocabSize)
		}
	}
	return nil
}

// Run reads at most BlockTokens tokens and returns the output of the last block for each, from which Logits
// computes their logits. progress, if not nil, is called with the share of the blocks that is done.
func (s *Stream) Run(ctx context.Context, tokens []int32, progress func(share float64)) (*reference.Activations, error) {
	var output *reference.Activations
	blocks := len(s.Model.Config.BlockTypes)
	err := s.Model.Run(ctx, reference.Pass{Tokens: tokens, Batch: 1, State: s.State, SkipLogits: true,
		Observe: func(o reference.Observation) error {
			done := float64(o.Index)
			switch o.Site {
			case reference.Temporal: // about half of the block
				done += 0.5
			case reference.FinalNormed:
				return nil
			}
			if progress != nil {
				progress(done / float64(blocks))
			}
			if o.Site == reference.Hidden && o.Index == blocks {
				output = &o.Activations
			}
			return nil
		}})
	return output, err
}

// Logits returns the logits of n tokens of an output, from token first on.
func (s *Stream) Logits(ctx context.Context, output *reference.Activations, first, n int) (*reference.Activations, error) {
	part := &reference.Activations{Batch: 1, Length: n, Width: output.Width}
	if output.Float64 != nil {
		part.Float64 = output.Float64[first*output.Width:][:n*output.Width]
	} else {
		part.Float32 = output.Float32[first*output.Width:][:n*output.Width]
	}
	return s.logits(ctx, reference.Pass{Tokens: make([]int32, n), Batch: 1, First: len(s.Model.Config.BlockTypes), Input: part})
}

// Next reads one token and returns its logits.
func (s *Stream) Next(ctx context.Context, token int32) (*reference.Activations, error) {
	return s.logits(ctx, reference.Pass{Tokens: []int32{token}, Batch: 1, State: s.State})
}

func (s *Stream) logits(ctx context.Context, p reference.Pass) (*reference.Activations, error) {
	var logits *reference.Activations
	p.Observe = func(o reference.Observation) error {
		if o.Site == reference.Logits {
			logits = &o.Activations
		}
		return nil
	}
	err := s.Model.Run(ctx, p)
	return logits, err
}
