package reference

import (
	"math"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// attention is the temporal mixing of an attention block: local attention of several query heads
// over one head of keys and values (section 2.3, "Local sliding window attention"):
//
//	q_t,h = RoPE(W_q·x_t)_h,  k_t = RoPE(W_k·x_t),  v_t = W_v·x_t
//	p_t,h = softmax over the visible s of (q_t,h · k_s / sqrt(head_dim))
//	out_t = W_o·concat_h(Σ_s p_t,h(s)·v_s) + b_o
//
// where batch.mask says which tokens are visible. A Variant may have several heads of keys and values, each for as many
// consecutive query heads, and biases in q, k and v.
func (e *engine[T]) attention(x []T, b *batch, block int, state *blockState[T], rope *rotation[T]) ([]T, error) {
	width, head, n := e.config.Width, e.config.HeadDim(), b.tokens()
	queries, shared, biased := e.config.QueryWidth(), e.config.KVWidth(), e.config.variant().AttentionBias
	q, err := e.linear(x, n, block, ProjQ, width, queries, biased)
	if err != nil {
		return nil, err
	}
	k, err := e.linear(x, n, block, ProjK, width, shared, biased)
	if err != nil {
		return nil, err
	}
	v, err := e.linear(x, n, block, ProjV, width, shared, biased)
	if err != nil {
		return nil, err
	}
	e.ranges(n, queries, func(from, to int) {
		for t := from; t < to; t++ {
			for h := 0; h < queries; h += head {
				rope.rotate(&e.ops, q[t*queries+h:][:head], t)
			}
			for h := 0; h < shared; h += head {
				rope.rotate(&e.ops, k[t*shared+h:][:head], t)
			}
		}
	})
	mixed := e.take(n * queries)
	for r := range b.rows {
		at := r * b.length
		keys := state.keys[r].extend(k[at*shared:][:b.length*shared], b.seen[r])
		values := state.values[r].extend(v[at*shared:][:b.length*shared], b.seen[r])
		e.attend(mixed[at*queries:], q[at*queries:], keys, values, b.mask.firstKey[at:][:b.length], b.seen[r])
	}
	e.give(q, k, v)
	defer e.give(mixed)
	return e.linear(mixed, n, block, ProjFinal, queries, width, true)
}

// queryTile is the number of tokens whose queries are multiplied by the keys together.
const queryTile = 16

// attend computes the weighted sums of values for the queries q of one row. The row has seen tokens
// before the first query; firstKey holds the first token that each query sees.
func (e *engine[T]) attend(out, q []T, keys, values history[T], firstKey []int, seen int) {
	e.each((len(firstKey)+queryTile-1)/queryTile, func(task int, s *kernel.Scratch[T]) {
		from := task * queryTile
		to := min(from+queryTile, len(firstKey))
		e.attendTile(out, q, keys, values, firstKey, seen, from, to, s)
	})
}

// attendTile is attend for the queries of the tokens [from, to).
func (e *engine[T]) attendTile(out, q []T, keys, values history[T], firstKey []int, seen, from, to int, s *kernel.Scratch[T]) {
	width, groups := e.config.QueryWidth(), e.config.variant().KVHeads
	if groups == 1 {
		e.attendGroup(out[from*width:], q[from*width:], keys, values, 0, firstKey, seen, from, to, s)
		return
	}
	part := width / groups
	gathered, mixed := make([]T, (to-from)*part), make([]T, (to-from)*part)
	for g := range groups {
		for t := range to - from {
			copy(gathered[t*part:][:part], q[(from+t)*width+g*part:])
		}
		clear(mixed)
		e.attendGroup(mixed, gathered, keys, values, g, firstKey, seen, from, to, s)
		for t := range to - from {
			copy(out[(from+t)*width+g*part:][:part], mixed[t*part:])
		}
	}
}

// attendGroup is attendTile for the query heads that share a head of keys and values. out and q are those of
// the tokens and heads, and nothing else.
func (e *engine[T]) attendGroup(out, q []T, keys, values history[T], group int, firstKey []int, seen, from, to int, s *kernel.Scratch[T]) {
	head, stride := e.config.HeadDim(), e.config.KVWidth()
	heads := e.config.NumHeads / e.config.variant().KVHeads
	low, end := seen+to, seen+to
	for _, first := range firstKey[from:to] {
		low = min(low, first)
	}
	count, rows := end-low, (to-from)*heads // keys, queries
	scores := make([]T, rows*count)
	k := kernel.Dense(keys.slice(low, end)[group*head:], count, head, stride, false)
	kernel.Multiply(scores, count, q, head, rows, k, 0, count, e.order, s)
	for i := range rows {
		t := from + i/heads
		row := scores[i*count:][:count]
		first, last := firstKey[t]-low, seen+t-low
		clear(row[:first])
		clear(row[last+1:])
		e.softmax(row[first : last+1])
	}
	mixed := out[:rows*head]
	v := kernel.Dense(values.slice(low, end)[group*head:], count, head, stride, true)
	kernel.Multiply(mixed, head, scores, count, rows, v, 0, head, e.order, s)
	for i := range mixed {
		mixed[i] = e.round(mixed[i])
	}
}

// softmax turns the scores of one query into weights in place: exp(x·scale − max) / Σ exp(x·scale − max)
// with scale = head_dim^−1/2. In BFloat16 it computes in float32.
func (e *engine[T]) softmax(x []T) {
	scale := e.constant(math.Pow(float64(e.config.HeadDim()), -0.5))
	highest := T(math.Inf(-1))
	for i := range x {
		x[i] = e.round(e.step(x[i]) * scale)
		highest = max(highest, x[i])
	}
	for i := range x {
		x[i] -= highest
	}
	expAll(x)
	total := e.sum(x)
	for i := range x {
		x[i] = e.round(x[i] / total)
	}
}
