package strictjson

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Object is a JSON object with its keys in order.
type Object struct {
	keys   []string
	values []any
	index  map[string]int // nil while there are few keys
}

// Keys returns the keys in the order of the text. The caller does not change the slice.
func (o *Object) Keys() []string { return o.keys }

// Len returns the number of keys.
func (o *Object) Len() int { return len(o.keys) }

// Get returns the value of exactly that key, and false if there is none.
func (o *Object) Get(key string) (any, bool) {
	if o.index != nil {
		i, ok := o.index[key]
		if !ok {
			return nil, false
		}
		return o.values[i], true
	}
	for i, k := range o.keys {
		if k == key {
			return o.values[i], true
		}
	}
	return nil, false
}

func (o *Object) add(key string, value any) {
	o.keys = append(o.keys, key)
	o.values = append(o.values, value)
	if o.index != nil {
		o.index[key] = len(o.keys) - 1
		return
	}
	if len(o.keys) > fewKeys {
		o.index = make(map[string]int, 4*fewKeys)
		for i, k := range o.keys {
			o.index[k] = i
		}
	}
}

// Parse returns the value of a JSON text: *Object, []any, string, json.Number, bool or nil. Arrays and objects may nest
// maxDepth deep; a scalar has depth 0. Memory is proportional to the text, at most about fifty times its size.
func Parse(data []byte, maxDepth int) (any, error) {
	d := NewDecoder(data, maxDepth)
	v, err := d.value()
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Check checks a JSON text as Parse does, without keeping its values.
func Check(data []byte, maxDepth int) error {
	d := NewDecoder(data, maxDepth)
	if err := d.Skip(); err != nil {
		return err
	}
	return d.End()
}

// value reads a value of any kind, as Parse returns it.
func (d *Decoder) value() (any, error) {
	switch d.Peek() {
	case KindObject:
		o := &Object{}
		err := d.Object(func(key string) error {
			v, err := d.value()
			o.add(key, v)
			return err
		})
		return o, err
	case KindArray:
		list := []any{}
		err := d.Array(func() error {
			v, err := d.value()
			list = append(list, v)
			return err
		})
		return list, err
	case KindString:
		return d.String()
	case KindNumber:
		return d.Number()
	case KindBool:
		return d.Bool()
	case KindNull:
		return nil, d.Null()
	}
	return nil, d.unexpected("a value")
}

// Int returns the value of a number that is written as an integer, without fraction and exponent, and fits an int64.
func Int(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := strconv.ParseInt(string(n), 10, 64)
	return i, err == nil
}

// Describe returns a value of Parse for use in a message: strings are quoted and shortened, arrays and objects are not
// spelled out.
func Describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case *Object:
		return "an object"
	case []any:
		return "a list"
	case string:
		return quote(v)
	}
	return shorten([]byte(fmt.Sprint(v)))
}
