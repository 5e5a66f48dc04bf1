package tokenizer

import (
	"strings"
	"unicode/utf8"

	"github.com/griffin-ckpt/griffin/formats/sentencepiece"
)

// Decode returns the text of tokens. Control tokens have none; bytes that are not UTF-8, and tokens that the
// tokenizer does not have, become U+FFFD.
func (t *Tokenizer) Decode(tokens []int32) string {
	var text strings.Builder
	d := t.Decoder()
	for _, token := range tokens {
		text.WriteString(d.Next(token))
	}
	text.WriteString(d.Flush())
	return text.String()
}

// Decoder decodes tokens one at a time.
type Decoder struct {
	t       *Tokenizer
	pending []byte // of a character that is not complete
}

// Decoder returns a decoder at the beginning of a text.
func (t *Tokenizer) Decoder() *Decoder { return &Decoder{t: t} }

// Next returns the text that a token completes. It is empty while the token is part of a character.
func (d *Decoder) Next(token int32) string {
	if value, ok := d.t.values[token]; ok {
		d.pending = append(d.pending, value)
		return d.complete(false)
	}
	text := d.complete(true)
	if token < 0 || int(token) >= d.t.Size() {
		return text + string(utf8.RuneError)
	}
	switch p := &d.t.model.Pieces[token]; p.Kind {
	case sentencepiece.Control:
		return text
	case sentencepiece.Unknown:
		return text + d.t.model.UnknownText
	default:
		return text + strings.ReplaceAll(p.Text, space, " ")
	}
}

// Flush returns the rest of the text, which ends within a character.
func (d *Decoder) Flush() string { return d.complete(true) }

// complete returns the pending characters, including an incomplete one if all is set.
func (d *Decoder) complete(all bool) string {
	var text []byte
	for len(d.pending) > 0 && (all || utf8.FullRune(d.pending)) {
		r, n := utf8.DecodeRune(d.pending)
		text = utf8.AppendRune(text, r)
		d.pending = d.pending[n:]
	}
	return string(text)
}
