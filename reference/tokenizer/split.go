package tokenizer

import (
	"cmp"
	"container/heap"
	"unicode/utf8"
)

// symbol is a part of a segment: a character, a user-defined piece, or what they were merged into.
type symbol struct {
	from, to   int // empty if it was merged into the symbol before it
	prev, next int // neighbours, by index; -1 for none
}

// merge is a pair of neighbours that a piece joins.
type merge struct {
	score       float32
	left, right int
	size        int // bytes of both; a different size shows that one of them changed
}

// merges is a heap with the highest score first, and of equal scores the leftmost.
type merges []merge

func (m merges) Len() int { return len(m) }
func (m merges) Less(i, j int) bool {
	return cmp.Or(-cmp.Compare(m[i].score, m[j].score), cmp.Compare(m[i].left, m[j].left)) < 0
}
func (m merges) Swap(i, j int) { m[i], m[j] = m[j], m[i] }
func (m *merges) Push(x any)   { *m = append(*m, x.(merge)) }
func (m *merges) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}

// splitter splits one segment.
type splitter struct {
	t       *Tokenizer
	text    []byte
	symbols []symbol
	queue   merges
}

// split appends the tokens of a segment to dst. It merges the two neighbours whose piece has the highest score
// until no two neighbours have a piece.
//
// Source: google/sentencepiece, src/bpe_model.cc, Model::SampleEncode.
func (t *Tokenizer) split(dst []int32, text []byte) []int32 {
	if t.defined.longest(text) == len(text) {
		return append(dst, t.ids[string(text)])
	}
	s := splitter{t: t, text: text}
	for at := 0; at < len(text); {
		_, n := utf8.DecodeRune(text[at:])
		i := len(s.symbols)
		s.symbols = append(s.symbols, symbol{from: at, to: at + n, prev: i - 1, next: i + 1})
		at += n
	}
	s.symbols[len(s.symbols)-1].next = -1
	for i := 1; i < len(s.symbols); i++ {
		s.consider(i-1, i)
	}
	for len(s.queue) > 0 {
		s.join(heap.Pop(&s.queue).(merge))
	}
	for i := 0; i >= 0; i = s.symbols[i].next {
		dst = t.tokens(dst, text[s.symbols[i].from:s.symbols[i].to])
	}
	return dst
}

// consider queues the merge of two neighbours if there is a piece for it.
func (s *splitter) consider(left, right int) {
	if left < 0 || right < 0 {
		return
	}
	from, to := s.symbols[left].from, s.symbols[right].to
	if id, ok := s.t.ids[string(s.text[from:to])]; ok {
		heap.Push(&s.queue, merge{s.t.model.Pieces[id].Score, left, right, to - from})
	}
}

// join carries out a merge, unless one of its symbols has changed since it was queued.
func (s *splitter) join(m merge) {
	left, right := &s.symbols[m.left], &s.symbols[m.right]
	if left.from == left.to || right.from == right.to || right.to-left.from != m.size {
		return
	}
	left.to, left.next = right.to, right.next
	if right.next >= 0 {
		s.symbols[right.next].prev = m.left
	}
	right.from = right.to
	s.consider(left.prev, m.left)
	s.consider(m.left, left.next)
}

// tokens appends the token of a symbol, or those of its bytes if it has none.
func (t *Tokenizer) tokens(dst []int32, text []byte) []int32 {
	if id, ok := t.ids[string(text)]; ok {
		return append(dst, id)
	}
	for _, b := range text {
		dst = append(dst, t.bytes[b])
	}
	return dst
}
