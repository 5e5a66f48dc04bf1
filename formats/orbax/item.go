package orbax

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/flax"
	"github.com/griffin-ckpt/griffin/formats/orbax/zarr"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// contents is what was read of an item.
type contents struct {
	item
	tensors []*tensor.Tensor  // in the order of the tree
	leaves  []*leaf           // all leaves of the tree
	texts   map[string]string // of text leaves, by name
	notes   []string
	closers []io.Closer

	hasMetadata, hasAggregate bool // whether there is a _METADATA, a file "checkpoint"
	declaresOCDBT             bool // whether _METADATA says if the arrays are in a database, as since 0.5.16

	store    string         // where the arrays are: "OCDBT", "zarr directories" or ""
	versions map[string]int // arrays by zarr version
	codecs   map[string]int // arrays by codec
}

func (c *contents) close() {
	for _, x := range slices.Backward(c.closers) {
		x.Close()
	}
}

// itemReader reads an item.
type itemReader struct {
	*directory
	*contents
	documents zarr.Documents
	path      string // of the item, for errors
}

func newItemReader(d *directory, where item) *itemReader {
	return &itemReader{directory: d, path: d.in(where.dir),
		contents: &contents{item: where, versions: map[string]int{}, codecs: map[string]int{}}}
}

// read reads the structure of the item. The caller closes the closers, also after an error.
func (r *itemReader) read() error {
	if r.file != "" {
		return r.readAggregateOnly()
	}
	isArray, err := r.hasFile(r.dir, ".zarray", "zarr.json") // Orbax does not write such
	if err != nil {
		return err
	}
	if isArray {
		return r.readSingleArray()
	}
	meta, err := r.readMetadata()
	if err != nil {
		return err
	}
	aggregate := path.Join(r.dir, "checkpoint")
	if r.hasAggregate, err = r.isFile(aggregate); err != nil {
		return err
	}
	if r.hasMetadata = meta != nil; r.hasMetadata {
		r.leaves, r.declaresOCDBT = meta.leaves, meta.useOCDBT != nil
		err = r.findAggregated(aggregate)
	} else {
		meta = &metadata{}
		if r.hasAggregate {
			r.leaves, err = r.readAggregate(aggregate)
		}
	}
	if err != nil {
		return err
	}
	return r.readArrays(meta)
}

