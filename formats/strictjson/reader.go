package strictjson

import (
	"errors"
	"io"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

const (
	maxToken = 64 << 10      // bytes of a string or a number of a text that an io.Reader has
	ahead    = maxToken + 32 // of text that are there from the beginning of a token on; 32 are more than an escape sequence
	held     = 4 * maxToken
)

// NewReader returns a decoder that reads the text from r in parts, so that the text may be larger than memory. It refuses strings and numbers
// of more than 64 KiB. Errors of r are returned unchanged.
func NewReader(r io.Reader, maxDepth int) *Decoder {
	return &Decoder{text: make([]byte, 0, held), whole: -1, maxDepth: maxDepth, more: r}
}

// refill drops what was read, and reads more of the text.
func (d *Decoder) refill() {
	d.copied.add(d.text[:d.pos])
	rest := copy(d.text[:held], d.text[d.pos:])
	d.base, d.pos = d.base+int64(d.pos), 0
	n, err := io.ReadFull(d.more, d.text[rest:held])
	d.text, d.whole = d.text[:rest+n], held-ahead
	if err == nil {
		return
	}
	d.whole = math.MaxInt
	if err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
		d.failed, d.text = err, nil
	}
}

// checkLength returns err, an error of a token from start on, unless the token is too long: then it may not be in d.text to its end.
func (d *Decoder) checkLength(start int, err error) error {
	if d.more == nil || d.pos-start <= maxToken {
		return err
	}
	return tensor.Bad("a string or a number is longer than %d bytes", maxToken).At(d.base + int64(start)).Because(tensor.TooLarge)
}

// textCopy is a copy of a value.
type textCopy struct {
	text  []byte
	skip  int // bytes of Decoder.text that are before it
	limit int
}

// add adds the beginning of Decoder.text, which is dropped then.
func (c *textCopy) add(text []byte) {
	if c == nil {
		return
	}
	if c.text = append(c.text, text[c.skip:]...); len(c.text) > c.limit {
		c.text = c.text[:c.limit+1]
	}
	c.skip = 0
}

// Text reads and checks a value of any kind, as Skip does, and returns its text, which has at most limit bytes. No other value is read with Text
// meanwhile.
func (d *Decoder) Text(limit int) ([]byte, error) {
	d.space()
	at := d.Offset()
	c := &textCopy{skip: d.pos, limit: limit}
	d.copied = c
	err := d.Skip()
	d.copied = nil
	if err != nil {
		return nil, err
	}
	if c.add(d.text[:d.pos]); len(c.text) > limit {
		return nil, tensor.Bad("a value is longer than %d bytes", limit).At(at).Because(tensor.TooLarge)
	}
	return c.text, nil
}
