// Package tokenizer splits text into the tokens of a SentencePiece model by byte pair encoding, and joins
// tokens into text, as google/sentencepiece does with the models of Gemma and RecurrentGemma.
//
// Text of any length is split in bounded memory: a Tokenizer divides it where no piece of the vocabulary
// could reach across, and splits the segments one by one. The result is that of the whole text.
package tokenizer

import (
	"strings"
	"unicode/utf8"

	"github.com/griffin-ckpt/griffin/formats/sentencepiece"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Tokenizer splits and joins text. It may be used by several goroutines.
type Tokenizer struct {
	model   *sentencepiece.Model
	ids     map[string]int32 // of normal and user-defined pieces
	bytes   [256]int32       // ids of the pieces that stand for one byte
	values  map[int32]byte   // the bytes that they stand for
	defined trie             // user-defined pieces
	joins   joins            // adjacent characters within normal pieces
	begin   int32
	end     int32
}

// New returns the tokenizer of a SentencePiece model. It splits text by byte pair encoding with byte fallback
// and without changes other than that of spaces to U+2581; a model that asks for anything else gives a
// *tensor.FormatError.
func New(m *sentencepiece.Model) (*Tokenizer, error) {
	if err := supported(m); err != nil {
		return nil, err
	}
	t := &Tokenizer{model: m, ids: make(map[string]int32, len(m.Pieces)), values: make(map[int32]byte, 256), joins: newJoins()}
	for id := range m.Pieces {
		if err := t.add(int32(id), &m.Pieces[id]); err != nil {
			return nil, err
		}
	}
	if len(t.values) != 256 {
		return nil, tensor.Bad("SentencePiece model has pieces for %d of the 256 bytes", len(t.values))
	}
	for _, special := range []struct {
		text string
		id   *int32
	}{{m.Begin, &t.begin}, {m.End, &t.end}} {
		id, ok := m.Find(special.text)
		if !ok {
			return nil, tensor.Bad("SentencePiece model has no piece %q, which it names as the beginning or end of a text", special.text)
		}
		*special.id = int32(id)
	}
	return t, nil
}

// supported returns an error for a model that splits text in another way than Encode.
func supported(m *sentencepiece.Model) error {
	for _, c := range []struct {
		unsupported bool
		what        string
	}{
		{!m.BPE, "splits text by another algorithm than byte pair encoding"},
		{!m.ByteFallback, "has no byte fallback"},
		{m.Normalizes, "changes characters before it splits text"},
		{m.DummyPrefix, "adds a space before the text"},
		{m.RemoveSpaces, "removes spaces"},
		{m.KeepSpaces, "does not replace spaces by U+2581"},
		{m.SuffixSpaces, "attaches spaces to the word before them"},
	} {
		if c.unsupported {
			return tensor.Bad("SentencePiece model is not supported: it %s", c.what)
		}
	}
	return nil
}

// add adds a piece to the tables.
func (t *Tokenizer) add(id int32, p *sentencepiece.Piece) error {
	switch p.Kind {
	case sentencepiece.Normal, sentencepiece.UserDefined:
		if _, twice := t.ids[p.Text]; twice {
			return tensor.Bad("SentencePiece model has the piece %q twice", p.Text)
		}
		t.ids[p.Text] = id
		if p.Kind == sentencepiece.UserDefined {
			t.defined.add(p.Text)
		} else {
			t.joins.add(p.Text)
		}
	case sentencepiece.Byte:
		value, ok := byteValue(p.Text)
		if before, found := t.values[t.bytes[value]]; !ok || found && before == value {
			return tensor.Bad("SentencePiece model has a byte piece %q, want <0x00> to <0xFF>, each once", p.Text)
		}
		t.bytes[value] = id
		t.values[id] = value
	case sentencepiece.Unused:
		return tensor.Bad("SentencePiece model is not supported: its piece %q is unused", p.Text)
	}
	return nil
}

// byteValue parses <0x00> to <0xFF>.
func byteValue(text string) (byte, bool) {
	const digits = "0123456789ABCDEF"
	if len(text) != 6 || text[:3] != "<0x" || text[5] != '>' {
		return 0, false
	}
	high, low := strings.IndexByte(digits, text[3]), strings.IndexByte(digits, text[4])
	return byte(high<<4 | low), high >= 0 && low >= 0
}

// Begin returns the token that begins a text.
func (t *Tokenizer) Begin() int32 { return t.begin }

// End returns the token that ends a text.
func (t *Tokenizer) End() int32 { return t.end }

// Size returns the number of tokens.
func (t *Tokenizer) Size() int { return len(t.model.Pieces) }

// Token returns the control or user-defined token of that text, such as "<end_of_turn>".
func (t *Tokenizer) Token(text string) (id int32, ok bool) {
	n, ok := t.model.Find(text)
	return int32(n), ok
}

// Piece returns the text of a token in the vocabulary, with U+2581 for spaces: "<bos>" or "\u2581the". It is "" for a token
// that the tokenizer does not have.
func (t *Tokenizer) Piece(token int32) string {
	if token < 0 || int(token) >= t.Size() {
		return ""
	}
	return t.model.Pieces[token].Text
}

// space stands for a space in pieces.
const space = "\u2581"

// normalize appends text to dst as pieces have it: U+2581 for spaces, and U+FFFD for each byte that is not
// part of UTF-8.
func normalize(dst []byte, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == ' ' {
			dst = append(dst, space...)
		} else {
			dst = utf8.AppendRune(dst, r)
		}
		text = text[n:]
	}
	return dst
}

// Encode returns the tokens of a text, without Begin and End. Control pieces that are spelled out in the text,
// such as "<bos>", are text; user-defined ones are tokens.
func (t *Tokenizer) Encode(text string) []int32 {
	var tokens []int32
	rest := normalize(make([]byte, 0, len(text)+len(text)/4), []byte(text))
	for len(rest) > 0 {
		n, _ := t.segment(rest, true)
		tokens = t.split(tokens, rest[:n])
		rest = rest[n:]
	}
	return tokens
}
