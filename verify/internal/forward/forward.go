// Package forward runs the reference model over many tokens in bounded memory: logits are computed for some tokens at
// a time.
package forward

import (
	"context"
	"fmt"

	"github.com/griffin-ckpt/griffin/reference"
)

// Result is an observation of a run. Logits come in pieces; other results come for all tokens at once.
type Result struct {
	reference.Observation
	Token int // first token of the piece, counted over all rows
}

// logitsMemory bounds the logits that are in memory at a time, in bytes: those of 128 tokens of the published
// vocabulary.
var logitsMemory = 132 << 20

// SetLogitsMemory sets the memory for logits, in bytes, and returns what it was. Tests make it smaller.
func SetLogitsMemory(bytes int) int {
	before := logitsMemory
	logitsMemory = bytes
	return before
}

// Run runs a pass and shows every result in order, as reference.Model.Run does, but with the logits in pieces, so that
// memory does not grow with the number of tokens times the vocabulary. The results have the same bits.
func Run(ctx context.Context, m *reference.Model, p reference.Pass, observe func(Result) error) error {
	if p.SkipLogits || p.End > 0 || p.Transient || len(p.Tokens) <= LogitsAtATime(m) {
		p.Observe = func(o reference.Observation) error { return observe(Result{Observation: o}) }
		return m.Run(ctx, p)
	}
	p.SkipLogits = true
	output, err := lastBlock(ctx, m, p, func(o reference.Observation) error { return observe(Result{Observation: o}) })
	if err != nil {
		return err
	}
	return logits(ctx, m, p.Tokens, output, observe)
}

// LastBlock runs a pass up to the final norm and returns the output of the last block.
func LastBlock(ctx context.Context, m *reference.Model, p reference.Pass) (*reference.Activations, error) {
	p.SkipLogits = true
	return lastBlock(ctx, m, p, func(reference.Observation) error { return nil })
}

func lastBlock(ctx context.Context, m *reference.Model, p reference.Pass, observe func(reference.Observation) error) (*reference.Activations, error) {
	var output *reference.Activations
	p.Observe = func(o reference.Observation) error {
		if o.Site == reference.Hidden && o.Index == len(m.Config.BlockTypes) {
			output = &o.Activations
		}
		return observe(o)
	}
	err := m.Run(ctx, p)
	return output, err
}

// LogitsAtATime returns the number of tokens whose logits are computed at a time.
func LogitsAtATime(m *reference.Model) int {
	size := 4
	if m.Arithmetic.Precision == reference.Float64 {
		size = 8
	}
	return max(1, logitsMemory/(size*max(m.Config.VocabSize, 1)))
}

// logits shows the logits that follow from the last block's output.
func logits(ctx context.Context, m *reference.Model, tokens []int32, output *reference.Activations, observe func(Result) error) error {
	step := LogitsAtATime(m)
	for first := 0; first < len(tokens); first += step {
		n := min(step, len(tokens)-first)
		err := Head(ctx, m, tokens[first:][:n], Tokens(output, first, n), func(o reference.Observation) error {
			if o.Site != reference.Logits {
				return nil
			}
			return observe(Result{o, first})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Head runs the final norm and the output head on the last block's output, one row of tokens.
func Head(ctx context.Context, m *reference.Model, tokens []int32, output *reference.Activations, observe func(reference.Observation) error) error {
	return m.Run(ctx, reference.Pass{Tokens: tokens, Batch: 1, First: len(m.Config.BlockTypes), Input: output, Observe: observe})
}

// Tokens returns the activations of n tokens, counted over all rows, starting at first. They share memory with a.
func Tokens(a *reference.Activations, first, n int) *reference.Activations {
	out := &reference.Activations{Batch: 1, Length: n, Width: a.Width}
	if a.Float64 != nil {
		out.Float64 = a.Float64[first*a.Width:][:n*a.Width]
	} else {
		out.Float32 = a.Float32[first*a.Width:][:n*a.Width]
	}
	return out
}

// Decode runs the first start tokens of each row at once and the others one by one, with the model's state. observe gets
// the logits of all rows [batch, 1, vocabulary] at each position from start-1 on.
func Decode(ctx context.Context, m *reference.Model, tokens []int32, batch, start int, observe func(position int, logits *reference.Activations) error) error {
	length := len(tokens) / batch
	if start < 1 || start > length {
		return fmt.Errorf("decoding cannot start at token %d of rows of %d tokens", start, length)
	}
	state := m.NewState(batch)
	for from, to := 0, start; to <= length; from, to = to, to+1 {
		p := reference.Pass{Batch: batch, State: state}
		for b := range batch {
			p.Tokens = append(p.Tokens, tokens[b*length+from:b*length+to]...)
		}
		output, err := LastBlock(ctx, m, p)
		if err != nil {
			return err
		}
		all := reference.Activations{Batch: batch, Length: 1}
		err = logits(ctx, m, make([]int32, batch), lastOfRows(output), func(r Result) error {
			all.Width = r.Width
			all.Float32, all.Float64 = append(all.Float32, r.Float32...), append(all.Float64, r.Float64...)
			return nil
		})
		if err != nil {
			return err
		}
		if err := observe(to-1, &all); err != nil {
			return err
		}
	}
	return nil
}

// lastOfRows returns the last token of each row, as rows of one token.
func lastOfRows(a *reference.Activations) *reference.Activations {
	out := &reference.Activations{Batch: a.Batch, Length: 1, Width: a.Width}
	for b := range a.Batch {
		row := Tokens(a, (b+1)*a.Length-1, 1)
		out.Float32, out.Float64 = append(out.Float32, row.Float32...), append(out.Float64, row.Float64...)
	}
	return out
}
