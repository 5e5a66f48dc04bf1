package reference

import "github.com/griffin-ckpt/griffin/reference/kernel"

// State is what the model keeps of the tokens of each row of a batch for later passes: for a recurrent
// block the state of the RG-LRU and the last inputs of the convolution, for an attention block the
// keys and values within the window (the KV cache). Its size does not depend on the number of tokens,
// except under Transformers4, which has no window. After a failed pass it must not be used.
type State struct {
	rows    []row
	float32 []blockState[float32]
	float64 []blockState[float64]
}

// Tokens returns how many tokens of each row the state has seen.
func (s *State) Tokens() int {
	if len(s.rows) == 0 {
		return 0
	}
	return s.rows[0].tokens
}

// blockState is the state of one block.
type blockState[T kernel.Float] struct {
	h            []T       // RG-LRU state, [batch, lru width]
	tail         []T       // last inputs of the convolution, [batch, taps-1, lru width]
	keys, values []ring[T] // one for each row of the batch
}

// newBlockStates returns the states of all blocks for rows that have seen no tokens.
func newBlockStates[T kernel.Float](c *Config, batch, reach int) []blockState[T] {
	blocks := make([]blockState[T], len(c.BlockTypes))
	for i, kind := range c.BlockTypes {
		b := &blocks[i]
		switch kind {
		case Recurrent:
			b.h = make([]T, batch*c.LRUWidth)
			b.tail = make([]T, batch*(c.ConvTaps()-1)*c.LRUWidth)
		case Attention:
			b.keys, b.values = make([]ring[T], batch), make([]ring[T], batch)
			for r := range batch {
				b.keys[r] = ring[T]{width: c.KVWidth(), limit: reach}
				b.values[r] = b.keys[r]
			}
		}
	}
	return blocks
}

// ring holds the last vectors of a sequence. Vector i is in slot i modulo the number of slots.
type ring[T kernel.Float] struct {
	width int
	limit int // number of vectors, or unlimited
	slots []T
}

// history is a run of consecutive vectors of a sequence.
type history[T kernel.Float] struct {
	width, first int // width of a vector, index of the first one
	vectors      []T
}

// slice returns the vectors [low, end) of the sequence.
func (h history[T]) slice(low, end int) []T {
	return h.vectors[(low-h.first)*h.width : (end-h.first)*h.width]
}

// extend appends vectors to a sequence of seen vectors. It returns the vectors that the ring held,
// followed by the new ones.
func (r *ring[T]) extend(vectors []T, seen int) history[T] {
	held := r.held(seen)
	h := history[T]{width: r.width, first: seen - held, vectors: vectors}
	if held > 0 {
		h.vectors = make([]T, 0, held*r.width+len(vectors))
		for i := h.first; i < seen; i++ {
			h.vectors = append(h.vectors, r.slot(i)...)
		}
		h.vectors = append(h.vectors, vectors...)
	}
	end := seen + len(vectors)/r.width
	r.grow(end)
	first := h.first
	if r.limit != unlimited {
		first = max(first, end-r.limit)
	}
	for i := max(first, seen); i < end; i++ {
		copy(r.slot(i), h.slice(i, i+1))
	}
	return h
}

// held returns the number of vectors that the ring holds of a sequence of seen vectors.
func (r *ring[T]) held(seen int) int {
	if r.limit == unlimited {
		return seen
	}
	return min(seen, r.limit)
}

// slot returns the slot of vector i.
func (r *ring[T]) slot(i int) []T {
	return r.slots[i%(len(r.slots)/r.width)*r.width:][:r.width]
}

// grow makes room for a sequence of end vectors. A limited ring is allocated once at its full size. An
// unlimited one holds the whole sequence.
func (r *ring[T]) grow(end int) {
	switch {
	case r.limit == unlimited && end*r.width > len(r.slots):
		slots := make([]T, max(end, 2*len(r.slots)/r.width)*r.width)
		copy(slots, r.slots)
		r.slots = slots
	case r.limit != unlimited && r.slots == nil:
		r.slots = make([]T, r.limit*r.width)
	}
}
