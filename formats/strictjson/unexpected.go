package strictjson

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/griffin-ckpt/griffin/formats/internal/foreign"
)

// What is expected at a place, as errors say it. The mistakes that people make there are explained.
const (
	aKey   = "a key"
	aComma = "a comma"
)

// unexpected returns the error for text at the current position that is not what is expected. Mistakes of people who edit JSON are named.
func (d *Decoder) unexpected(what string) error {
	rest := d.text[min(d.pos, len(d.text)):]
	if err := d.foreign(); err != nil {
		return err
	}
	switch c, _ := utf8.DecodeRune(rest); {
	case len(rest) == 0 && d.base == 0 && len(bytes.TrimSpace(d.text)) == 0:
		return d.badAt(0, "JSON text is empty")
	case len(rest) == 0:
		return d.bad("JSON text ends where %s is expected", what)
	case (c == '}' || c == ']') && d.comma > 0 && d.isAfterComma():
		return d.badAt(int(d.comma-d.base), "a comma before %c, which JSON does not have", c)
	case d.Offset() == 0 && c == '\ufeff':
		return d.bad("a byte order mark, which JSON does not have: the text is to be saved as UTF-8 without BOM")
	case d.Offset() == 0 && (bytes.HasPrefix(rest, []byte("\xff\xfe")) || bytes.HasPrefix(rest, []byte("\xfe\xff"))):
		return d.bad("UTF-16 text: JSON is UTF-8")
	case strings.ContainsRune("'`‘’“”„«»", c):
		return d.bad("%c where %s is expected: JSON has double quotes (\")", c, what)
	case c == '#', bytes.HasPrefix(rest, []byte("//")), bytes.HasPrefix(rest, []byte("/*")):
		return d.bad("a comment, which JSON does not have")
	case strings.HasPrefix(what, aComma) && strings.ContainsRune(`"{[-0123456789`, c):
		return d.bad("a comma is missing before this %s", map[bool]string{true: "key", false: "value"}[strings.HasSuffix(what, "}")])
	}
	word := firstWord(rest)
	switch {
	case instead[word] != "":
		return d.bad("%s, which is %s in JSON", word, instead[word])
	case (word == "NaN" || word == "Infinity") && d.pos > 0 && d.text[d.pos-1] == '-':
		return d.badAt(d.pos-1, "-%s, which is no number of JSON", word)
	case word == "NaN", word == "Infinity":
		return d.bad("%s, which is no number of JSON", word)
	case what == aKey && word != "":
		return d.bad("the key %s has no double quote before it", word)
	}
	_, n := utf8.DecodeRune(rest)
	return d.bad("%q where %s is expected in JSON", rest[:max(n, len(word))], what)
}

// foreign returns the error that says what a text is that is of another format from its beginning on, such as a Git LFS pointer or a web page; nil
// for others.
func (d *Decoder) foreign() error {
	if d.failed != nil || d.base > 0 || len(bytes.TrimSpace(d.text)) == 0 || len(bytes.TrimSpace(d.text[:min(d.pos, len(d.text))])) > 0 {
		return nil
	}
	format := foreign.File(d.text[:min(len(d.text), foreign.HeadSize)])
	if format.Kind != foreign.Other {
		return nil
	}
	return format.Error("")
}

// firstWord returns the letters, digits and underscores at the beginning of a text, at most 64.
func firstWord(text []byte) string {
	n := 0
	for n < min(len(text), 64) && (text[n] == '_' || isDigit(text[n]) || 'a' <= text[n]|0x20 && text[n]|0x20 <= 'z') {
		n++
	}
	return string(text[:n])
}

// instead are the words of Python and YAML, by those of JSON.
var instead = map[string]string{"True": "true", "False": "false", "None": "null", "TRUE": "true", "FALSE": "false", "NULL": "null", "Null": "null"}

// isAfterComma reports whether nothing but white space is between the last comma and the current position.
func (d *Decoder) isAfterComma() bool {
	return d.comma >= d.base && len(bytes.TrimSpace(d.text[d.comma-d.base+1:d.pos])) == 0
}
