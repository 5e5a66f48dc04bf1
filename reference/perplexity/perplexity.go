// Package perplexity measures how well a model predicts text, and how far the predictions of two models are
// apart.
package perplexity

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/reference/internal/stream"
)

// Scorer scores rows of tokens that arrive in pieces, with one model or with two side by side. Its memory depends
// neither on the length of a row nor on that times the vocabulary. After an error it must not be used.
type Scorer struct {
	// Progress, if not nil, is called while tokens are scored, with the number of those that are done. Those that are being scored count
	// by the share of the computation that is done.
	Progress func(tokens int)

	models  []*reference.Model
	streams []*stream.Stream
	pending []int32 // tokens of the row that are not read yet; the first of them was predicted
	row     int
	read    int // tokens of the row before pending
	scored  int // tokens of all rows that are not pending
	total   totals
}

// totals are sums over predicted tokens.
type totals struct {
	tokens, predicted int
	nll               [2]float64
	kl                float64
	agreed            int
	partings          []Parting
	curve             curve
}

// Result is the score of all rows so far.
type Result struct {
	Tokens    int       // tokens that were added
	Predicted int       // tokens that were predicted: all but the first of each row
	NLL       []float64 // for each model, the mean negative log-likelihood of a predicted token, in nats
	Pair      *Pair     // of two models
	Spans     []Span    // the same over positions, at most 128
}

// Perplexity returns the exponential of a model's NLL.
func (r *Result) Perplexity(model int) float64 { return math.Exp(r.NLL[model]) }

// Pair compares the predictions of two models.
type Pair struct {
	KL       float64   // mean Kullback-Leibler divergence of the second from the first, in nats a predicted token
	Agreed   int       // predicted tokens for which both models have the same most likely token
	Partings []Parting // the first MaxPartings of the others
}

// MaxPartings is the most elements of Pair.Partings.
const MaxPartings = 1000

// Parting is a token for which two models have different most likely tokens.
type Parting struct {
	Row, Position int // of the token that is predicted
	Token         int32
	Top           [2]int32   // the most likely token of each model
	Probability   [2]float64 // and its probability
	KL            float64
}

// New returns a scorer with one model, or with two that have the same vocabulary.
func New(models ...*reference.Model) (*Scorer, error) {
	if len(models) != 1 && len(models) != 2 {
		return nil, fmt.Errorf("%d models, want 1 or 2", len(models))
	}
	if first, last := models[0].Config.VocabSize, models[len(models)-1].Config.VocabSize; first != last {
		return nil, tensor.Bad("the first model has a vocabulary of %d, the second of %d, so that their predictions cannot be compared", first, last)
	}
	s := &Scorer{models: models}
	s.start()
	return s, nil
}

// start begins a row.
func (s *Scorer) start() {
	s.streams = s.streams[:0]
	for _, m := range s.models {
		s.streams = append(s.streams, stream.New(m))
	}
	s.pending, s.read = s.pending[:0], 0
}

