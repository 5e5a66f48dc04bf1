package strictjson

import (
	"bufio"
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// List is a list whose items, structs or pointers to structs, are made when they are asked for: there may be so many that all of them do
// not fit into memory. Its JSON is that of a slice.
type List[T any] struct {
	n  int
	at func(i int) T
}

// NewList returns a list of n items. at returns item i.
func NewList[T any](n int, at func(i int) T) List[T] { return List[T]{n, at} }

// Items returns a list of items that are there already.
func Items[T any](all ...T) List[T] { return List[T]{len(all), func(i int) T { return all[i] }} }

// Len returns the number of the items.
func (l List[T]) Len() int { return l.n }

// At returns item i.
func (l List[T]) At(i int) T { return l.at(i) }

// All returns all items, of a list that has few.
func (l List[T]) All() []T {
	all := make([]T, l.n)
	for i := range all {
		all[i] = l.at(i)
	}
	return all
}

// Append returns a list of the items of l, which has few, and more.
func (l List[T]) Append(more ...T) List[T] { return Items(append(l.All(), more...)...) }

// IsZero reports whether the list is empty, for the option omitzero of encoding/json.
func (l List[T]) IsZero() bool { return l.n == 0 }

// MarshalJSON implements json.Marshaler.
func (l List[T]) MarshalJSON() ([]byte, error) {
	return json.Marshal(WithLists(l.All()))
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *List[T]) UnmarshalJSON(text []byte) error {
	var all []T
	err := json.Unmarshal(text, &all)
	*l = Items(all...)
	return err
}

// item returns a pointer to item i.
func (l List[T]) item(i int) any {
	v := l.at(i)
	return &v
}

// lister is a List of any items.
type lister interface {
	Len() int
	item(i int) any
}

// items is a list of items of any type.
type items struct {
	n  int
	at func(i int) any
}

func (l items) Len() int       { return l.n }
func (l items) item(i int) any { return l.at(i) }

// WriteTo writes the JSON of a value as griffin publishes it: indented, without HTML escapes, with arrays of numbers on one line, and with []
// for a list that is nil unless it is omitted. Such lists are set in what v points to. It writes a field or an item of a list after another,
// without holding the text of all. If schema is not "", it is the first field of v, which is then a struct or a pointer to one.
func WriteTo(w io.Writer, schema string, v any) error {
	s := &stream{out: bufio.NewWriterSize(w, 64<<10), schema: schema}
	return s.write(v)
}

// WriteList is WriteTo with a list in place of a field of v that has that name; item returns a pointer to item i of n.
func WriteList(w io.Writer, v any, list string, n int, item func(i int) any) error {
	s := &stream{out: bufio.NewWriterSize(w, 64<<10), list: list, items: items{n, item}}
	return s.write(v)
}

// stream writes the JSON of one value.
type stream struct {
	out    *bufio.Writer // keeps the first error
	schema string        // value of the first field, "" for none
	list   string        // the field of the outermost struct that has items instead of its value, "" for none
	items  items
}

func (s *stream) write(v any) error {
	if err := s.value(reflect.ValueOf(WithLists(v)), "\n"); err != nil {
		return err
	}
	s.out.WriteByte('\n')
	return s.out.Flush()
}

// value writes a value. indent is the line break before what stands on the level of the value.
func (s *stream) value(v reflect.Value, indent string) error {
	for v.IsValid() && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && !v.IsNil() && !encodesItself(v) {
		v = v.Elem()
	}
	if !v.IsValid() || !v.CanInterface() {
		return s.encode(nil, indent)
	}
	if l, ok := v.Interface().(lister); ok {
		return s.each(l, indent)
	}
	switch {
	case encodesItself(v) || v.CanAddr() && encodesItself(v.Addr()):
	case v.Kind() == reflect.Struct:
		first, schema := true, s.schema
		s.schema = ""
		if schema != "" {
			first = false
			s.out.WriteString("{" + indent + `  "schema": `)
			if err := s.encode(schema, indent); err != nil {
				return err
			}
		}
		if err := s.fields(v, indent, &first); err != nil {
			return err
		}
		if first {
			s.out.WriteString("{}")
		} else {
			s.out.WriteString(indent + "}")
		}
		return nil
	case v.Kind() == reflect.Slice && !v.IsNil() && (v.Type().Elem().Kind() == reflect.Struct || v.Type().Elem().Kind() == reflect.Pointer):
		return s.each(items{v.Len(), func(i int) any { return v.Index(i).Interface() }}, indent)
	}
	return s.encode(v.Interface(), indent)
}

// fields writes the fields of a struct, and those of structs that are embedded in it. first is whether nothing was written of the struct.
func (s *stream) fields(v reflect.Value, indent string, first *bool) error {
	outermost := s.list
	s.list = ""
	for i := range v.NumField() {
		field, of := v.Field(i), v.Type().Field(i)
		tag, options, _ := strings.Cut(of.Tag.Get("json"), ",")
		if of.Anonymous && tag == "" && field.Kind() == reflect.Struct && !encodesItself(field) {
			if err := s.fields(field, indent, first); err != nil {
				return err
			}
			continue
		}
		if tag == "-" || !of.IsExported() || strings.Contains(options, "omit") && isEmpty(field) {
			continue
		}
		if tag == "" {
			tag = of.Name
		}
		if *first {
			s.out.WriteByte('{')
		} else {
			s.out.WriteByte(',')
		}
		*first = false
		fmt.Fprintf(s.out, "%s  %q: ", indent, tag)
		var err error
		if tag == outermost {
			err = s.each(s.items, indent+"  ")
		} else {
			err = s.value(field, indent+"  ")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// each writes a list.
func (s *stream) each(l lister, indent string) error {
	if l.Len() == 0 {
		s.out.WriteString("[]")
		return nil
	}
	s.out.WriteByte('[')
	for i := range l.Len() {
		if i > 0 {
			s.out.WriteByte(',')
		}
		s.out.WriteString(indent + "  ")
		if err := s.encode(l.item(i), indent+"  "); err != nil {
			return err
		}
	}
	_, err := s.out.WriteString(indent + "]")
	return err
}

// encode writes a value at once.
func (s *stream) encode(v any, indent string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent(indent[1:], "  ")
	if err := e.Encode(WithLists(v)); err != nil {
		return err
	}
	_, err := s.out.Write(JoinNumbers(bytes.TrimSuffix(b.Bytes(), []byte("\n"))))
	return err
}

// encodesItself reports whether a value has an encoding of its own.
func encodesItself(v reflect.Value) bool {
	return v.Type().Implements(reflect.TypeFor[json.Marshaler]()) && !v.Type().Implements(reflect.TypeFor[lister]()) || v.Type().Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

// isEmpty reports whether encoding/json omits a value.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		l, ok := v.Interface().(lister)
		return ok && l.Len() == 0
	}
	return v.IsZero()
}
