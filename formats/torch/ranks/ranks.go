// Package ranks reads checkpoints of which each rank of a distributed training saved its own part with
// torch.save, such as model_world_size_8_rank_0.pt of verl: files of state dicts whose tensors are
// DTensors (FSDP2, tensor parallelism) or ShardedTensors (FSDP with SHARDED_STATE_DICT).
//
// Tensors are whole, whatever the number of ranks. Tensors that all ranks have are compared as they are
// read. Not all of the files are open at once.
package ranks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/assemble"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/trainer"
)

// Format is the name of the format in a tensor.Checkpoint.
const Format = "torch-ranks"

// Options say what to make of a checkpoint.
type Options = savefile.Options

// Open opens the checkpoint that a file of one rank is a part of: the files in its directory whose names
// differ from its name only in the number of the rank. A corrupt or incomplete checkpoint is a
// *tensor.FormatError.
//
// Values that are not tensors, and tensors that are not the model's (of the optimizer, for example), are
// left out; Details name them.
func Open(source fs.FS, name string, options Options) (*tensor.Checkpoint, error) {
	group, err := groupOf(source, name)
	if err != nil {
		return nil, err
	}
	c, err := open(source, group, options)
	if err != nil {
		return nil, err
	}
	c.Path = storage.Path(source, name) // the file that was asked for, whichever rank's it is
	return c, nil
}

// Detect reports whether a directory of a source holds files of ranks with parts of tensors.
func Detect(source fs.FS, dir string) bool {
	groups, err := findGroups(source, dir)
	var bad *tensor.FormatError
	return len(groups) > 0 || errors.As(err, &bad)
}

// OpenDirectory opens the checkpoint of which a directory holds the files of the ranks.
func OpenDirectory(source fs.FS, dir string, options Options) (*tensor.Checkpoint, error) {
	groups, err := findGroups(source, dir)
	if err != nil {
		return nil, err
	}
	if len(groups) == 0 {
		return nil, tensor.Bad("holds no files of ranks with parts of tensors").In(storage.Path(source, dir))
	}
	c, err := open(source, groups[0], options)
	if err != nil {
		return nil, err
	}
	c.Path, c.Root = storage.Path(source, dir), dir
	for _, g := range groups[1:] {
		c.Notes = append(c.Notes, fmt.Sprintf("not read, as not of the model: %s of %d ranks", g.name(-1), len(g.ranks)))
	}
	return c, nil
}

// maxOpen is how many files are open at once.
const maxOpen = 64

func open(source fs.FS, g *group, options Options) (*tensor.Checkpoint, error) {
	r := &reader{group: g, options: options, byName: map[string]*parts{}, boxes: boxes{known: map[string]int32{}}}
	r.pool = storage.NewPool(source, maxOpen)
	for at := range g.ranks {
		name := path.Join(g.dir, g.name(g.ranks[at]))
		if err := r.readFile(source, name, at); err != nil {
			return nil, tensor.Annotate(err, tensor.Location{File: storage.Path(source, name)})
		}
	}
	first := path.Join(g.dir, g.name(g.ranks[0]))
	if err := g.checkComplete(r.world); err != nil {
		return nil, tensor.Annotate(err, tensor.Location{File: storage.Path(source, path.Join(g.dir, g.name(-1)))})
	}
	c, err := r.checkpoint()
	if err != nil {
		return nil, tensor.Annotate(err, tensor.Location{File: storage.Path(source, path.Join(g.dir, g.name(-1)))})
	}
	c.Path, c.Source, c.Root = storage.Path(source, first), source, first
	c.Describe("ranks", fmt.Sprint(len(g.ranks)))
	c.Describe(tensor.Checksums, r.checksums)
	if r.wrapper != "" {
		c.Describe("model under", r.wrapper)
	}
	r.left.Describe(c)
	return c, nil
}