// Add adds tokens to the current row. A token outside the vocabulary gives a *tensor.FormatError.
func (s *Scorer) Add(ctx context.Context, tokens []int32) error {
	if err := stream.Check(s.models[0], tokens); err != nil {
		return err
	}
	s.total.tokens += len(tokens)
	for len(tokens) > 0 {
		n := min(len(tokens), stream.BlockTokens+1-len(s.pending))
		s.pending, tokens = append(s.pending, tokens[:n]...), tokens[n:]
		if len(s.pending) > stream.BlockTokens {
			if err := s.score(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// EndRow scores the rest of the row, and begins another.
func (s *Scorer) EndRow(ctx context.Context) error {
	if err := s.score(ctx); err != nil {
		return err
	}
	s.scored = s.total.tokens
	s.start()
	s.row++
	return nil
}

// score predicts all pending tokens but the first.
func (s *Scorer) score(ctx context.Context) error {
	n := len(s.pending) - 1
	if n < 1 {
		return nil
	}
	progress := func(share float64) {
		if s.Progress != nil {
			s.Progress(s.scored + int(share*float64(n)))
		}
	}
	outputs := make([]*reference.Activations, len(s.streams))
	blocks := blocksShare(&s.models[0].Config)
	for i, stream := range s.streams {
		var err error
		running := func(share float64) { progress(blocks * (float64(i) + share) / float64(len(s.streams))) }
		if outputs[i], err = stream.Run(ctx, s.pending[:n], running); err != nil {
			return err
		}
	}
	size := s.atATime()
	for from := 0; from < n; from += size {
		part := min(size, n-from)
		if err := s.scorePart(ctx, outputs, from, part); err != nil {
			return err
		}
		progress(blocks + (1-blocks)*float64(from+part)/float64(n))
	}
	s.read += n
	s.scored += n
	s.pending = s.pending[:copy(s.pending, s.pending[n:])]
	return nil
}

// blocksShare is about the share of the blocks in the computation of a token. The rest is its logits.
func blocksShare(c *reference.Config) float64 {
	blocks := len(c.BlockTypes) * 3 * (c.MLPExpandedWidth + max(c.LRUWidth, c.Width)) // columns of matrices that are as wide as the model
	return float64(blocks) / float64(blocks+c.VocabSize)
}

// logitsMemory bounds the logits that are in memory at a time, in bytes. (Tests make it smaller.)
var logitsMemory = 128 << 20

// atATime returns the number of tokens whose logits are in memory at a time.
func (s *Scorer) atATime() int {
	bytes := 0
	for _, m := range s.models {
		bytes += 4 * m.Config.VocabSize
		if m.Arithmetic.Precision == reference.Float64 {
			bytes += 4 * m.Config.VocabSize
		}
	}
	return max(1, logitsMemory/bytes)
}

// scorePart predicts n tokens from the outputs of the pending tokens from index from on.
func (s *Scorer) scorePart(ctx context.Context, outputs []*reference.Activations, from, n int) error {
	logits := make([]*reference.Activations, len(s.streams))
	for i, stream := range s.streams {
		var err error
		if logits[i], err = stream.Logits(ctx, outputs[i], from, n); err != nil {
			return err
		}
	}
	for i, p := range predictions(logits, s.pending[from+1:][:n]) {
		if !p.finite {
			return tensor.Bad("%w: those with which token %d of row %d is predicted", s.notFinite(&p), s.read+from+i+1, s.row)
		}
		s.add(&p, Parting{Row: s.row, Position: s.read + from + i + 1, Token: s.pending[from+i+1], Top: p.top, Probability: p.probability, KL: p.kl})
	}
	return nil
}

// notFinite returns the error of a prediction that is not finite.
func (s *Scorer) notFinite(p *prediction) *NotFiniteError {
	if len(s.models) == 2 && isFinite(p.nll[0]) {
		return &NotFiniteError{Model: 1}
	}
	return &NotFiniteError{Model: 0}
}

// NotFiniteError is the cause of the *tensor.FormatError that is returned if logits are NaN or infinite.
type NotFiniteError struct {
	Model int // index of the model whose logits they are
}

func (e *NotFiniteError) Error() string { return "logits are not finite" }

// add adds a prediction to the totals.
func (s *Scorer) add(p *prediction, parting Parting) {
	t := &s.total
	t.predicted++
	t.nll[0] += p.nll[0]
	t.nll[1] += p.nll[1]
	t.kl += p.kl
	t.curve.add(parting.Position, p)
	switch {
	case p.top[0] == p.top[1]:
		t.agreed++
	case len(s.models) == 2 && len(t.partings) < MaxPartings:
		t.partings = append(t.partings, parting)
	}
}

// ErrNothingPredicted is returned by Result if every row has at most one token.
var ErrNothingPredicted = errors.New("no token is predicted: a row needs two tokens")

// Result returns the score of the rows that have ended.
func (s *Scorer) Result() (*Result, error) {
	t := &s.total
	if t.predicted == 0 {
		return nil, ErrNothingPredicted
	}
	n := float64(t.predicted)
	r := &Result{Tokens: t.tokens, Predicted: t.predicted, Spans: t.curve.spans(len(s.models))}
	for i := range s.models {
		r.NLL = append(r.NLL, t.nll[i]/n)
	}
	if len(s.models) == 2 {
		r.Pair = &Pair{KL: t.kl / n, Agreed: t.agreed, Partings: t.partings}
	}
	return r, nil
}
