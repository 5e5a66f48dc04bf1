package dcp

import (
	"sort"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/assemble"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// The classes of .metadata, as far as they are of use: torch/distributed/checkpoint/metadata.py and
// filesystem.py of torch 2.15, and where torch 1.13 to 2.2 had them.
var classes = func() map[pickle.Global]any {
	all := map[pickle.Global]any{
		{Module: "torch", Name: "Size"}:                                                        &pickle.Func{Call: makeSize},
		{Module: "torch.serialization", Name: "_get_layout"}:                                   &pickle.Func{Call: firstText},
		{Module: "torch.distributed._shard.sharded_tensor.metadata", Name: "TensorProperties"}: class[properties](),
	}
	for _, package_ := range []string{"torch.distributed.checkpoint", "torch.distributed._shard.checkpoint"} {
		for name, c := range map[string]*pickle.Func{
			"Metadata": class[root](), "TensorStorageMetadata": class[tensorStorage](), "BytesStorageMetadata": class[bytesStorage](),
			"ChunkStorageMetadata": class[chunkStorage](), "TensorProperties": class[properties](), "MetadataIndex": class[index](),
			"_MEM_FORMAT_ENCODING": {Call: firstText},
		} {
			all[pickle.Global{Module: package_ + ".metadata", Name: name}] = c
		}
		all[pickle.Global{Module: package_ + ".filesystem", Name: "_StorageInfo"}] = class[location]()
	}
	for _, d := range savefile.DTypes {
		all[pickle.Global{Module: "torch", Name: d.String()}] = d
	}
	return all
}()

// class stands for a class whose instances are a T.
func class[T any]() *pickle.Func {
	return &pickle.Func{Call: func([]any) (any, error) { return new(T), nil }}
}

// makeSize stands for torch.Size: a []int64, or nil for what is none.
func makeSize(args []any) (any, error) {
	if len(args) != 1 {
		return []int64{}, nil
	}
	sizes, ok := savefile.Integers(args[0])
	if !ok {
		return nil, nil
	}
	return sizes, nil
}

// firstText stands for calls of which only a text argument is of interest.
func firstText(args []any) (any, error) {
	if len(args) > 0 {
		if text, ok := args[0].(string); ok {
			return text, nil
		}
	}
	return nil, nil
}

// root is a Metadata.
type root struct{ version string }

// SetState implements pickle.Stateful.
func (r *root) SetState(state any) (int64, error) {
	r.version, _ = pickle.Attribute(state, "version").(string)
	return int64(len(r.version)), nil
}

// bytesStorage is a BytesStorageMetadata: of a value that is not a tensor.
type bytesStorage struct{}

// SetState implements pickle.Stateful.
func (*bytesStorage) SetState(any) (int64, error) { return 0, nil }

// properties is a TensorProperties.
type properties struct {
	dtype   tensor.DType
	problem *tensor.FormatError
}

// SetState implements pickle.Stateful: (dtype, layout, …) or a dict.
func (p *properties) SetState(state any) (int64, error) {
	dtype, layout := pickle.Attribute(state, "dtype"), pickle.Attribute(state, "layout")
	if t, ok := state.(*pickle.Tuple); ok && len(t.Items) >= 2 && dtype == nil {
		dtype, layout = t.Items[0], t.Items[1]
	}
	switch d := dtype.(type) {
	case tensor.DType:
		p.dtype = d
	case *pickle.Global:
		p.problem = tensor.Bad("has elements of %s, which griffin does not read", tensor.Clip(d.String())).Because(savefile.Unreadable)
	default:
		return 0, errNoType()
	}
	if name, ok := layout.(string); ok && name != "torch.strided" {
		p.problem = tensor.Bad("has the layout %s, which griffin does not read", tensor.Clip(name)).Because(savefile.Unreadable)
	}
	return 160, nil
}

// shared returns equal properties that do not change, which all tensors of an element type share unless there is a problem.
func (p properties) shared() *properties {
	if p.problem == nil {
		return &sound[p.dtype]
	}
	return &p
}

// sound has the properties without a problem of each element type.
var sound = func() (all [1 << 8]properties) {
	for i := range all {
		all[i].dtype = tensor.DType(i)
	}
	return all
}()

// chunkStorage is a ChunkStorageMetadata.
type chunkStorage struct{ offsets, sizes []int64 }

// SetState implements pickle.Stateful.
func (c *chunkStorage) SetState(state any) (int64, error) {
	c.offsets, _ = pickle.Attribute(state, "offsets").([]int64)
	c.sizes, _ = pickle.Attribute(state, "sizes").([]int64)
	if len(c.offsets) != len(c.sizes) {
		return 0, tensor.Bad("chunk of %d offsets and %d sizes", len(c.offsets), len(c.sizes))
	}
	return 64 + 16*int64(len(c.sizes)), nil
}

// tensorStorage is a TensorStorageMetadata.
type tensorStorage struct {
	*properties
	grid *grid
}

// SetState implements pickle.Stateful.
func (t *tensorStorage) SetState(state any) (int64, error) {
	p, ok := pickle.Attribute(state, "properties").(*properties)
	size, sizeOK := pickle.Attribute(state, "size").([]int64)
	chunks, chunksOK := pickle.Attribute(state, "chunks").(*pickle.List)
	if !ok || !sizeOK || !chunksOK {
		return 0, errNoProperties()
	}
	if *p == (properties{}) { // its state was not set
		return 0, errNoType()
	}
	if len(size) > savefile.MaxRank {
		return 0, tensor.Bad("tensor of %d axes; torch has at most %d", len(size), savefile.MaxRank)
	}
	t.properties = p.shared()
	t.grid = &grid{shape: size, boxes: make([]int64, 0, 2*len(size)*len(chunks.Items))}
	for _, item := range chunks.Items {
		c, ok := item.(*chunkStorage)
		if !ok || len(c.sizes) != len(size) {
			return 0, tensor.Bad("tensor of %d axes has a chunk that is not of as many", len(size))
		}
		t.grid.add(assemble.Box{Offsets: c.offsets, Sizes: c.sizes})
	}
	sort.Sort(t.grid)
	return perGrid + t.grid.memory(), nil
}

func errNoType() *tensor.FormatError { return tensor.Bad("tensor without an element type") }

func errNoProperties() *tensor.FormatError {
	return tensor.Bad("tensor without its properties, size and chunks")
}

// index is a MetadataIndex: the name of a tensor and the offsets of one of its chunks.
type index struct {
	name    string
	offsets []int64
}

// SetState implements pickle.Stateful.
func (x *index) SetState(state any) (int64, error) {
	x.name, _ = pickle.Attribute(state, "fqn").(string)
	x.offsets, _ = pickle.Attribute(state, "offset").([]int64)
	return 64 + int64(len(x.name)) + 8*int64(len(x.offsets)), nil
}

// location is a _StorageInfo: where a chunk is stored.
type location struct {
	path           string
	offset, length int64
	transformed    string // the first of its transformations
}

// SetState implements pickle.Stateful.
func (l *location) SetState(state any) (int64, error) {
	var ok [3]bool
	l.path, ok[0] = pickle.Attribute(state, "relative_path").(string)
	l.offset, ok[1] = pickle.Attribute(state, "offset").(int64)
	l.length, ok[2] = pickle.Attribute(state, "length").(int64)
	if ok != [3]bool{true, true, true} {
		return 0, tensor.Bad("chunk without a path, an offset and a length")
	}
	switch t := pickle.Attribute(state, "transform_descriptors").(type) {
	case nil:
	case *pickle.List:
		l.transformed = transformation(t.Items)
	case *pickle.Tuple:
		l.transformed = transformation(t.Items)
	default:
		l.transformed = "unknown"
	}
	return 128, nil
}

// transformation returns the first of the transformations that a chunk is stored through, "" for none.
func transformation(descriptors []any) string {
	if len(descriptors) == 0 {
		return ""
	}
	if text, ok := descriptors[0].(string); ok {
		return text
	}
	return "unknown"
}
