package reference

import "github.com/griffin-ckpt/griffin/reference/kernel"

// State is what the model remembers of the tokens of each row of a batch: for a recurrent block the
// state of the RG-LRU and the last inputs of the convolution, for an attention block a ring of the
// keys and values that are still within the window. Its size does not grow with the tokens, except
// under Transformers4, which has no window. A pass that failed leaves it useless.
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

// blockState is the part of one block.
type blockState[T kernel.Float] struct {
	h            []T       // [batch, lru width]
	tail         []T       // [batch, 3, lru width]
	keys, values []ring[T] // one for each row of the batch
}

func newBlockStates[T kernel.Float](c *Config, batch, reach int) []blockState[T] {
	blocks := make([]blockState[T], len(c.BlockTypes))
	for i, kind := range c.BlockTypes {
		b := &blocks[i]
		switch kind {
		case Recurrent:
			b.h = make([]T, batch*c.LRUWidth)
			b.tail = make([]T, batch*(convTaps-1)*c.LRUWidth)
		case Attention:
			b.keys, b.values = make([]ring[T], batch), make([]ring[T], batch)
			for r := range batch {
				b.keys[r] = ring[T]{width: c.HeadDim(), most: reach}
				b.values[r] = b.keys[r]
			}
		}
	}
	return blocks
}

// ring holds the last vectors of a sequence: vector i is in slot i modulo the number of slots.
type ring[T kernel.Float] struct {
	width int
	most  int // vectors, or unlimited
	slots []T
}

// history is consecutive vectors of a sequence.
type history[T kernel.Float] struct {
	width, first int
	vectors      []T
}

// from returns the vectors [low, end).
func (h history[T]) from(low, end int) []T {
	return h.vectors[(low-h.first)*h.width : (end-h.first)*h.width]
}

// extend appends vectors to a sequence of which before have gone by, and returns them with those
// that the ring held.
func (r *ring[T]) extend(vectors []T, before int) history[T] {
	held := before
	if r.most != unlimited {
		held = min(before, r.most)
	}
	h := history[T]{width: r.width, first: before - held, vectors: vectors}
	if held > 0 {
		h.vectors = make([]T, 0, held*r.width+len(vectors))
		for i := h.first; i < before; i++ {
			h.vectors = append(h.vectors, r.slot(i)...)
		}
		h.vectors = append(h.vectors, vectors...)
	}
	end := before + len(vectors)/r.width
	r.grow(end)
	first := h.first
	if r.most != unlimited {
		first = max(first, end-r.most)
	}
	for i := max(first, before); i < end; i++ {
		copy(r.slot(i), h.from(i, i+1))
	}
	return h
}

func (r *ring[T]) slot(i int) []T {
	return r.slots[i%(len(r.slots)/r.width)*r.width:][:r.width]
}

// grow makes room for the vectors of a sequence of that length. A ring is made at its full size;
// without limit, the sequence is kept as it is.
func (r *ring[T]) grow(end int) {
	switch {
	case r.most == unlimited && end*r.width > len(r.slots):
		slots := make([]T, max(end, 2*len(r.slots)/r.width)*r.width)
		copy(slots, r.slots)
		r.slots = slots
	case r.most != unlimited && r.slots == nil:
		r.slots = make([]T, r.most*r.width)
	}
}
