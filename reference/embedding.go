package reference

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// embed returns the embeddings of tokens, the input of the first block:
//
//	x_t = E[token_t] · sqrt(width)
//
// where sqrt(width) is rounded to bfloat16 whatever the model computes in, because training did so.
// Models without Config.EmbeddingScale leave it out.
func (e *engine[T]) embed(tokens []int32) ([]T, error) {
	c := e.config
	p, err := e.get(Outer, Embedding, c.VocabSize, c.Width)
	if err != nil {
		return nil, err
	}
	defer p.done()
	if p.InOut {
		return nil, named(Outer, Embedding, fmt.Errorf("is stored by columns"))
	}
	scale := T(1)
	if c.EmbeddingScale {
		scale = T(kernel.RoundBF16(float32(math.Sqrt(float64(c.Width)))))
	}
	x := make([]T, len(tokens)*c.Width)
	order := make([]int, len(tokens)) // front to back, for weights that are decoded, and each row once
	for t := range order {
		order[t] = t
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(tokens[a], tokens[b]), a-b) })
	var buf []byte
	for i, t := range order {
		row := x[t*c.Width:][:c.Width]
		if i > 0 && tokens[order[i-1]] == tokens[t] {
			copy(row, x[order[i-1]*c.Width:])
			continue
		}
		raw, err := p.read(int(tokens[t])*c.Width, c.Width, buf)
		if err != nil {
			return nil, named(Outer, Embedding, err)
		}
		if _, mapped := p.Data.(Bytes); !mapped {
			buf = raw
		}
		kernel.Widen(row, p.DType, raw)
		for i := range row {
			row[i] = e.round(e.round(row[i]) * scale)
		}
	}
	return x, nil
}

// logits returns the scores of the next token, for each row of the final norm's output:
//
//	logits = cap · tanh(x·Eᵀ / cap)
//
// The original takes a cap of 0 for none; transformers divides by it.
func (e *engine[T]) logits(x []T, n int, semantics Semantics) ([]T, error) {
	c := e.config
	name := Embedding
	if c.SeparateHead {
		name = OutputHead
	}
	p, err := e.get(Outer, name, c.VocabSize, c.Width)
	if err != nil {
		return nil, err
	}
	defer p.done()
	y := make([]T, n*c.VocabSize)
	if err := e.multiply(y, x, n, p, c.Width, c.VocabSize); err != nil {
		return nil, named(Outer, name, err)
	}
	e.finish(y, c.VocabSize, nil)
	if c.LogitsSoftCap == 0 && semantics == Original {
		return y, nil
	}
	softCap := e.constant(c.LogitsSoftCap)
	e.ranges(len(y), 1, func(from, to int) {
		for i := from; i < to; i++ {
			y[i] = e.round(e.step(tanh(e.step(y[i]/softCap))) * softCap)
		}
	})
	return y, nil
}
