package dcp

import (
	"io"
	"slices"
	"sort"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/assemble"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// Limits of .metadata. It has some 200 bytes for each chunk, and the table of the chunks some 60.
const (
	maxMetadata       = 1 << 30  // bytes of the pickle
	maxMetadataMemory = 96 << 20 // bytes of memory
)

// metadata is what .metadata says of the model's tensors.
type metadata struct {
	tensors []*entry // in its order
	byName  map[string]*entry
	files   []string // that hold chunks
	fileOf  map[string]int32
	version string

	selection
	selected bool // whether it is known which tensors are the model's
}

// entry is a tensor.
type entry struct {
	name    string // fully qualified, as in .metadata
	dtype   tensor.DType
	problem *tensor.FormatError // why it cannot be read, nil for nothing
	shape   []int64
	chunks  int
	boxes   []int64 // of each chunk the offsets, then the sizes; sorted
	places  []place // of each chunk, nil for tensors that are not the model's
}

// place is where a chunk is stored; it has the length 0 if that is not known.
type place struct {
	offset, length int64
	file           int32
}

// dropMissing drops the chunks of which it is not known where they are stored.
func (e *entry) dropMissing() {
	kept := 0
	for i, p := range e.places {
		if p.length > 0 {
			(*byBox)(e).Swap(kept, i)
			e.places[kept] = p
			kept++
		}
	}
	e.places = e.places[:kept]
}

func (e *entry) box(i int) assemble.Box {
	rank := len(e.shape)
	b := e.boxes[2*rank*i : 2*rank*(i+1)]
	return assemble.Box{Offsets: b[:rank:rank], Sizes: b[rank:]}
}

// readMetadata reads .metadata.
func readMetadata(file io.ReaderAt, size int64) (*metadata, error) {
	m := &metadata{byName: map[string]*entry{}, fileOf: map[string]int32{}, selection: newSelection()}
	r, err := pickle.Read(file, 0, size, pickle.Config{
		Names: classes, Item: m.item, MaxBytes: maxMetadata, MaxMemory: maxMetadataMemory,
	})
	if err != nil {
		return nil, err
	}
	root, ok := r.Value.(*root)
	if !ok {
		return nil, tensor.Bad("is not the metadata of a distributed checkpoint of torch")
	}
	m.version = root.version
	m.selectModel()
	return m, nil
}

// item takes the entries of the dicts of .metadata as they are read, so that what they are made of need
// not be kept.
func (m *metadata) item(key, value any) (taken bool, kept int64, err error) {
	switch k := key.(type) {
	case string:
		switch v := value.(type) {
		case *tensorStorage:
			kept, err = m.addTensor(k, v)
			return true, kept, err
		case *bytesStorage:
			m.addOther(k)
			return true, perName + int64(len(k)), nil
		case *pickle.Tuple: // in planner_data: the keys that lead to the value
			m.addPath(k, v)
			return true, perName + int64(len(k)), nil
		}
	case *index:
		if v, ok := value.(*location); ok {
			kept, err = m.addLocation(k, v)
			return true, kept, err
		}
	}
	return false, 0, nil
}

// Memory in bytes that the tables take.
const (
	perName  = 160
	perEntry = 400
	perPlace = 24
)

func (m *metadata) addTensor(name string, t *tensorStorage) (kept int64, err error) {
	if m.byName[name] != nil {
		return 0, tensor.Bad("two tensors of one name").Of(tensor.Clip(name))
	}
	e := &entry{name: name, dtype: t.dtype, problem: t.problem, shape: t.size, chunks: t.chunks, boxes: t.boxes}
	if t.problem == nil {
		if _, _, err := tensor.SizeOf(t.dtype, t.size); err != nil {
			return 0, tensor.Annotate(err, tensor.Location{Tensor: tensor.Clip(name)})
		}
	}
	sort.Sort((*byBox)(e))
	m.tensors = append(m.tensors, e)
	m.byName[name] = e
	return perEntry + int64(len(name)) + 8*int64(len(t.boxes)), nil
}

func (m *metadata) addLocation(k *index, l *location) (kept int64, err error) {
	m.selectModel()
	e := m.byName[k.name]
	if e == nil || !m.isModel(e.name) || e.problem != nil {
		return 0, nil
	}
	name := tensor.Clip(e.name)
	if l.transformed != "" {
		return 0, tensor.Bad("a chunk is stored through the transformation %q, which griffin does not know", tensor.Clip(l.transformed)).Of(name)
	}
	file, seen := m.fileOf[l.path]
	if !seen {
		if err := checkPath(l.path); err != nil {
			return 0, tensor.Annotate(err, tensor.Location{Tensor: name})
		}
		file = int32(len(m.files))
		m.files, m.fileOf[l.path] = append(m.files, l.path), file
		kept = 2*perName + 2*int64(len(l.path))
	}
	if l.offset < 0 || l.length <= 0 || l.offset > l.offset+l.length {
		return 0, tensor.Bad("a chunk has %d bytes at offset %d of %s", l.length, l.offset, l.path).Of(name)
	}
	n := e.chunks
	if e.places == nil {
		e.places = make([]place, n)
		kept += perPlace * int64(n)
	}
	if len(k.offsets) != len(e.shape) {
		return 0, tensor.Bad("a chunk has %d offsets, the tensor %d axes", len(k.offsets), len(e.shape)).Of(name)
	}
	for i := sort.Search(n, func(i int) bool { return slices.Compare(e.box(i).Offsets, k.offsets) >= 0 }); i < n && slices.Equal(e.box(i).Offsets, k.offsets); i++ {
		e.places[i] = place{l.offset, l.length, file}
	}
	return kept, nil
}

// byBox sorts the chunks of a tensor.
type byBox entry

func (b *byBox) Len() int { return b.chunks }

func (b *byBox) row(i int) []int64 { return b.boxes[2*len(b.shape)*i : 2*len(b.shape)*(i+1)] }

func (b *byBox) Less(i, j int) bool { return slices.Compare(b.row(i), b.row(j)) < 0 }

func (b *byBox) Swap(i, j int) {
	x, y := b.row(i), b.row(j)
	for k := range x {
		x[k], y[k] = y[k], x[k]
	}
}

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
	return perName, nil
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
		return 0, tensor.Bad("tensor without an element type")
	}
	if name, ok := layout.(string); ok && name != "torch.strided" {
		p.problem = tensor.Bad("has the layout %s, which griffin does not read", tensor.Clip(name)).Because(savefile.Unreadable)
	}
	return perName, nil
}

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
	properties
	size   []int64
	chunks int
	boxes  []int64 // of each chunk the offsets, then the sizes
}

// SetState implements pickle.Stateful.
func (t *tensorStorage) SetState(state any) (int64, error) {
	p, ok := pickle.Attribute(state, "properties").(*properties)
	size, sizeOK := pickle.Attribute(state, "size").([]int64)
	chunks, chunksOK := pickle.Attribute(state, "chunks").(*pickle.List)
	if !ok || !sizeOK || !chunksOK {
		return 0, tensor.Bad("tensor without its properties, size and chunks")
	}
	if len(size) > savefile.MaxRank {
		return 0, tensor.Bad("tensor of %d axes; torch has at most %d", len(size), savefile.MaxRank)
	}
	t.properties, t.size, t.chunks = *p, size, len(chunks.Items)
	t.boxes = make([]int64, 0, 2*len(size)*len(chunks.Items))
	for _, item := range chunks.Items {
		c, ok := item.(*chunkStorage)
		if !ok || len(c.sizes) != len(size) {
			return 0, tensor.Bad("tensor of %d axes has a chunk that is not of as many", len(size))
		}
		t.boxes = append(append(t.boxes, c.offsets...), c.sizes...)
	}
	return perEntry + 8*int64(len(t.boxes)), nil
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
