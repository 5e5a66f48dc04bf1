package reference

import (
	"math"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// attention is the temporal half of an attention block: local attention of several query heads
// over one head of keys and values (section 2.3, "Local sliding window attention"):
//
//	q_t,h = RoPE(W_q·x_t)_h,  k_t = RoPE(W_k·x_t),  v_t = W_v·x_t
//	p_t,h = softmax over the s that t may see of (q_t,h · k_s / sqrt(head_dim))
//	out_t = W_o·concat_h(Σ_s p_t,h(s)·v_s) + b_o
func (e *engine[T]) attention(x []T, p *pass, block int, state *blockState[T], turn *rotation[T]) ([]T, error) {
	width, head, n := e.config.Width, e.config.HeadDim(), p.tokens()
	q, err := e.linear(x, n, block, ProjQ, width, width, false)
	if err != nil {
		return nil, err
	}
	k, err := e.linear(x, n, block, ProjK, width, head, false)
	if err != nil {
		return nil, err
	}
	v, err := e.linear(x, n, block, ProjV, width, head, false)
	if err != nil {
		return nil, err
	}
	e.ranges(n, width, func(from, to int) {
		for t := from; t < to; t++ {
			for h := range e.config.NumHeads {
				turn.turn(&e.numbers, q[t*width+h*head:][:head], t)
			}
			turn.turn(&e.numbers, k[t*head:][:head], t)
		}
	})
	mixed := make([]T, n*width)
	for r := range p.batch {
		at := r * p.length
		keys := state.keys[r].extend(k[at*head:][:p.length*head], p.before[r])
		values := state.values[r].extend(v[at*head:][:p.length*head], p.before[r])
		e.attend(mixed[at*width:], q[at*width:], keys, values, p.sight.firstKey[at:][:p.length], p.before[r])
	}
	return e.linear(mixed, n, block, ProjFinal, width, width, true)
}

// queryTile is how many tokens' queries are held against the keys together.
const queryTile = 16

// attend mixes the values for the queries of one row. The first query is token before of the row;
// firstKey has the first token that each query sees.
func (e *engine[T]) attend(out, q []T, keys, values history[T], firstKey []int, before int) {
	e.each((len(firstKey)+queryTile-1)/queryTile, func(task int, s *kernel.Scratch[T]) {
		from := task * queryTile
		to := min(from+queryTile, len(firstKey))
		e.attendTile(out, q, keys, values, firstKey, before, from, to, s)
	})
}

func (e *engine[T]) attendTile(out, q []T, keys, values history[T], firstKey []int, before, from, to int, s *kernel.Scratch[T]) {
	head, heads := e.config.HeadDim(), e.config.NumHeads
	low, end := before+to, before+to
	for _, first := range firstKey[from:to] {
		low = min(low, first)
	}
	seen, rows := end-low, (to-from)*heads
	scores := make([]T, rows*seen)
	k := kernel.Dense(keys.from(low, end), seen, head, head, false)
	kernel.Multiply(scores, seen, q[from*heads*head:], head, rows, k, 0, seen, e.order, s)
	for i := range rows {
		t := from + i/heads
		row := scores[i*seen:][:seen]
		first, last := firstKey[t]-low, before+t-low
		clear(row[:first])
		clear(row[last+1:])
		e.softmax(row[first : last+1])
	}
	mixed := out[from*heads*head:][:rows*head]
	v := kernel.Dense(values.from(low, end), seen, head, head, true)
	kernel.Multiply(mixed, head, scores, seen, rows, v, 0, head, e.order, s)
	for i := range mixed {
		mixed[i] = e.round(mixed[i])
	}
}

// softmax turns the scores of one query into weights, exp(x·scale − max) / Σ exp(x·scale − max)
// with scale = head_dim^−1/2, in float32 also where activations are bfloat16.
func (e *engine[T]) softmax(x []T) {
	scale := e.constant(math.Pow(float64(e.config.HeadDim()), -0.5))
	highest := T(math.Inf(-1))
	for i := range x {
		x[i] = e.round(e.step(x[i]) * scale)
		highest = max(highest, x[i])
	}
	for i := range x {
		x[i] = exp(x[i] - highest)
	}
	total := e.sum(len(x), func(i int) T { return x[i] })
	for i := range x {
		x[i] = e.round(x[i] / total)
	}
}
