package tokenizer

import (
	"hash/maphash"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// trie is a set of strings.
type trie struct {
	next   map[byte]*trie
	isEnd  bool
	length int // of the longest string in it
}

func (t *trie) add(s string) {
	t.length = max(t.length, len(s))
	node := t
	for i := range len(s) {
		child := node.next[s[i]]
		if child == nil {
			child = &trie{}
			if node.next == nil {
				node.next = map[byte]*trie{}
			}
			node.next[s[i]] = child
		}
		node = child
	}
	node.isEnd = true
}

// longest returns the length of the longest string of the set that text begins with, or 0.
func (t *trie) longest(text []byte) int {
	found := 0
	for i, c := range text {
		if t = t.next[c]; t == nil {
			break
		}
		if t.isEnd {
			found = i + 1
		}
	}
	return found
}

// joins is a set of pairs of characters that are adjacent in a piece. It may contain other pairs too.
type joins struct {
	seed maphash.Seed
	bits []uint64
}

const joinBits = 1 << 22 // Gemma's vocabulary has about 200,000 pairs

func newJoins() joins { return joins{maphash.MakeSeed(), make([]uint64, joinBits/64)} }

func (j *joins) slot(a, b rune) (word int, bit uint64) {
	h := maphash.Comparable(j.seed, [2]rune{a, b}) % joinBits
	return int(h / 64), 1 << (h % 64)
}

// add adds the pairs of a piece.
func (j *joins) add(piece string) {
	previous := rune(-1)
	for _, r := range piece {
		if previous >= 0 {
			word, bit := j.slot(previous, r)
			j.bits[word] |= bit
		}
		previous = r
	}
}

func (j *joins) has(a, b rune) bool {
	word, bit := j.slot(a, b)
	return j.bits[word]&bit != 0
}

// segment returns the length of the first part of text that is split independently of the rest: a user-defined
// piece, or characters up to one or up to a pair of characters that no piece has. If whole is not set, text may
// go on, and ok is false if more of it could change the result.
func (t *Tokenizer) segment(text []byte, whole bool) (n int, ok bool) {
	if n = t.defined.longest(text); n > 0 {
		return n, whole || len(text) >= t.defined.length
	}
	previous, n := utf8.DecodeRune(text)
	for n < len(text) {
		r, size := utf8.DecodeRune(text[n:])
		if !t.joins.has(previous, r) || t.defined.longest(text[n:]) > 0 {
			return n, whole || len(text)-n >= t.defined.length
		}
		previous, n = r, n+size
	}
	return n, whole
}

// maxSegment is the most bytes that a segment may have, which bounds memory.
const maxSegment = 4 << 20

// blockSize is how much of a text is read at a time.
const blockSize = 64 << 10

// EncodeReader calls f with the tokens of a text, in order, piece by piece. Together they are what Encode returns
// for the whole text. It returns the errors of r and f, and a *tensor.FormatError if the text cannot be
// divided into segments of at most 4 MiB.
func (t *Tokenizer) EncodeReader(r io.Reader, f func(tokens []int32) error) error {
	e := encoder{t: t, raw: make([]byte, 0, blockSize)}
	for {
		n, err := r.Read(e.raw[len(e.raw):cap(e.raw)])
		e.raw = e.raw[:len(e.raw)+n]
		if err != nil && err != io.EOF {
			return err
		}
		tokens, failed := e.advance(err == io.EOF)
		if failed != nil {
			return failed
		}
		if len(tokens) > 0 {
			if err := f(tokens); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// encoder holds the part of a text that is not split yet.
type encoder struct {
	t    *Tokenizer
	raw  []byte // as it was read
	text []byte // normalized
}

// advance splits as much text as it can, all of it at the end.
func (e *encoder) advance(end bool) (tokens []int32, err error) {
	complete := len(e.raw)
	if !end {
		complete = completeRunes(e.raw)
	}
	e.text = normalize(e.text, e.raw[:complete])
	e.raw = e.raw[:copy(e.raw, e.raw[complete:])]
	done := 0
	for done < len(e.text) {
		n, ok := e.t.segment(e.text[done:], end)
		if !ok {
			break
		}
		tokens = e.t.split(tokens, e.text[done:done+n])
		done += n
	}
	if done == 0 {
		e.raw = slices.Grow(e.raw, len(e.text)) // so that a long segment is not scanned many times
	}
	e.text = e.text[:copy(e.text, e.text[done:])]
	if len(e.text) > maxSegment {
		return nil, tensor.Bad("text has %d MiB without a place to divide it", len(e.text)>>20)
	}
	return tokens, nil
}

// completeRunes returns the length of text without an incomplete character at its end.
func completeRunes(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if last := text[len(text)-n:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return len(text) - n
			}
			break
		}
	}
	return len(text)
}