// reader collects the parts of all tensors from the files of the ranks.
type reader struct {
	group   *group
	options Options
	pool    *storage.Pool
	world   int64 // ranks that there have to be, as far as the files say
	wrapper string
	left    trainer.Left
	order   []*parts
	byName  map[string]*parts
	boxes   boxes
	others  []other
	skipped []string

	checksums string // of the files: "none" if one has none
}

// parts are the parts of one tensor.
type parts struct {
	r     *reader
	name  string
	dtype tensor.DType
	shape []int64
	first int // index of the rank that was the first to have it
	list  []part
}

// part is what one rank has of a tensor. It takes few bytes, since there are as many as tensors times ranks.
type part struct {
	offset int64  // of the elements in the file
	crc    uint32 // of their bytes
	at     int32  // index of the rank in the group
	box    int32  // index in the boxes of the reader
	other  int32  // index in its others, -1 if offset and crc say all
}

// other is a part whose elements do not lie one after another, or not with a checksum of just their bytes.
type other struct {
	assemble.Range
	tensor *tensor.Tensor // nil if they lie one after another
}

// readFile adds the parts in the file of the rank at an index of the group.
func (r *reader) readFile(source fs.FS, name string, at int) error {
	file, size, err := storage.Open(source, name)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	f, err := savefile.ReadParts(storage.Path(source, name), r.pool.File(name), size, newKeeper().keep)
	if err != nil {
		return err
	}
	if at == 0 || f.Checksums() == tensor.NoChecksums {
		r.checksums = f.Checksums()
	}
	r.selectModel(f, at == 0)
	list, err := f.List()
	if err != nil {
		return err
	}
	for _, n := range list.Tensors {
		if err := r.add(f, n, at); err != nil {
			if tensor.ReasonOf(err) == savefile.Unreadable && r.options.SkipUnreadable {
				r.skip(n.Name)
				continue
			}
			return tensor.Annotate(err, tensor.Location{Tensor: tensor.Clip(n.Name)})
		}
	}
	return nil
}

func (r *reader) skip(name string) {
	if name = tensor.QuoteName(name); !slices.Contains(r.skipped, name) && len(r.skipped) < 1000 {
		r.skipped = append(r.skipped, name)
	}
}

// selectModel narrows a file to the state dict of the model. What is left is counted for the first file.
func (r *reader) selectModel(f *savefile.File, count bool) {
	root, ok := f.Root.(*pickle.Dict)
	if !ok {
		return
	}
	for _, key := range trainer.ModelKeys {
		if _, ok := root.Get(key).(*pickle.Dict); ok {
			r.wrapper = key
			break
		}
	}
	kept := &pickle.Dict{From: root.From, Class: root.Class}
	for _, e := range root.Entries {
		key, text := e.Key.(string)
		switch {
		case r.wrapper != "" && key == r.wrapper:
			f.Root = e.Value
		case !text || r.wrapper == "" && !trainer.IsOptimizerKey(key) && !trainer.IsStateKey(key):
			kept.Entries = append(kept.Entries, e)
		case count:
			r.left.AddValue(key)
		}
	}
	if r.wrapper == "" && len(kept.Entries) > 0 {
		f.Root = kept
	}
}

// add adds what a file has of one tensor.
func (r *reader) add(f *savefile.File, n savefile.Named, at int) error {
	switch v := n.Value.(type) {
	case *savefile.Ref:
		t, err := f.Tensor(v)
		if err != nil {
			return err
		}
		whole := assemble.Box{Offsets: make([]int64, len(t.Shape)), Sizes: t.Shape}
		return r.addPart(n.Name, t.DType, t.Shape, t, whole, at)
	case *savefile.Wrapped:
		switch kept := v.Kept.(type) {
		case *dtensor:
			return r.addDTensor(f, n.Name, kept, at)
		case *shardedTensor:
			return r.addShardedTensor(f, n.Name, kept, at)
		}
		return tensor.Bad("is a tensor of the class %s, which griffin does not read", v.Name()).Because(savefile.Unreadable)
	}
	return nil
}

