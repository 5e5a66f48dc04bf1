package orbax

import (
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/flax"
	"github.com/griffin-ckpt/griffin/formats/orbax/zarr"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// contents is what was read of an item.
type contents struct {
	item
	tensors []*tensor.Tensor  // in the order of the tree
	leaves  []*leaf           // all of the tree
	texts   map[string]string // of text leaves
	notes   []string
	closers []io.Closer

	hasMetadata, hasAggregate bool // the files that tell the tree
	tellsStore                bool // the first says whether the arrays are in a database: not before 0.5.16

	store    string         // where the arrays lie: "OCDBT", "zarr directories" or ""
	versions map[string]int // arrays by zarr version
	codecs   map[string]int // arrays by codec
}

func (c *contents) close() {
	for _, x := range slices.Backward(c.closers) {
		x.Close()
	}
}

// readItem reads the structure of an item. The caller closes the closers, also after an error.
func (t *tree) readItem(where item) (*contents, error) {
	c := &contents{item: where, versions: map[string]int{}, codecs: map[string]int{}}
	if where.file != "" {
		return c, t.readAggregateOnly(c)
	}
	plain, err := t.isPlainArray(where.dir)
	if err != nil {
		return c, err
	}
	if plain {
		return c, t.readPlainArray(c)
	}
	meta, err := t.readMetadata(where.dir)
	if err != nil {
		return c, err
	}
	c.hasMetadata = meta != nil
	file := join(where.dir, "checkpoint")
	if c.hasAggregate, err = t.isFile(file); err != nil {
		return c, err
	}
	if meta == nil {
		meta = &metadata{}
		if c.hasAggregate {
			meta.leaves, err = t.readAggregate(c, file)
		}
	}
	c.leaves, c.tellsStore = meta.leaves, meta.useOCDBT != nil
	if err == nil && c.hasMetadata {
		err = t.aggregatedValues(c, file)
	}
	if err == nil {
		err = t.readArrays(c, meta)
	}
	return c, err
}

// readMetadata returns nil where there is no _METADATA.
func (t *tree) readMetadata(dir string) (*metadata, error) {
	name := join(dir, "_METADATA")
	text, err := t.read(name, maxMetadata)
	if text == nil || err != nil {
		return nil, err
	}
	meta, err := parseMetadata(text)
	return meta, t.within(name, err)
}

// readAggregate reads the tree of a "checkpoint" file. The file stays open for the arrays in it.
func (t *tree) readAggregate(c *contents, name string) ([]*leaf, error) {
	f, size, err := t.open(name)
	if err != nil {
		return nil, err
	}
	c.closers = append(c.closers, f)
	root, err := flax.Parse(f, size)
	if err != nil {
		return nil, t.within(name, err)
	}
	leaves, err := treeLeaves(root)
	return leaves, t.within(name, err)
}

// aggregatedValues finds the arrays that, as _METADATA says, lie in the "checkpoint" file.
func (t *tree) aggregatedValues(c *contents, name string) error {
	first := slices.IndexFunc(c.leaves, func(l *leaf) bool { return l.aggregated })
	if first < 0 {
		return nil
	}
	if !c.hasAggregate {
		return tensor.Bad("lies in a file named checkpoint, as _METADATA says, but there is none").
			In(t.in(c.dir)).Of(c.leaves[first].name)
	}
	leaves, err := t.readAggregate(c, name)
	if err != nil {
		return err
	}
	values := make(map[string]*tensor.Tensor, len(leaves))
	for _, l := range leaves {
		values[l.name] = l.value
	}
	for _, l := range c.leaves {
		if !l.aggregated {
			continue
		}
		if l.value = values[l.name]; l.value == nil {
			return tensor.Bad("not in this file, although _METADATA says so").In(t.in(name)).Of(l.name)
		}
	}
	return nil
}

// readAggregateOnly reads an item that is nothing but a Flax file.
func (t *tree) readAggregateOnly(c *contents) (err error) {
	if c.leaves, err = t.readAggregate(c, c.file); err != nil {
		return err
	}
	for _, l := range c.leaves {
		if l.kind == arrayLeaf && !l.aggregated {
			return tensor.Bad("a placeholder for an array that lies elsewhere").In(t.in(c.file)).Of(l.name)
		}
		c.addLeaf(l)
	}
	return nil
}

// addLeaf enters an array of the "checkpoint" file.
func (c *contents) addLeaf(l *leaf) {
	if l.kind == arrayLeaf {
		l.value.Name = l.name
		c.tensors = append(c.tensors, l.value)
	}
}

// readArrays opens the arrays of all leaves, and lists those that no leaf names.
func (t *tree) readArrays(c *contents, meta *metadata) error {
	s, kind, err := t.openStore(c.dir, meta.useOCDBT)
	if err != nil {
		return err
	}
	c.closers = append(c.closers, s)
	stored, err := s.arrays()
	if err != nil {
		return err
	}
	if c.leaves == nil {
		if err := t.inventTree(c, stored); err != nil {
			return err
		}
	}
	used := make(map[string]bool, len(c.leaves))
	for _, l := range c.leaves {
		if l.kind != arrayLeaf || l.aggregated {
			c.addLeaf(l)
			continue
		}
		if used[l.array] {
			return tensor.Bad("another leaf has the same array %.60q", l.array).In(t.in(c.dir)).Of(l.name)
		}
		used[l.array] = true
		c.store = kind
		if err := t.openArray(c, s, l, meta.zarr); err != nil {
			if fs.ValidPath(l.array) && !slices.Contains(stored, l.array) {
				err = tensor.Bad("in the tree, but not among the arrays stored").In(t.in(c.dir)).Of(l.name).
					Advise("is the download complete?")
			}
			return err
		}
	}
	c.noteStrays(stored, used)
	return t.readTexts(c)
}

// inventTree makes a leaf of each array where nothing tells the tree.
func (t *tree) inventTree(c *contents, stored []string) error {
	if len(stored) == 0 {
		return tensor.Bad("no arrays").In(t.in(c.dir))
	}
	for _, name := range slices.Sorted(slices.Values(stored)) {
		c.leaves = append(c.leaves, &leaf{name: name, array: name})
	}
	c.notes = append(c.notes, "neither _METADATA nor checkpoint is there: tensors have the names of their arrays")
	return nil
}

// openArray opens one array and sees to it that all of it is there.
func (t *tree) openArray(c *contents, s store, l *leaf, version int) error {
	a, err := zarr.Open(s, l.array, zarr.Options{Version: version, EveryChunk: true})
	if err != nil {
		return t.of(l, err)
	}
	missing, err := a.MissingChunks(1)
	if err != nil {
		return t.of(l, err)
	}
	if len(missing) > 0 {
		return t.of(l, tensor.Bad("chunk %s is missing", missing[0]).Advise("is the download complete?"))
	}
	c.add(l, a)
	return nil
}

// add enters an array of the store.
func (c *contents) add(l *leaf, a *zarr.Array) {
	c.versions[fmt.Sprintf("zarr v%d", a.Version)]++
	c.codecs[a.Codec()]++
	c.tensors = append(c.tensors, &tensor.Tensor{Name: l.name, DType: a.DType, Shape: a.Shape, Data: a})
}

// plainArray is the store of an array that is all there is.
const plainArray = "one zarr array"

// isPlainArray reports whether a directory is a zarr array itself, which Orbax does not write.
func (t *tree) isPlainArray(dir string) (bool, error) {
	if is, err := t.isFile(join(dir, ".zarray")); is || err != nil {
		return is, err
	}
	return t.isFile(join(dir, "zarr.json"))
}

// readPlainArray reads such an array, in which chunks may be missing where there is a fill value.
func (t *tree) readPlainArray(c *contents) error {
	s := zarr.DirStore(t.fsys, c.dir)
	c.closers = append(c.closers, s)
	c.store = plainArray
	l := &leaf{name: "array"}
	c.leaves = []*leaf{l}
	a, err := zarr.Open(s, l.array, zarr.Options{})
	if err != nil {
		return t.within(c.dir, err)
	}
	c.add(l, a)
	return nil
}

// of says which tensor an error is about.
func (t *tree) of(l *leaf, err error) error {
	return tensor.Annotate(err, tensor.Location{File: t.in("."), Tensor: l.name})
}

// noteStrays lists the arrays that are in the store but not in the tree.
func (c *contents) noteStrays(stored []string, used map[string]bool) {
	strays := slices.DeleteFunc(slices.Clone(stored), func(name string) bool { return used[name] })
	if len(strays) > 0 {
		c.notes = append(c.notes, fmt.Sprintf("arrays that the tree does not name are left out: %s",
			names(strays, func(s string) string { return s })))
	}
}

// maxTexts bounds _strings.json.
const maxTexts = 16 << 20

// readTexts reads the values of text leaves, which lie in one JSON object.
func (t *tree) readTexts(c *contents) error {
	wanted := make(map[string]bool)
	for _, l := range c.leaves {
		if l.kind == textLeaf {
			wanted[l.name] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	name := join(c.dir, "_strings.json")
	text, err := t.read(name, maxTexts)
	if text == nil || err != nil {
		return err
	}
	c.texts = map[string]string{}
	d := strictjson.NewDecoder(text, maxJSONDepth)
	err = d.Object(func(key string) error {
		value, err := d.String()
		if wanted[key] {
			c.texts[key] = value
		}
		return err
	})
	if err == nil {
		err = d.End()
	}
	return t.within(name, err)
}
