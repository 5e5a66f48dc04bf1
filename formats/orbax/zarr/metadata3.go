package zarr

import (
	"slices"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// membersV3 are the members of zarr.json that Open uses, and those that do not concern the elements. Others are
// refused unless they are marked as optional.
var membersV3 = []string{
	"zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs",
	"storage_transformers", "attributes", "dimension_names",
}

// parseV3 parses a zarr.json document.
func parseV3(text []byte) (*metadata, error) {
	o, err := parseObject(text)
	if err != nil {
		return nil, err
	}
	if err := o.format(3); err != nil {
		return nil, err
	}
	if err := knownMembers(o); err != nil {
		return nil, err
	}
	m := &metadata{}
	if m.shape, err = o.sizes("shape", 0); err != nil {
		return nil, err
	}
	name, err := o.str("data_type")
	if err != nil {
		return nil, err
	}
	if m.dtype = typesV3[name]; m.dtype == tensor.Invalid {
		return nil, bad("unknown data_type %s", strictjson.Describe(name))
	}
	if err := m.gridV3(o); err != nil {
		return nil, err
	}
	fill, err := o.need("fill_value")
	if err != nil {
		return nil, err
	}
	if m.fill, err = fillBytes(m.dtype, fill); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	codecs, err := o.need("codecs")
	if err != nil {
		return nil, err
	}
	m.encoding, err = parseCodecs(codecs, m.chunk, m.dtype)
	return m, err
}

// knownMembers refuses members that may change the meaning of the others.
func knownMembers(o object) error {
	if v, ok := o.Get("node_type"); !ok || v != "array" {
		return bad("node_type is not \"array\"")
	}
	if v, ok := o.Get("storage_transformers"); ok {
		if list, ok := v.([]any); !ok || len(list) > 0 {
			return bad("storage_transformers are not supported")
		}
	}
	for _, key := range o.Keys() {
		if slices.Contains(membersV3, key) {
			continue
		}
		v, _ := o.Get(key)
		if extension, ok := v.(*strictjson.Object); ok {
			if must, ok := extension.Get("must_understand"); ok && must == false {
				continue
			}
		}
		return bad("unknown member %s", strictjson.Describe(key))
	}
	return nil
}

// gridV3 parses chunk_grid and chunk_key_encoding.
func (m *metadata) gridV3(o object) error {
	grid, err := named(o, "chunk_grid", "regular")
	if err != nil {
		return err
	}
	if m.chunk, err = grid.sizes("chunk_shape", 1); err != nil {
		return err
	}
	keys, err := named(o, "chunk_key_encoding", "default", "v2")
	if err != nil {
		return err
	}
	if keys.name == "default" {
		sep, err := keys.oneOf("separator", "/", ".")
		m.keys = keyStyle{prefix: "c" + sep, separator: sep, scalar: "c"}
		return err
	}
	sep, err := keys.oneOf("separator", ".", "/")
	m.keys = keyStyle{separator: sep, scalar: "0"}
	return err
}

// named returns the configuration of a member {"name", "configuration"}, whose name must be one of the given
// names.
func named(o object, key string, names ...string) (object, error) {
	v, err := o.need(key)
	if err != nil {
		return object{}, err
	}
	name, configuration, err := extension(v, key)
	if err == nil && !slices.Contains(names, name) {
		err = bad("unknown %s %s", key, strictjson.Describe(name))
	}
	return configuration, err
}

// extension parses {"name", "configuration"}. The second member is optional.
func extension(v any, what string) (string, object, error) {
	o, err := asObject(v, what)
	if err != nil {
		return "", object{}, err
	}
	name, err := o.str("name")
	if err != nil {
		return "", object{}, err
	}
	configuration, ok := o.Get("configuration")
	if !ok {
		return name, object{&strictjson.Object{}, name}, nil
	}
	c, err := asObject(configuration, "configuration of "+strictjson.Describe(name))
	c.name = name
	return name, c, err
}

// parseCodecs parses the codecs of chunks of that shape: any number of transpose, then bytes or sharding_indexed,
// then any number of codecs from bytes to bytes.
func parseCodecs(v any, chunk []int64, d tensor.DType) (encoding, error) {
	var e encoding
	for i := range chunk {
		e.axes = append(e.axes, i)
	}
	list, ok := v.([]any)
	if !ok || len(list) > 16 {
		return e, bad("codecs are not an array of at most 16")
	}
	serialized := false // after bytes or sharding_indexed
	for _, item := range list {
		name, configuration, err := extension(item, "codec")
		if err != nil {
			return e, err
		}
		switch {
		case name == "transpose" && !serialized:
			e.axes, err = transpose(e.axes, configuration)
		case name == "bytes" && !serialized:
			serialized = true
			e.bigEndian, err = endian(configuration, d)
		case name == "sharding_indexed" && !serialized:
			serialized = true
			e.shard, err = parseShard(configuration, e.stored(chunk), d)
		case serialized && e.shard != nil:
			err = bad("codec %s around sharding_indexed is not supported", strictjson.Describe(name))
		case serialized:
			var c codec
			c, err = codecV3(name)
			e.codecs = append(e.codecs, c)
		default:
			err = bad("codec %s is unknown or not allowed here", strictjson.Describe(name))
		}
		if err != nil {
			return e, err
		}
	}
	if !serialized {
		return e, bad("codecs have neither bytes nor sharding_indexed")
	}
	return e, nil
}

// stored returns the shape of a chunk in the stored order of its axes.
func (e encoding) stored(chunk []int64) []int64 {
	shape := make([]int64, len(chunk))
	for j, a := range e.axes {
		shape[j] = chunk[a]
	}
	return shape
}

// transpose applies the codec: axis j of its result is axis order[j] of its input.
func transpose(axes []int, configuration object) ([]int, error) {
	order, err := configuration.sizes("order", 0)
	if err != nil {
		return nil, err
	}
	sorted := slices.Sorted(slices.Values(order))
	for i, o := range sorted {
		if o != int64(i) {
			return nil, bad("transpose order %s is not a permutation", tensor.ShapeString(order))
		}
	}
	if len(order) != len(axes) {
		return nil, bad("transpose order %s does not have %d axes", tensor.ShapeString(order), len(axes))
	}
	result := make([]int, len(axes))
	for j, o := range order {
		result[j] = axes[o]
	}
	return result, nil
}

// endian parses the byte order, which elements of one byte do not need.
func endian(configuration object, d tensor.DType) (big bool, err error) {
	order, err := configuration.oneOf("endian", "", "little", "big")
	if err == nil && order == "" && d.Size() > 1 {
		err = bad("codec bytes needs endian for %s", d)
	}
	return order == "big", err
}
