// Package generate continues texts with the reference model: it reads a prompt, predicts one token after
// another, and saves and restores what it has read.
//
// The memory of a Session does not grow with the number of tokens, because the state of a Griffin model has
// a fixed size (except under reference.Transformers4, which has no attention window).
package generate

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/reference/internal/stream"
)

// Session is a model with the state of the tokens that it has read. After an error it must not be used.
type Session struct {
	stream *stream.Stream
	output *reference.Activations // of the last block for the last token that was read, while logits is nil
	logits *reference.Activations // of the last token that was read, or nil
	last   int32                  // the last token
	unread bool                   // the last token was generated and has not been read yet
}

// New returns a session that has read no tokens.
func New(m *reference.Model) *Session { return &Session{stream: stream.New(m)} }

// Tokens returns the number of tokens of the text so far, read and generated.
func (s *Session) Tokens() int {
	n := s.stream.State.Tokens()
	if s.unread {
		n++
	}
	return n
}

// Last returns the last token of the text so far, and false if there is none.
func (s *Session) Last() (token int32, ok bool) { return s.last, s.Tokens() > 0 }

// Read reads tokens that continue the text. A token outside the vocabulary gives a *tensor.FormatError. progress, if not
// nil, is called with the number of them that are done; those that are being read count by the share of the blocks that is done.
func (s *Session) Read(ctx context.Context, tokens []int32, progress func(n int)) error {
	if len(tokens) == 0 {
		return nil
	}
	if err := stream.Check(s.stream.Model, tokens); err != nil {
		return err
	}
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	for from := 0; from < len(tokens); from += stream.BlockTokens {
		n := min(stream.BlockTokens, len(tokens)-from)
		output, err := s.stream.Run(ctx, tokens[from:][:n], func(share float64) {
			if progress != nil {
				progress(from + int(share*float64(n)))
			}
		})
		if err != nil {
			return err
		}
		s.output, s.logits = lastOf(output), nil
	}
	s.last = tokens[len(tokens)-1]
	return nil
}

// lastOf returns a copy of the last token's activations.
func lastOf(a *reference.Activations) *reference.Activations {
	out := &reference.Activations{Batch: 1, Length: 1, Width: a.Width}
	if a.Float64 != nil {
		out.Float64 = slices.Clone(a.Float64[len(a.Float64)-a.Width:])
	} else {
		out.Float32 = slices.Clone(a.Float32[len(a.Float32)-a.Width:])
	}
	return out
}

// predict returns the logits of the last token.
func (s *Session) predict(ctx context.Context) (*reference.Activations, error) {
	if err := s.catchUp(ctx); err != nil {
		return nil, err
	}
	if s.Tokens() == 0 {
		return nil, ErrNoText
	}
	if s.logits == nil {
		logits, err := s.stream.Logits(ctx, s.output, 0, 1)
		if err != nil {
			return nil, err
		}
		s.logits, s.output = logits, nil
	}
	return s.logits, nil
}

// catchUp reads the token that was generated last.
func (s *Session) catchUp(ctx context.Context) error {
	if !s.unread {
		return nil
	}
	logits, err := s.stream.Next(ctx, s.last)
	if err != nil {
		return err
	}
	s.logits, s.output, s.unread = logits, nil, false
	return nil
}

// Options say how to continue a text.
type Options struct {
	Max      int     // number of tokens
	Stop     []int32 // tokens that end the continuation and are its last one
	Sampling Sampling
}

// Result describes a continuation.
type Result struct {
	Tokens  []int32
	Stopped bool // the last token is one of Options.Stop
	Passes  int  // tokens that the model read for it, one at a time
	Elapsed time.Duration
}

// Rate returns the tokens per second at which the model read and predicted one token after another. The first
// token is not counted, because it follows from the text before. The rate is 0 if there are no others.
func (r *Result) Rate() float64 {
	if r.Passes == 0 || r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Passes) / r.Elapsed.Seconds()
}

// ErrNoText is returned by Generate and Save if the session has read no token.
var ErrNoText = errors.New("there is no token to continue from")

// Generate continues the text and calls emit, if it is not nil, with each token. If emit returns an error, Generate
// returns that error.
func (s *Session) Generate(ctx context.Context, o Options, emit func(token int32) error) (*Result, error) {
	sampler, err := newSampler(o.Sampling)
	if err != nil {
		return nil, err
	}
	result := &Result{}
	if o.Max <= 0 {
		return result, nil
	}
	// The first token follows from the text before, so that its time is not that of decoding.
	if _, err := s.predict(ctx); err != nil {
		return nil, err
	}
	start := time.Now()
	defer func() { result.Elapsed = time.Since(start) }()
	for len(result.Tokens) < o.Max && !result.Stopped {
		if s.unread {
			result.Passes++
		}
		logits, err := s.predict(ctx)
		if err != nil {
			return nil, err
		}
		token, err := sampler.next(logits)
		if err != nil {
			return nil, err
		}
		s.last, s.unread = token, true
		result.Tokens = append(result.Tokens, token)
		result.Stopped = slices.Contains(o.Stop, token)
		if emit != nil {
			if err := emit(token); err != nil {
				return nil, err
			}
		}
	}
	return result, nil
}
