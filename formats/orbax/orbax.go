// Package orbax reads and writes the checkpoint directories of Orbax.
//
// Open reads every layout since 2023: arrays in OCDBT databases and in one directory per array, zarr
// versions 2 and 3, the root directories of CheckpointManager with their steps, checkpoints of one
// and of several items, those of the v1 API, and the msgpack files called "checkpoint" of Orbax and
// Flax. NewLayout writes a directory that Orbax 0.4.2 and later restores.
//
// The parameter tree is read from _METADATA, else from the file "checkpoint". The name of a tensor
// is its keys and indices joined with dots: params.blocks.0.attention_block.proj_q.kernel. Dots in
// keys are not escaped, nor does Orbax escape them. A tree with two leaves of one name is refused.
//
// Source: the files that orbax-checkpoint 0.2 to 0.12 writes.
package orbax

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Newest asks Open for the newest step.
const Newest int64 = -1

// Open opens the checkpoint in the directory called name of a source: an item with the files of a
// tree, a directory of items, or the root of a CheckpointManager, from which it takes the given step
// or the newest one. If several items of a checkpoint hold arrays, the names of their tensors begin
// with the name of the item. Links that lead out of the directory are not followed.
//
// Only metadata is read, but Open checks that every chunk exists. A corrupt checkpoint is a
// *tensor.FormatError.
func Open(source fs.FS, name string, step int64) (*tensor.Checkpoint, error) {
	dir, closer, err := openDirectory(source, name)
	if err != nil {
		return nil, err
	}
	c, err := dir.checkpoint(step, closer)
	if err != nil {
		closer.Close()
		return nil, err
	}
	c.Source, c.Root = source, path.Join(name, c.Root)
	if c.Root != name {
		c.Documents = name // those of all steps
	}
	if step == Newest {
		c.Notes = append(c.Notes, noteUncommitted(source, name)...)
	}
	return c, nil
}

// Detect reports whether a directory looks like a checkpoint of Orbax or Flax: one that Open opens,
// or refuses for another reason than that there is none. If the directory is none itself, but holds directories
// that are, apart has their names; Open opens the only one, and refuses several.
func Detect(source fs.FS, name string) (is bool, apart []string) {
	dir, closer, err := openDirectory(source, name)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist), nil // Open returns the error: the checkpoint is unfinished, or cannot be read
	}
	defer closer.Close()
	s, err := finder{dir.listed()}.find(Newest)
	if err != nil {
		return !errors.Is(err, errNothing), nil
	}
	return true, s.apart
}

// checkpoint reads the items that make up one checkpoint. Its Root is the directory of its step, "" if there are no steps.
func (d *directory) checkpoint(step int64, root io.Closer) (c *tensor.Checkpoint, err error) {
	s, err := finder{d.listed()}.find(step)
	if err != nil {
		return nil, err
	}
	if len(s.apart) > 1 {
		return nil, tensor.Bad("is no checkpoint itself").In(d.path).Because(tensor.SeveralFiles).
			Advise("give one of those in it: %s", names(s.apart, d.in))
	}
	var items []*contents
	defer func() {
		if err != nil {
			for _, c := range items {
				c.close()
			}
		}
	}()
	closers := []io.Closer{root}
	for _, where := range s.items {
		r := newItemReader(d, where)
		items = append(items, r.contents)
		if err := r.read(); err != nil {
			return nil, err
		}
		closers = append(closers, r.closers...)
	}
	c, err = tensor.NewCheckpoint(d.path, formatOf(items), mergeItems(items), closers...)
	if err != nil {
		return nil, err
	}
	if s.step != nil {
		c.Root = s.step.name
	}
	d.describe(c, s, items)
	return c, nil
}

// mergeItems returns the tensors of all items. If several items have some, the names of the tensors
// begin with the name of the item.
func mergeItems(items []*contents) []*tensor.Tensor {
	if only := withArrays(items); len(only) == 1 {
		return only[0].tensors
	}
	var all []*tensor.Tensor
	for _, c := range items {
		for _, x := range c.tensors {
			x.Name = c.name + "." + x.Name
			all = append(all, x)
		}
	}
	return all
}

func withArrays(items []*contents) []*contents {
	return slices.DeleteFunc(slices.Clone(items), func(c *contents) bool { return len(c.tensors) == 0 })
}
