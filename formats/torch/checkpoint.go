package torch

import (
	"fmt"
	"io"
	"strconv"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// contents is the content of a file of either container.
type contents struct {
	format   string
	proto    byte
	root     any     // the pickled value
	loader   *loader // with the storages that it refers to
	locate   func(*storageInfo) (region, error)
	describe func(*tensor.Checkpoint) // adds facts about the container
}

// checkpoint makes a checkpoint of the tensors.
func (c *contents) checkpoint(path string, closers []io.Closer) (*tensor.Checkpoint, error) {
	found, values, err := collect(c.root)
	if err != nil {
		return nil, err
	}
	regions := map[*storageInfo]region{}
	for _, s := range c.loader.order {
		if regions[s], err = c.locate(s); err != nil {
			return nil, err
		}
	}
	b := &builder{regions: regions, known: map[*tensorRef]*tensor.Tensor{}, numbers: numbers{}, users: map[*storageInfo]int{}}
	tensors := make([]*tensor.Tensor, 0, len(found))
	for _, f := range found {
		t, err := b.tensor(f)
		if err != nil {
			return nil, tensor.Annotate(err, tensor.Location{Tensor: tensor.Clip(f.name)})
		}
		tensors = append(tensors, t)
	}
	ckpt, err := tensor.NewCheckpoint(path, c.format, tensors, closers...)
	if err != nil {
		return nil, err
	}
	ckpt.Describe("pickle protocol", strconv.Itoa(max(int(c.proto), 1)))
	c.describe(ckpt)
	describeStorages(ckpt, len(c.loader.order), b.users)
	values.describe(ckpt)
	return ckpt, nil
}

// builder makes tensors from their descriptions in a pickle.
type builder struct {
	regions map[*storageInfo]region
	known   map[*tensorRef]*tensor.Tensor // tied tensors are often one value with two names
	numbers numbers
	users   map[*storageInfo]int // number of tensors in each storage
}

func (b *builder) tensor(f named) (*tensor.Tensor, error) {
	if f.ref.problem != nil {
		return nil, f.ref.problem
	}
	b.users[f.ref.storage.storageInfo]++
	if t := b.known[f.ref]; t != nil {
		return &tensor.Tensor{Name: f.name, DType: t.DType, Shape: t.Shape, Data: t.Data}, nil
	}
	view, err := f.ref.view(b.numbers)
	if err != nil {
		return nil, err
	}
	data, err := b.regions[f.ref.storage.storageInfo].data(f.ref, view)
	if err != nil {
		return nil, err
	}
	t := &tensor.Tensor{Name: f.name, DType: f.ref.dtype, Shape: view.Shape, Data: data}
	b.known[f.ref] = t
	return t, nil
}

func describeStorages(ckpt *tensor.Checkpoint, storages int, users map[*storageInfo]int) {
	ckpt.Describe("storages", strconv.Itoa(storages))
	shared, by := 0, 0
	for _, n := range users {
		if n > 1 {
			shared++
			by += n
		}
	}
	if shared > 0 {
		ckpt.Describe("shared storages", fmt.Sprintf("%d, by %d tensors", shared, by))
	}
}

// describe adds the values that are not tensors, with a note about those that may be weights.
func (c *graph) describe(ckpt *tensor.Checkpoint) {
	if s := c.listOthers(); s != "" {
		ckpt.Describe("other values", s)
	}
	for _, kind := range []string{numpyArrays, looseStorages} {
		if n := c.others[kind]; n > 0 {
			ckpt.Notes = append(ckpt.Notes, fmt.Sprintf("%s (%d) are left out: only tensors are listed", kind, n))
		}
	}
}