// readMetadata reads _METADATA. It returns nil if there is none.
func (r *itemReader) readMetadata() (*metadata, error) {
	name := path.Join(r.dir, "_METADATA")
	if info, err := r.stat(name); info == nil || err != nil {
		return nil, err
	}
	f, size, err := storage.Open(r.FS, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > maxMetadata {
		return nil, tensor.Bad("is longer than %d bytes", maxMetadata).Because(tensor.TooLarge).In(r.in(name))
	}
	meta, err := parseMetadata(strictjson.NewReader(io.LimitReader(f, size), maxJSONDepth))
	if tensor.ReasonOf(err) == tensor.TooLarge { // perhaps a long text in custom metadata, which is not read in parts
		text, failed := r.directory.read(name, maxMetadata)
		if text == nil || failed != nil {
			return nil, failed
		}
		meta, err = parseMetadata(strictjson.NewDecoder(text, maxJSONDepth))
	}
	return meta, tensor.AdviseIfSilent(r.annotate(err, name), "_METADATA may be damaged: download or copy it again")
}

// readAggregate reads the tree of a "checkpoint" file. The file stays open for the arrays in it.
func (r *itemReader) readAggregate(name string) ([]*leaf, error) {
	f, size, err := storage.Open(r.FS, name)
	if err != nil {
		return nil, err
	}
	r.closers = append(r.closers, f)
	root, err := flax.Parse(f, size)
	if err != nil {
		return nil, r.annotate(err, name)
	}
	leaves, err := treeLeaves(root)
	return leaves, r.annotate(err, name)
}

// findAggregated finds the arrays that, according to _METADATA, are in the file "checkpoint".
func (r *itemReader) findAggregated(name string) error {
	first := slices.IndexFunc(r.leaves, func(l *leaf) bool { return l.aggregated })
	if first < 0 {
		return nil
	}
	if !r.hasAggregate {
		return tensor.Bad("_METADATA says that the tensor is in a file named checkpoint, but there is none").
			In(r.in(r.dir)).Of(r.leaves[first].name)
	}
	leaves, err := r.readAggregate(name)
	if err != nil {
		return err
	}
	values := make(map[string]*tensor.Tensor, len(leaves))
	for _, l := range leaves {
		values[l.name] = l.value
	}
	for _, l := range r.leaves {
		if !l.aggregated {
			continue
		}
		if l.value = values[l.name]; l.value == nil {
			return tensor.Bad("not in this file, although _METADATA says so").In(r.in(name)).Of(l.name)
		}
	}
	return nil
}

// readAggregateOnly reads an item that is a single Flax file.
func (r *itemReader) readAggregateOnly() (err error) {
	if r.leaves, err = r.readAggregate(r.file); err != nil {
		return err
	}
	for _, l := range r.leaves {
		if l.kind == arrayLeaf && !l.aggregated {
			return tensor.Bad("a placeholder for an array in another file").In(r.in(r.file)).Of(l.name)
		}
		r.addAggregated(l)
	}
	return nil
}

// addAggregated adds an array of the file "checkpoint". Other leaves are left out.
func (c *contents) addAggregated(l *leaf) {
	if l.kind == arrayLeaf {
		l.value.Name = l.name
		c.tensors = append(c.tensors, l.value)
	}
}

// readArrays opens the arrays of all leaves, and notes the arrays that no leaf names.
func (r *itemReader) readArrays(meta *metadata) error {
	s, kind, err := r.openStore(r.dir, meta.useOCDBT)
	if err != nil {
		return err
	}
	r.closers = append(r.closers, s)
	stored, err := s.arrays()
	if err != nil {
		return err
	}
	if r.leaves == nil {
		if err := r.leavesOf(stored); err != nil {
			return err
		}
	}
	used := newUsage(stored)
	for _, l := range r.leaves {
		if l.kind != arrayLeaf || l.aggregated {
			r.addAggregated(l)
			continue
		}
		if !used.add(l) {
			return tensor.Bad("another leaf has the same array %.60q", l.array).In(r.in(r.dir)).Of(l.name)
		}
		r.store = kind
		if err := r.openArray(s, l, meta.zarr); err != nil {
			if fs.ValidPath(l.array) && !slices.Contains(stored, l.array) {
				err = tensor.Bad("in the tree, but not among the stored arrays").In(r.in(r.dir)).Of(l.name).Advise(incompleteHint)
			}
			return err
		}
	}
	s.forgetDocuments()
	r.noteUnnamed(used)
	return r.readTexts()
}

const incompleteHint = "the checkpoint may be incomplete: download or copy it again"

// leavesOf makes a leaf of each stored array, for an item without a tree.
func (r *itemReader) leavesOf(stored []string) error {
	if len(stored) == 0 {
		return tensor.Bad("no arrays").In(r.in(r.dir))
	}
	for _, name := range slices.Sorted(slices.Values(stored)) {
		r.leaves = append(r.leaves, &leaf{name: name, array: name})
	}
	r.notes = append(r.notes, "there is neither _METADATA nor a file checkpoint: tensors have the names of their arrays")
	return nil
}

// openArray opens an array of the store and checks that all its chunks exist.
func (r *itemReader) openArray(s store, l *leaf, version int) error {
	a, err := zarr.Open(s, l.array, zarr.Options{Version: version, EveryChunk: true, File: r.path, Documents: &r.documents})
	if err != nil {
		return r.annotateLeaf(err, l)
	}
	missing, err := a.MissingChunks(1)
	if err == nil && len(missing) > 0 {
		err = tensor.Bad("chunk %s is missing", missing[0]).Advise(incompleteHint)
	}
	if err != nil {
		return r.annotateLeaf(err, l)
	}
	r.add(l, a)
	return nil
}

// add adds an array of the store.
func (c *contents) add(l *leaf, a *zarr.Array) {
	c.versions[fmt.Sprintf("zarr v%d", a.Version)]++
	c.codecs[a.Codec()]++
	c.tensors = append(c.tensors, &tensor.Tensor{Name: l.name, DType: a.DType, Shape: a.Shape, Data: a})
}

// singleArray is the store of an item that is one zarr array.
const singleArray = "one zarr array"

// readSingleArray reads an item that is one zarr array. Chunks may be missing if it has a fill value.
func (r *itemReader) readSingleArray() error {
	s := zarr.DirStore(r.FS, r.dir)
	r.closers = append(r.closers, s)
	r.store = singleArray
	l := &leaf{name: "array"}
	r.leaves = []*leaf{l}
	a, err := zarr.Open(s, l.array, zarr.Options{File: r.path})
	if err != nil {
		return r.annotate(err, r.dir)
	}
	r.add(l, a)
	return nil
}

// annotateLeaf names the tensor in an error.
func (r *itemReader) annotateLeaf(err error, l *leaf) error {
	return tensor.Annotate(err, tensor.Location{File: r.in("."), Tensor: l.name})
}

// noteUnnamed notes the arrays that are in the store but not in the tree.
func (c *contents) noteUnnamed(used *usage) {
	var unnamed []string
	for i, name := range used.stored {
		if !used.named[i] {
			unnamed = append(unnamed, name)
		}
	}
	if len(unnamed) > 0 {
		c.notes = append(c.notes, fmt.Sprintf("arrays that are not in the tree are left out: %s",
			names(unnamed, func(s string) string { return s })))
	}
}

// maxTexts bounds _strings.json.
const maxTexts = 16 << 20

// readTexts reads the values of text leaves, which are in one JSON object.
func (r *itemReader) readTexts() error {
	wanted := make(map[string]bool)
	for _, l := range r.leaves {
		if l.kind == textLeaf {
			wanted[l.name] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	name := path.Join(r.dir, "_strings.json")
	text, err := r.directory.read(name, maxTexts)
	if text == nil || err != nil {
		return err
	}
	r.texts = map[string]string{}
	d := strictjson.NewDecoder(text, maxJSONDepth)
	err = d.Object(func(key string) error {
		value, err := d.String()
		if wanted[key] {
			r.texts[key] = value
		}
		return err
	})
	if err == nil {
		err = d.End()
	}
	return r.annotate(err, name)
}