// addPart adds a part of a tensor.
func (r *reader) addPart(name string, dtype tensor.DType, shape []int64, local *tensor.Tensor, box assemble.Box, at int) error {
	p := r.byName[name]
	if p == nil {
		p = &parts{r: r, name: name, dtype: dtype, shape: shape, first: at}
		r.byName[name] = p
		r.order = append(r.order, p)
	}
	if dtype != p.dtype || !slices.Equal(shape, p.shape) {
		return tensor.Bad("is %s%s here, and %s%s in %s", dtype, tensor.ShapeString(shape), p.dtype, tensor.ShapeString(p.shape), r.group.name(r.group.ranks[p.first]))
	}
	if slices.Contains(box.Sizes, 0) {
		return nil
	}
	next := part{at: int32(at), other: -1}
	var err error
	if next.box, err = r.boxes.index(box); err != nil {
		return err
	}
	place, dense := assemble.RangeOf(local)
	next.offset, next.crc = place.Offset, place.CRC
	if !dense || place.SumOffset != place.Offset || place.SumLength != local.Bytes() {
		next.other = int32(len(r.others))
		o := other{Range: place}
		if !dense {
			o.tensor = local
		}
		r.others = append(r.others, o)
	}
	p.list = append(p.list, next)
	return nil
}

// Len implements assemble.Chunks.
func (p *parts) Len() int { return len(p.list) }

// Box implements assemble.Chunks.
func (p *parts) Box(i int) assemble.Box { return p.r.boxes.list[p.list[i].box] }

// Path implements assemble.Chunks.
func (p *parts) Path(i int) string { return p.r.pool.Path(p.file(i)) }

// file returns the name of the file that a part is in.
func (p *parts) file(i int) string {
	g := p.r.group
	return path.Join(g.dir, g.name(g.ranks[p.list[i].at]))
}

// Open implements assemble.Chunks.
func (p *parts) Open(i int) (*tensor.Tensor, error) {
	part, sizes := p.list[i], p.Box(i).Sizes
	place := assemble.Range{Offset: part.offset, SumOffset: part.offset, CRC: part.crc}
	if part.other >= 0 {
		o := p.r.others[part.other]
		if o.tensor != nil {
			return o.tensor, nil
		}
		place = o.Range
	} else {
		_, bytes, err := tensor.SizeOf(p.dtype, sizes)
		if err != nil {
			return nil, err
		}
		place.SumLength = bytes
	}
	return place.Tensor(p.r.pool.File(p.file(i)), p.dtype, sizes), nil
}

// data returns the data of the tensor. Tensors that are cut alike share their arrangement.
func (p *parts) data(arrangements map[string]*assemble.Arrangement) (tensor.Data, error) {
	key := appendList(nil, p.shape)
	for _, part := range p.list {
		key = binary.AppendVarint(key, int64(part.box))
	}
	a := arrangements[string(key)]
	if a == nil {
		var err error
		if a, err = assemble.Arrange(p.shape, p); err != nil {
			return nil, err
		}
		arrangements[string(key)] = a
	}
	return a.Data(p.dtype, p)
}

// checkpoint puts the tensors together.
func (r *reader) checkpoint() (*tensor.Checkpoint, error) {
	order := r.order
	r.order, r.byName, r.boxes.known = nil, nil, nil // the parts refer to the reader
	tensors := make([]*tensor.Tensor, 0, len(order))
	arrangements := map[string]*assemble.Arrangement{}
	for _, p := range order {
		data, err := p.data(arrangements)
		if err != nil {
			return nil, tensor.Annotate(err, tensor.Location{Tensor: tensor.Clip(p.name)})
		}
		tensors = append(tensors, &tensor.Tensor{Name: p.name, DType: p.dtype, Shape: p.shape, Data: data})
	}
	if len(tensors) == 0 {
		return nil, errors.New("no tensor") // files with one are looked for
	}
	c, err := tensor.NewCheckpoint("", Format, tensors, r.pool)
	if err == nil {
		c.LeaveOut("tensors that cannot be read", r.skipped)
	}
	return c, err
}
