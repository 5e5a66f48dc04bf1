package dcp

import (
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
)

// Limits of .metadata. It has some 200 bytes for each chunk, and the table of the chunks 16.
const (
	maxMetadata       = 1 << 30  // bytes of the pickle
	maxMetadataMemory = 96 << 20 // bytes of memory
	maxChunks         = 1 << 21  // of the model's tensors
)

// metadata is what .metadata says of the model's tensors.
type metadata struct {
	tensors []*entry // in its order
	others  []*entry // values that are not tensors
	byName  map[string]*entry
	grids   grids
	places  places
	files   []string // that hold chunks
	fileOf  map[string]int
	version string

	selection
}

// entry is a name in .metadata. There can be 200,000 tensors, so that it is kept small.
type entry struct {
	name        string // fully qualified
	keys        *keys  // the first keys that lead to it, nil if it is the only one
	*grid              // of a tensor, nil if it is not the model's
	*properties        // of a tensor
	first       int    // of the places of its chunks, 0 if none is known
}

// placed returns the number of places of the entry.
func (e *entry) placed() int {
	if e.first == 0 || e.grid == nil {
		return 0
	}
	return e.chunks
}

// readMetadata reads .metadata.
func readMetadata(file io.ReaderAt, size int64) (*metadata, error) {
	m := &metadata{byName: map[string]*entry{}, grids: newGrids(), fileOf: map[string]int{}, selection: selection{known: map[keys]*keys{}}}
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
	m.byName = nil
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
			e, kept := m.entry(k)
			m.others = append(m.others, e)
			return true, kept, nil
		case *pickle.Tuple: // in planner_data: the keys that lead to the value
			return true, m.addPath(k, v), nil
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
	perEntry      = 144
	perFile       = 320
	perPlace      = 16
	memoryProblem = 512
)

// entry returns the entry of a name, and the memory that it takes if it is new.
func (m *metadata) entry(name string) (e *entry, kept int64) {
	if e = m.byName[name]; e != nil {
		return e, 0
	}
	e = &entry{name: name}
	m.byName[name] = e
	return e, perEntry + int64(len(name))
}

func (m *metadata) addTensor(name string, t *tensorStorage) (kept int64, err error) {
	e, kept := m.entry(name)
	if e.properties != nil {
		return 0, tensor.Bad("two tensors of one name").Of(tensor.Clip(name))
	}
	if t.properties == nil { // the pickle has made the object and not set its state
		return 0, errNoProperties().Of(tensor.Clip(name))
	}
	if t.problem == nil {
		if _, _, err := tensor.SizeOf(t.dtype, t.grid.shape); err != nil {
			return 0, tensor.Annotate(err, tensor.Location{Tensor: tensor.Clip(name)})
		}
	}
	if e.properties = t.properties; t.problem != nil {
		kept += memoryProblem
	}
	if !m.selected || m.isModel(e) {
		var n int64
		e.grid, n = m.grids.shared(t.grid)
		kept += n
	}
	m.tensors = append(m.tensors, e)
	return kept, nil
}

func (m *metadata) addLocation(k *index, l *location) (kept int64, err error) {
	m.selectModel()
	e := m.byName[k.name]
	if e == nil || e.grid == nil || e.problem != nil {
		return 0, nil
	}
	name := tensor.Clip(e.name)
	if l.transformed != "" {
		return 0, tensor.Bad("a chunk is stored through the transformation %q, which griffin does not know", tensor.Clip(l.transformed)).Of(name)
	}
	if l.offset < 0 || l.length <= 0 || l.length > maxLength || l.offset > l.offset+l.length {
		return 0, tensor.Bad("a chunk has %d bytes at offset %d of %s", l.length, l.offset, tensor.Clip(l.path)).Of(name)
	}
	if len(k.offsets) != len(e.shape) {
		return 0, tensor.Bad("a chunk has %d offsets, the tensor %d axes", len(k.offsets), len(e.shape)).Of(name)
	}
	file, kept, err := m.file(l.path)
	if err != nil {
		return 0, tensor.Annotate(err, tensor.Location{Tensor: name})
	}
	if e.first == 0 {
		if m.places.n+e.chunks > maxChunks {
			return 0, tensor.Bad("more than %d chunks, which is the most that griffin reads", maxChunks).Because(tensor.TooLarge)
		}
		e.first = m.places.add(e.chunks)
		kept += perPlace * int64(e.chunks)
	}
	for i := e.find(k.offsets); i < e.chunks && slices.Equal(e.box(i).Offsets, k.offsets); i++ {
		*m.places.at(e.first + i) = newPlace(l.offset, l.length, file)
	}
	return kept, nil
}

// file returns the index of a file, and the memory that it takes if it is new.
func (m *metadata) file(path string) (index int, kept int64, err error) {
	index, seen := m.fileOf[path]
	if seen {
		return index, 0, nil
	}
	if err := checkPath(path); err != nil {
		return 0, 0, err
	}
	if index = len(m.files); index == 1<<fileBits {
		return 0, 0, tensor.Bad("more than %d files of ranks", index).Because(tensor.TooLarge)
	}
	m.files, m.fileOf[path] = append(m.files, path), index
	return index, perFile + 2*int64(len(path)), nil
}

// dropMissing drops the chunks of a tensor of which it is not known where they are stored.
func (m *metadata) dropMissing(e *entry) {
	known := &grid{shape: e.shape}
	for i := range e.placed() {
		if !m.places.at(e.first + i).unknown() {
			*m.places.at(e.first + known.chunks) = *m.places.at(e.first + i)
			known.add(e.box(i))
		}
	}
	if known.chunks < e.chunks {
		e.grid, _ = m.grids.shared(known)
	}
}
