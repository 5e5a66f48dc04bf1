package torch

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// contents is what the two containers have in common once their pickle is read.
type contents struct {
	format   string
	proto    byte
	root     any     // the pickled value
	loader   *loader // with the storages that it refers to
	locate   func(*storage) (region, error)
	describe func(*tensor.Checkpoint) // adds the facts of the container
}

// checkpoint lists the tensors of the contents with their data.
func (c *contents) checkpoint(path string, closers []io.Closer) (*tensor.Checkpoint, error) {
	found, census, err := collect(c.root)
	if err != nil {
		return nil, err
	}
	regions := map[*storage]region{}
	for _, s := range c.loader.order {
		if regions[s], err = c.locate(s); err != nil {
			return nil, err
		}
	}
	users := map[*storage]int{}
	data := map[*tensorRef]tensor.Data{} // tied tensors are often one value under two names
	tensors := make([]*tensor.Tensor, 0, len(found))
	for _, f := range found {
		t, err := f.tensor(data, regions)
		if err != nil {
			var bad *tensor.FormatError
			if errors.As(err, &bad) {
				bad.Of(f.name)
			}
			return nil, err
		}
		users[f.ref.storage.storage]++
		tensors = append(tensors, t)
	}
	ckpt, err := tensor.NewCheckpoint(path, c.format, tensors, closers...)
	if err != nil {
		return nil, err
	}
	ckpt.Describe("pickle protocol", strconv.Itoa(max(int(c.proto), 1)))
	c.describe(ckpt)
	describeStorages(ckpt, len(c.loader.order), users)
	census.describe(ckpt)
	return ckpt, nil
}

func (f named) tensor(data map[*tensorRef]tensor.Data, regions map[*storage]region) (*tensor.Tensor, error) {
	if f.ref.problem != nil {
		p := *f.ref.problem // one value may have two names
		return nil, &p
	}
	d := data[f.ref]
	if d == nil {
		var err error
		if d, err = regions[f.ref.storage.storage].data(f.ref); err != nil {
			return nil, err
		}
		data[f.ref] = d
	}
	return &tensor.Tensor{Name: f.name, DType: f.ref.dtype, Shape: f.ref.view.Shape, Data: d}, nil
}

func describeStorages(ckpt *tensor.Checkpoint, storages int, users map[*storage]int) {
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

// describe adds what the pickle holds besides tensors, with a note where that may be weights.
func (c *census) describe(ckpt *tensor.Checkpoint) {
	if s := c.listOthers(); s != "" {
		ckpt.Describe("other values", s)
	}
	for _, kind := range []string{numpyArrays, bareStorages} {
		if n := c.others[kind]; n > 0 {
			ckpt.Notes = append(ckpt.Notes, fmt.Sprintf("%d %s are not listed: only tensors are", n, kind))
		}
	}
}
