package pickle

import (
	"math/big"
	"strconv"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// The value of a pickle is one of: nil, bool, int64, *big.Int, float64, string, Bytes, *Tuple, *List,
// *Dict, *Set, *Global, *Object, what Config.Names and its Funcs give, and what Config.Persistent gives.
// Containers are pointers, since a pickle can put one container into several others or into itself.

// Show returns a value as a message shows it: a number or a text (clipped) as such, of any other value its kind.
func Show(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return map[bool]string{false: "False", true: "True"}[v]
	case int64:
		return strconv.FormatInt(v, 10)
	case *big.Int:
		return "a number of " + strconv.Itoa(v.BitLen()) + " bits"
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return strconv.Quote(tensor.Clip(v))
	case *Tuple:
		return "a tuple"
	case *List:
		return "a list"
	case *Dict:
		return "a dict"
	}
	return "an object"
}

// Bytes is a byte string or bytearray, of which only the length is kept.
type Bytes int64

// Tuple is a tuple.
type Tuple struct{ Items []any }

// List is a list.
type List struct{ Items []any }

// Set is a set or frozenset. The order of its items means nothing.
type Set struct {
	From   any // what it was made from, nil for nothing
	Items  []any
	Frozen bool // a frozenset, which can be the key of a dict
}

// Dict is a dict. Its entries are in the order in which they were added; a key can occur twice.
type Dict struct {
	Class   *Global // what was called to make it, nil for a plain dict
	From    any     // what it was made from: pairs or another dict, nil for nothing
	Entries []Entry
}

// Entry is a key of a dict with its value.
type Entry struct{ Key, Value any }

// Get returns the value of a text key, the last one that was added, or nil.
func (d *Dict) Get(key string) any {
	for i := len(d.Entries) - 1; i >= 0; i-- {
		if k, ok := d.Entries[i].Key.(string); ok && k == key {
			return d.Entries[i].Value
		}
	}
	return nil
}

// Global is a class, function or constant as a pickle names it.
type Global struct{ Module, Name string }

// String returns the name with its module: "argparse.Namespace".
func (g Global) String() string { return g.Module + "." + g.Name }

// Object is an instance of a class that the caller does not know, or the result of a function that
// it does not know. Nothing was called: Object holds what the pickle gives.
type Object struct {
	Class   any // *Global, or *Object for what a call returned
	Args    *Tuple
	Named   *Dict   // named arguments, nil if there are none
	State   any     // nil if there is none
	Items   []any   // appended to it
	Entries []Entry // set in it
}

// isNew reports whether nothing was given to the object, as when a pickler puts an instance into the memo.
func (o *Object) isNew() bool {
	return len(o.Args.Items) == 0 && o.Named == nil && o.State == nil && len(o.Items) == 0 && len(o.Entries) == 0
}

// Name returns the full name of the class or function that the object was made of.
func (o *Object) Name() string {
	for {
		switch c := o.Class.(type) {
		case *Global:
			return c.String()
		case *Object:
			o = c
		default:
			return "an unknown class"
		}
	}
}

// Attribute returns the attribute of that name from the state that Python gives to instances by
// default: a dict, or a pair of a dict or None and the dict of slots. It returns nil if there is none.
func (o *Object) Attribute(name string) any { return Attribute(o.State, name) }

// Attribute is Object.Attribute for a state.
func Attribute(state any, name string) any {
	switch s := state.(type) {
	case *Dict:
		return s.Get(name)
	case *Tuple:
		if len(s.Items) != 2 {
			return nil
		}
		for _, part := range s.Items {
			if d, ok := part.(*Dict); ok {
				if v := d.Get(name); v != nil {
					return v
				}
			}
		}
	}
	return nil
}
