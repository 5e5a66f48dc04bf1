package strictjson

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// String reads a string.
func (d *Decoder) String() (string, error) {
	d.space()
	if err := d.expect('"', "a string"); err != nil {
		return "", err
	}
	start := d.pos
	for d.pos < len(d.text) {
		switch c := d.text[d.pos]; {
		case isPlain[c]:
			d.pos++
		case c == '"':
			s := string(d.text[start:d.pos])
			d.pos++
			return s, d.checkLength(start, nil)
		case c == '\\':
			s, err := d.escapedString(start)
			return s, d.checkLength(start, err)
		default:
			if err := d.plainRune(start); err != nil {
				return "", d.checkLength(start, err)
			}
		}
	}
	return "", d.checkLength(start, d.bad("JSON text ends within a string"))
}

// isPlain has the characters of ASCII that stand for themselves in a string.
var isPlain = func() (plain [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		plain[c] = c != '"' && c != '\\'
	}
	return plain
}()

// escapedString reads the rest of a string that began at start, from an escape on.
func (d *Decoder) escapedString(start int) (string, error) {
	s := append([]byte(nil), d.text[start:d.pos]...)
	for d.pos < len(d.text) {
		switch c := d.text[d.pos]; {
		case c == '"':
			d.pos++
			return string(s), nil
		case c == '\\':
			r, err := d.escape()
			if err != nil {
				return "", err
			}
			s = utf8.AppendRune(s, r)
		default:
			from := d.pos
			if err := d.plainRune(start); err != nil {
				return "", err
			}
			s = append(s, d.text[from:d.pos]...)
		}
	}
	return "", d.bad("JSON text ends within a string")
}

// plainRune reads a character that is not escaped, of a string that began at start.
func (d *Decoder) plainRune(start int) error {
	switch c := d.text[d.pos]; {
	case c == '\n' || c == '\r':
		return d.badAt(start-1, "a string that does not end on its line: a double quote is missing, or the line break is to be written \\n")
	case c < ' ':
		return d.bad("control character %#02x in a JSON string", c)
	case c < utf8.RuneSelf:
		d.pos++
		return nil
	}
	r, n := utf8.DecodeRune(d.text[d.pos:])
	if r == utf8.RuneError && n == 1 {
		return d.bad("JSON string is not valid UTF-8")
	}
	d.pos += n
	return nil
}

var shortEscapes = [256]rune{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// escape reads an escape sequence.
func (d *Decoder) escape() (rune, error) {
	at := d.pos
	d.pos++
	if d.byte() != 'u' {
		r := shortEscapes[d.byte()]
		if r == 0 {
			return 0, d.badAt(at, "invalid escape in a JSON string")
		}
		d.pos++
		return r, nil
	}
	r, ok := d.hexUnit()
	if !ok {
		return 0, d.badAt(at, `\u without four hexadecimal digits in a JSON string`)
	}
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	if d.byte() == '\\' {
		d.pos++
		if low, ok := d.hexUnit(); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, nil
			}
		}
	}
	d.pos = at
	return 0, d.bad("half of a surrogate pair in a JSON string")
}

// hexUnit reads u and four hexadecimal digits.
func (d *Decoder) hexUnit() (rune, bool) {
	if len(d.text)-d.pos < 5 || d.text[d.pos] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range d.text[d.pos+1 : d.pos+5] {
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	d.pos += 5
	return r, true
}

// Number reads a number.
func (d *Decoder) Number() (json.Number, error) {
	b, err := d.number()
	return json.Number(b), err
}

// Uint reads a non-negative integer below 2^63, written without sign, fraction or exponent.
func (d *Decoder) Uint() (int64, error) {
	d.space()
	at := d.pos
	b, err := d.number()
	if err != nil {
		return 0, err
	}
	n := int64(0)
	for _, c := range b {
		if !isDigit(c) {
			return 0, d.badAt(at, "%s where a non-negative integer is expected", shorten(b))
		}
		digit := int64(c - '0')
		if n > (1<<63-1-digit)/10 {
			return 0, d.badAt(at, "%s does not fit 63 bits", shorten(b))
		}
		n = n*10 + digit
	}
	return n, nil
}

// number reads a number and returns its text.
func (d *Decoder) number() ([]byte, error) {
	d.space()
	start := d.pos
	if d.byte() == '-' {
		d.pos++
	}
	if d.byte() == '0' {
		d.pos++
	} else if !d.digits() {
		return nil, d.unexpected("a number")
	}
	if d.byte() == '.' {
		d.pos++
		if !d.digits() {
			return nil, d.unexpected("a digit")
		}
	}
	if c := d.byte(); c == 'e' || c == 'E' {
		d.pos++
		if c := d.byte(); c == '+' || c == '-' {
			d.pos++
		}
		if !d.digits() {
			return nil, d.unexpected("a digit")
		}
	}
	if isDigit(d.byte()) {
		return nil, d.badAt(start, "number with a leading zero in JSON")
	}
	return d.text[start:d.pos], d.checkLength(start, nil)
}

// digits reads digits and reports whether there were any.
func (d *Decoder) digits() bool {
	start := d.pos
	for isDigit(d.byte()) {
		d.pos++
	}
	return d.pos > start
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// quote quotes s for a message and shortens it.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}

func shorten(number []byte) string {
	const most = 40
	if len(number) > most {
		return fmt.Sprintf("%s… (%d digits)", number[:most], len(number))
	}
	return string(number)
}
