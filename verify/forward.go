package verify

import (
	"context"
	"fmt"
	"io"

	"github.com/griffin-ckpt/griffin/reference"
)

// Result is what a run shows: an observation of some of its tokens. All but the logits come for all
// tokens at once.
type Result struct {
	reference.Observation
	First int // of the tokens, counted over all rows, that the observation begins with
}

// logitsMemory bounds the logits that are in memory at a time, in bytes: those of 128 tokens of
// the published vocabulary. (Tests make it smaller.)
var logitsMemory = 132 << 20

// Forward runs tokens through a model and shows every result in order, as reference.Model.Run
// does, but the logits a few tokens at a time, so that memory does not grow with their number times
// the vocabulary. The bits are the same.
func Forward(ctx context.Context, m *reference.Model, p reference.Pass, observe func(Result) error) error {
	if p.SkipLogits || p.End > 0 || len(p.Tokens) <= logitsAtATime(m) {
		p.Observe = func(o reference.Observation) error { return observe(Result{Observation: o}) }
		return m.Run(ctx, p)
	}
	last := p
	p.SkipLogits = true
	var output reference.Activations // of the last block
	p.Observe = func(o reference.Observation) error {
		if o.Site == reference.Hidden && o.Index == len(m.Config.BlockTypes) {
			output = o.Activations
		}
		return observe(Result{Observation: o})
	}
	if err := m.Run(ctx, p); err != nil {
		return err
	}
	return logits(ctx, m, last.Tokens, &output, observe)
}

func logitsAtATime(m *reference.Model) int {
	size := 4
	if m.Arithmetic.Precision == reference.Float64 {
		size = 8
	}
	return max(1, logitsMemory/(size*max(m.Config.VocabSize, 1)))
}

// logits shows the logits that follow from the last block's output.
func logits(ctx context.Context, m *reference.Model, tokens []int32, output *reference.Activations, observe func(Result) error) error {
	step := logitsAtATime(m)
	for first := 0; first < len(tokens); first += step {
		n := min(step, len(tokens)-first)
		err := m.Run(ctx, reference.Pass{
			Tokens: tokens[first:][:n], Batch: 1, First: len(m.Config.BlockTypes), Input: some(output, first, n),
			Observe: func(o reference.Observation) error {
				if o.Site != reference.Logits {
					return nil
				}
				return observe(Result{o, first})
			},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// some returns n tokens of activations, counted over all rows, from first on.
func some(a *reference.Activations, first, n int) *reference.Activations {
	out := &reference.Activations{Batch: 1, Length: n, Width: a.Width}
	if a.Float64 != nil {
		out.Float64 = a.Float64[first*a.Width:][:n*a.Width]
	} else {
		out.Float32 = a.Float32[first*a.Width:][:n*a.Width]
	}
	return out
}

// Decode runs the first start tokens of each row at once and the others one by one, from the state
// that the model keeps. It shows the logits of all rows [batch, 1, vocabulary] at each position from
// start-1 on.
func Decode(ctx context.Context, m *reference.Model, tokens []int32, batch, start int, observe func(position int, logits *reference.Activations) error) error {
	length := len(tokens) / batch
	if start < 1 || start > length {
		return fmt.Errorf("decoding from token %d of %d", start, length)
	}
	state := m.NewState(batch)
	for from, to := 0, start; to <= length; from, to = to, to+1 {
		var output reference.Activations // of the last block, at the last token of each row
		p := reference.Pass{Batch: batch, State: state, SkipLogits: true}
		for b := range batch {
			p.Tokens = append(p.Tokens, tokens[b*length+from:b*length+to]...)
		}
		p.Observe = func(o reference.Observation) error {
			if o.Site == reference.Hidden && o.Index == len(m.Config.BlockTypes) {
				output = lastOfRows(&o.Activations)
			}
			return nil
		}
		if err := m.Run(ctx, p); err != nil {
			return err
		}
		last := make([]int32, batch)
		all := reference.Activations{Batch: batch, Length: 1}
		err := logits(ctx, m, last, &output, func(r Result) error {
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
func lastOfRows(a *reference.Activations) reference.Activations {
	out := reference.Activations{Batch: a.Batch, Length: 1, Width: a.Width}
	for b := range a.Batch {
		row := some(a, (b+1)*a.Length-1, 1)
		out.Float32, out.Float64 = append(out.Float32, row.Float32...), append(out.Float64, row.Float64...)
	}
	return out
}

// counted tells how much of the weights is read.
type counted struct {
	reference.Weights
	tell func(bytes int64)
}

// Parameter implements reference.Weights.
func (c counted) Parameter(block int, name string) (*reference.Parameter, error) {
	p, err := c.Weights.Parameter(block, name)
	if err == nil {
		p.Data = countedData{p.Data, c.tell}
	}
	return p, err
}

type countedData struct {
	io.ReaderAt
	tell func(bytes int64)
}

// ReadAt implements io.ReaderAt.
func (c countedData) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.tell(int64(n))
	return n, err
}

// Close implements io.Closer.
func (c countedData) Close() error {
	if closer, ok := c.ReaderAt.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}
