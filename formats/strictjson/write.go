package strictjson

import (
	"bytes"
	"reflect"
	"strings"
)

// WithLists returns a value in which lists that are nil and not omitted from JSON are empty ones. It is v, changed, if v is a pointer.
func WithLists(v any) any {
	value := reflect.ValueOf(v)
	if !value.IsValid() || value.Kind() == reflect.Pointer {
		setLists(value)
		return v
	}
	changed := reflect.New(value.Type())
	changed.Elem().Set(value)
	setLists(changed)
	return changed.Elem().Interface()
}

// setLists makes empty lists of those that are nil, in everything that v leads to.
func setLists(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			setLists(v.Elem())
		}
	case reflect.Slice:
		if kind := v.Type().Elem().Kind(); kind != reflect.Struct && kind != reflect.Pointer && kind != reflect.Slice {
			return
		}
		for i := range v.Len() {
			setLists(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field, of := v.Field(i), v.Type().Field(i)
			tag := of.Tag.Get("json")
			if tag == "-" || !of.IsExported() && !of.Anonymous {
				continue
			}
			if field.Kind() == reflect.Slice && field.IsNil() && field.CanSet() && !strings.Contains(tag, ",omitempty") {
				field.Set(reflect.MakeSlice(field.Type(), 0, 0))
			}
			setLists(field)
		}
	}
}

// JoinNumbers returns indented JSON with each array of nothing but numbers on one line: [128, 32]. The strings NaN, Infinity and -Infinity
// stand for numbers. text is what package encoding/json writes with an indent.
func JoinNumbers(text []byte) []byte {
	if !bytes.Contains(text, []byte("[\n")) {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		switch text[i] {
		case '"':
			end := endOfString(text, i)
			out = append(out, text[i:end]...)
			i = end
		case '[':
			if line, end := numbers(text, i); line != nil {
				out = append(out, line...)
				i = end
				continue
			}
			fallthrough
		default:
			out = append(out, text[i])
			i++
		}
	}
	return out
}

// endOfString returns the index behind the string that begins at i.
func endOfString(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// numbers returns the array that begins at i on one line, and the index behind it; nil if it holds anything but numbers.
func numbers(text []byte, i int) (line []byte, end int) {
	line = append(line, '[')
	for i++; i < len(text); {
		switch c := text[i]; {
		case c == ']':
			return append(line, ']'), i + 1
		case c == ' ' || c == '\n':
			i++
		case c == ',':
			line = append(line, ", "...)
			i++
		case c == '-' || c >= '0' && c <= '9':
			start := i
			for i < len(text) && bytes.IndexByte([]byte("+-.0123456789eE"), text[i]) >= 0 {
				i++
			}
			line = append(line, text[start:i]...)
		case c == '"':
			end := endOfString(text, i)
			switch string(text[i:end]) {
			case `"NaN"`, `"Infinity"`, `"-Infinity"`:
			default:
				return nil, 0
			}
			line = append(line, text[i:end]...)
			i = end
		default:
			return nil, 0
		}
	}
	return nil, 0
}
