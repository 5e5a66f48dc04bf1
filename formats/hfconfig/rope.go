package hfconfig

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// The objects that have the parameters of the rotary embedding in transformers 5. Of a file that has both, RopeScaling is read, unless
// it is empty.
const (
	RopeParameters = "rope_parameters"
	RopeScaling    = "rope_scaling"
)

// layerKinds are names under which transformers 5.23 takes separate parameters for the layers of a kind. A model of this family
// cannot have them: it fails to load.
var layerKinds = []string{"linear_attention", "sliding_attention"}

// rope sets the parameters of the rotary embedding. transformers 4.57 reads those at the top level. 5.23 reads those in the object,
// those that it lacks at the top level, and takes its defaults for the rest. (Measured.)
func (c *Config) rope(object *strictjson.Object) error {
	for _, f := range c.Rope4.numbers() {
		value, ok := object.Get(f.name)
		if !ok || value == nil && f.name == "partial_rotary_factor" {
			continue
		}
		if err := assign(f.to, value); err != nil {
			return tensor.Bad("field %q is %v", f.name, err)
		}
	}
	c.Rope = c.Rope4
	if value, ok := object.Get("partial_rotary_factor"); ok && value == nil {
		c.Rope.PartialFactor, c.Rope4.PartialFactor = 1, 0 // 5.23 takes 1, and 4.57 fails
	}
	name, inner, err := ropeObject(object)
	if err != nil || inner == nil {
		return err
	}
	for _, f := range c.Rope.numbers() {
		if value, ok := inner.Get(f.name); ok {
			if err := assign(f.to, value); err != nil {
				return tensor.Bad("field %q is %v", name+"."+f.name, err)
			}
		}
	}
	for _, key := range inner.Keys() {
		value, _ := inner.Get(key)
		if slices.Contains(layerKinds, key) {
			return tensor.Bad("field %q has parameters for one kind of layers, with which transformers 5.23 fails", name+"."+key)
		}
		if key == "rope_type" || key == "type" && !has(inner, "rope_type") {
			if err := assign(&c.Rope.Type, value); err != nil {
				return tensor.Bad("field %q is %v", name+"."+key, err)
			}
		}
	}
	return nil
}

// ropeField is a field of Rope by its name in config.json.
type ropeField struct {
	name string
	to   *float64
}

func (r *Rope) numbers() []ropeField {
	return []ropeField{{"rope_theta", &r.Theta}, {"partial_rotary_factor", &r.PartialFactor}}
}

func has(object *strictjson.Object, key string) bool {
	_, ok := object.Get(key)
	return ok
}

// ropeObject returns the object that transformers 5.23 reads; nil if there is none.
func ropeObject(object *strictjson.Object) (name string, inner *strictjson.Object, err error) {
	for _, name := range []string{RopeScaling, RopeParameters} {
		value, _ := object.Get(name)
		if value == nil {
			continue
		}
		inner, ok := value.(*strictjson.Object)
		if !ok {
			return "", nil, tensor.Bad("field %q is %s, not an object", name, strictjson.Describe(value))
		}
		if len(inner.Keys()) > 0 {
			return name, inner, nil
		}
	}
	return "", nil, nil
}

// Decimal writes a number without an exponent, as people write those of a configuration.
func Decimal(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// ropeNotes says where transformers 4.57 and 5.23 rotate queries and keys differently.
func (c *Config) ropeNotes() []string {
	var notes []string
	newer, older := c.Rope.numbers(), c.Rope4.numbers()
	for i, f := range newer {
		switch old := *older[i].to; {
		case *f.to == old:
		case old == 0:
			notes = append(notes, fmt.Sprintf("%s is null: transformers 5.23 rotates all of each head, and 4.57 fails", f.name))
		default:
			notes = append(notes, fmt.Sprintf("%s is %s for transformers 5.23, which reads it in rope_parameters, and %s for 4.57, which reads it at the top level only", f.name, Decimal(*f.to), Decimal(old)))
		}
	}
	return notes
}
