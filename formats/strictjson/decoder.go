// Package strictjson reads the JSON of checkpoints. Unlike encoding/json it refuses text that two readers could
// understand differently: duplicate keys, text that is not UTF-8, half of a surrogate pair, data after the end. It
// compares keys exactly, keeps their order and the spelling of numbers, and bounds the nesting.
//
// Parse returns the values of a text. A Decoder reads a large text of known structure without keeping its values. All
// errors are *tensor.FormatError with the offset in the text, but for those of an io.Reader. WriteTo writes the JSON that griffin publishes.
package strictjson

import (
	"crypto/sha256"
	"io"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Kind is the kind of a JSON value.
type Kind byte

// The kinds of values. KindInvalid is the end of the text, and text that is not a value.
const (
	KindInvalid Kind = iota
	KindObject
	KindArray
	KindString
	KindNumber
	KindBool
	KindNull
)

// Decoder reads a JSON text from the beginning. Its memory is that of the keys of the open objects, of which it allows
// 524,288. It cannot be used after an error.
type Decoder struct {
	text     []byte // of an io.Reader a part
	pos      int
	whole    int // a token that begins at most here is in text
	depth    int
	maxDepth int
	keys     int   // of the open objects
	comma    int64 // offset of the last comma between items, if nothing but white space follows it

	more   io.Reader // has what follows text
	base   int64     // bytes before text
	failed error     // of more
	copied *textCopy // nil if no value is copied
}

// maxKeys is twice the members of the largest object in files of models, the vocabulary of a tokenizer.json.
const maxKeys = 1 << 19

// NewDecoder returns a decoder of text, in which arrays and objects may nest maxDepth deep. Its results do not refer to
// text.
func NewDecoder(text []byte, maxDepth int) *Decoder {
	return &Decoder{text: text, whole: math.MaxInt, maxDepth: maxDepth}
}

// Offset returns the number of bytes read.
func (d *Decoder) Offset() int64 { return d.base + int64(d.pos) }

// Peek returns the kind of the next value.
func (d *Decoder) Peek() Kind {
	d.space()
	switch c := d.byte(); {
	case c == '{':
		return KindObject
	case c == '[':
		return KindArray
	case c == '"':
		return KindString
	case c == '-' || isDigit(c):
		return KindNumber
	case c == 't' || c == 'f':
		return KindBool
	case c == 'n':
		return KindNull
	}
	return KindInvalid
}

// Object reads an object. It calls member after each key to read the value.
func (d *Decoder) Object(member func(key string) error) error {
	var (
		keys   keySet
		before = d.keys
	)
	defer func() { d.keys = before }()
	return d.list('{', '}', "an object", func() error {
		at := d.pos
		if d.byte() != '"' {
			return d.unexpected(aKey)
		}
		key, err := d.String()
		if err != nil {
			return err
		}
		if d.keys++; d.keys > maxKeys {
			return tensor.Bad("an object has more than %d members, which is the most that griffin reads", maxKeys).At(d.base + int64(at)).Because(tensor.TooLarge)
		}
		if !keys.add(key) {
			return d.badAt(at, "duplicate key %s", quote(key))
		}
		d.space()
		if err := d.expect(':', "a colon"); err != nil {
			return err
		}
		return member(key)
	})
}

// Array reads an array. It calls item to read each item.
func (d *Decoder) Array(item func() error) error {
	return d.list('[', ']', "an array", item)
}

// list reads items between brackets, separated by commas.
func (d *Decoder) list(open, end byte, what string, item func() error) error {
	d.space()
	if err := d.expect(open, what); err != nil {
		return err
	}
	if d.depth++; d.depth > d.maxDepth {
		return d.badAt(d.pos-1, "nested more than %d deep", d.maxDepth)
	}
	defer func() { d.depth-- }()
	if d.space(); d.byte() == end {
		d.pos++
		return nil
	}
	for {
		d.space()
		if err := item(); err != nil {
			return err
		}
		d.space()
		switch d.byte() {
		case ',':
			d.comma = d.Offset()
			d.pos++
		case end:
			d.pos++
			return nil
		default:
			return d.unexpected(aComma + " or " + string(end))
		}
	}
}

// Bool reads true or false.
func (d *Decoder) Bool() (bool, error) {
	if d.Peek(); d.byte() == 't' {
		return true, d.word("true")
	}
	return false, d.word("false")
}

// Null reads null.
func (d *Decoder) Null() error {
	d.space()
	return d.word("null")
}

// Skip reads and checks a value of any kind.
func (d *Decoder) Skip() (err error) {
	switch d.Peek() {
	case KindObject:
		return d.Object(func(string) error { return d.Skip() })
	case KindArray:
		return d.Array(d.Skip)
	case KindString:
		_, err = d.String()
	case KindNumber:
		_, err = d.number()
	case KindBool:
		_, err = d.Bool()
	case KindNull:
		err = d.Null()
	default:
		err = d.unexpected("a value")
	}
	return err
}

// End checks that only white space is left.
func (d *Decoder) End() error {
	if d.space(); d.pos < len(d.text) {
		return d.bad("data after the end of the JSON text")
	}
	return d.failed
}

// keySet holds the keys of an object. For few keys, which most objects have, a list is smaller and faster than a map. Of many
// it has the digests, which are smaller than long keys.
type keySet struct {
	few  []string
	many map[keyDigest]struct{}
}

// keyDigest is the beginning of a SHA-256. No two keys with the same one are known.
type keyDigest [16]byte

func digestOf(key string) keyDigest {
	sum := sha256.Sum256([]byte(key))
	return keyDigest(sum[:])
}

const fewKeys = 8

// add reports whether key is new.
func (s *keySet) add(key string) bool {
	if s.many != nil {
		n := len(s.many)
		s.many[digestOf(key)] = struct{}{}
		return len(s.many) > n
	}
	for _, k := range s.few {
		if k == key {
			return false
		}
	}
	if s.few = append(s.few, key); len(s.few) > fewKeys {
		s.many = make(map[keyDigest]struct{}, 4*fewKeys)
		for _, k := range s.few {
			s.many[digestOf(k)] = struct{}{}
		}
		s.few = nil
	}
	return true
}

// byte returns the next byte, or 0 at the end. A zero byte is not valid anywhere in the text.
func (d *Decoder) byte() byte {
	if d.pos < len(d.text) {
		return d.text[d.pos]
	}
	return 0
}

// space reads white space. The token behind it is in d.text then, as a whole.
func (d *Decoder) space() {
	for {
		for d.pos < len(d.text) && isSpace(d.text[d.pos]) {
			d.pos++
		}
		if d.pos <= d.whole {
			return
		}
		d.refill()
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func (d *Decoder) expect(c byte, what string) error {
	if d.byte() != c {
		return d.unexpected(what)
	}
	d.pos++
	return nil
}

func (d *Decoder) word(w string) error {
	if rest := d.text[d.pos:]; len(rest) < len(w) || string(rest[:len(w)]) != w {
		return d.unexpected(w)
	}
	d.pos += len(w)
	return nil
}

func (d *Decoder) bad(format string, args ...any) error {
	return d.badAt(d.pos, format, args...)
}

func (d *Decoder) badAt(offset int, format string, args ...any) error {
	if d.failed != nil {
		return d.failed
	}
	return tensor.Bad(format, args...).At(d.base + int64(offset))
}
