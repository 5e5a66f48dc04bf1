package orbax

import (
	"slices"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// maxMetadata bounds _METADATA, which takes about 400 bytes per leaf.
const maxMetadata = 96 << 20

// maxJSONDepth bounds the nesting of all JSON files. Custom metadata may nest.
const maxJSONDepth = 200

// metadata is the content of _METADATA.
type metadata struct {
	leaves   []*leaf
	useOCDBT *bool // nil if not given
	zarr     int   // version
}

// The values of key_type.
const (
	sequenceKey = 1
	dictKey     = 2
)

// valueTypes are the kinds of leaves by value_type. Python scalars are arrays without axes.
var valueTypes = map[string]leafKind{
	"jax.Array":  arrayLeaf,
	"np.ndarray": arrayLeaf,
	"scalar":     arrayLeaf,
	"string":     textLeaf,
	"None":       noneLeaf,
	"Dict":       emptyLeaf,
	"List":       emptyLeaf,
	"Tuple":      emptyLeaf,
	"NamedTuple": emptyLeaf,
}

// parseMetadata parses _METADATA and checks the tree.
func parseMetadata(d *strictjson.Decoder) (*metadata, error) {
	m := &metadata{zarr: 2}
	hasTree, size := false, treeSize{}
	known := keys{}
	err := d.Object(func(member string) (err error) {
		switch member {
		case "tree_metadata":
			hasTree = true
			// The key is Python's repr of the path, which Orbax does not read either.
			return d.Object(func(repr string) error {
				l, err := parseLeaf(d, known)
				if err != nil {
					return err
				}
				m.leaves = append(m.leaves, l)
				return size.add(l)
			})
		case "use_ocdbt":
			m.useOCDBT, err = optionalBool(d)
		case "use_zarr3":
			var use *bool
			use, err = optionalBool(d)
			if use != nil && *use {
				m.zarr = 3
			}
		default:
			err = d.Skip()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := d.End(); err != nil {
		return nil, err
	}
	if !hasTree {
		return nil, tensor.Bad("no tree_metadata")
	}
	if err := checkTree(m.leaves); err != nil {
		return nil, err
	}
	for _, l := range m.leaves {
		l.path = nil
	}
	return m, nil
}

// parseLeaf reads {"key_metadata": …, "value_metadata": …}. Its keys are those of known, or are added.
func parseLeaf(d *strictjson.Decoder, known keys) (*leaf, error) {
	var (
		l              leaf
		at             = d.Offset()
		hasKey, hasVal bool
	)
	err := d.Object(func(member string) error {
		switch member {
		case "key_metadata":
			hasKey = true
			return d.Array(func() error {
				k, err := parseKey(d)
				if l.path = append(l.path, known.add(k)); len(l.path) > maxPath {
					return tensor.Bad("path has more than %d keys", maxPath).At(d.Offset())
				}
				return err
			})
		case "value_metadata":
			hasVal = true
			return l.parseValue(d)
		}
		return d.Skip()
	})
	if err == nil && (!hasKey || !hasVal) {
		err = tensor.Bad("leaf has no key_metadata or no value_metadata").At(at)
	}
	l.path = slices.Clone(l.path) // without unused capacity: there may be very many
	l.setName()
	l.array = l.name
	return &l, err
}

// parseKey reads {"key": "params", "key_type": 2}.
func parseKey(d *strictjson.Decoder) (k key, err error) {
	var (
		at       = d.Offset()
		keyType  int64
		hasText  bool
		wrongKey = func() error { return tensor.Bad("key_type %d is neither 1 (index) nor 2 (key)", keyType).At(at) }
	)
	err = d.Object(func(member string) (err error) {
		switch member {
		case "key":
			hasText = true
			k.text, err = d.String()
		case "key_type":
			keyType, err = d.Uint()
		default:
			err = d.Skip()
		}
		return err
	})
	switch {
	case err != nil:
	case !hasText:
		err = tensor.Bad("key_metadata has no key").At(at)
	case keyType == sequenceKey:
		k.index = true
	case keyType != dictKey:
		err = wrongKey()
	}
	return k, err
}

// parseValue reads {"value_type": "jax.Array", "skip_deserialize": false, "write_shape": [2, 3]}.
func (l *leaf) parseValue(d *strictjson.Decoder) error {
	var (
		at       = d.Offset()
		typeName string
		skip     bool
	)
	err := d.Object(func(member string) (err error) {
		switch member {
		case "value_type":
			typeName, err = d.String()
		case "skip_deserialize":
			skip, err = d.Bool()
		default: // write_shape is the shape of a shard on the writer's devices
			err = d.Skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	kind, known := valueTypes[typeName]
	if !known {
		return tensor.Bad("unknown value_type %.60q", typeName).At(at)
	}
	l.kind = kind
	l.aggregated = skip && kind == arrayLeaf
	return nil
}

// optionalBool reads true, false or null.
func optionalBool(d *strictjson.Decoder) (*bool, error) {
	if d.Peek() == strictjson.KindNull {
		return nil, d.Null()
	}
	b, err := d.Bool()
	return &b, err
}
