package zarr

import (
	"fmt"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// bad is tensor.Bad.
func bad(format string, args ...any) *tensor.FormatError { return tensor.Bad(format, args...) }

const (
	maxDocument = 1 << 20 // bytes of a metadata document
	maxDepth    = 64      // nesting
	maxRank     = 32      // axes, as in TensorStore
)

// object is a JSON object of a metadata document, with its name for errors.
type object struct {
	*strictjson.Object
	name string
}

// parseObject parses a document.
func parseObject(text []byte) (object, error) {
	v, err := strictjson.Parse(text, maxDepth)
	if err != nil {
		return object{}, tensor.AdviseIfSilent(err, "the metadata may be damaged: download or copy it again")
	}
	return asObject(v, "the document")
}

func asObject(v any, name string) (object, error) {
	o, ok := v.(*strictjson.Object)
	if !ok {
		return object{}, bad("%s is not an object", name)
	}
	return object{o, name}, nil
}

// need returns a required member.
func (o object) need(key string) (any, error) {
	v, ok := o.Get(key)
	if !ok {
		return nil, bad("%s has no %q", o.name, key)
	}
	return v, nil
}

// str returns a required string.
func (o object) str(key string) (string, error) {
	v, err := o.need(key)
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", bad("%q is not a string", key)
	}
	return s, nil
}

// oneOf returns a member that is one of the given strings, by default the first of them.
func (o object) oneOf(key string, values ...string) (string, error) {
	v, ok := o.Get(key)
	if !ok {
		return values[0], nil
	}
	for _, s := range values {
		if v == s {
			return s, nil
		}
	}
	return "", bad("%q is %v, not %q", key, strictjson.Describe(v), values)
}

// sizes returns a required array of integers of at least least.
func (o object) sizes(key string, least int64) ([]int64, error) {
	v, err := o.need(key)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok || len(list) > maxRank {
		return nil, bad("%q is not an array of at most %d numbers", key, maxRank)
	}
	sizes := make([]int64, len(list))
	for i, v := range list {
		if sizes[i], ok = strictjson.Int(v); !ok || sizes[i] < least {
			return nil, bad("%q has the item %v, not an integer of at least %d", key, strictjson.Describe(v), least)
		}
	}
	return sizes, nil
}

// format checks the member zarr_format.
func (o object) format(version int64) error {
	v, err := o.need("zarr_format")
	if err != nil {
		return err
	}
	if n, ok := strictjson.Int(v); !ok || n != version {
		return bad("zarr_format is %v, not %d", strictjson.Describe(v), version)
	}
	return nil
}

// keyStyle is the form of the keys of chunks.
type keyStyle struct {
	prefix    string // before the indices, with separator: "c/" or ""
	separator string
	scalar    string // key of the chunk of an array without axes
}

// key returns the key of a chunk.
func (k keyStyle) key(index []int64) string {
	if len(index) == 0 {
		return k.scalar
	}
	var b strings.Builder
	b.WriteString(k.prefix)
	for i, n := range index {
		if i > 0 {
			b.WriteString(k.separator)
		}
		fmt.Fprint(&b, n)
	}
	return b.String()
}
