// Package orbax reads and writes the checkpoint directories of Orbax. It reads every layout since
// 2023: OCDBT databases and one directory an array, zarr v2 and v3, roots of CheckpointManager with
// their steps, single and several items, the v1 API; and the msgpack files that Orbax and Flax name
// "checkpoint". NewLayout writes a directory that Orbax since 0.4.2 restores.
//
// The parameter tree comes from _METADATA, or else from the file "checkpoint". Tensors are named
// by their keys and indices joined with dots, as params.blocks.0.attention_block.proj_q.kernel.
// Dots in keys are not escaped, as Orbax does not either; a tree in which that makes two names
// equal is refused.
//
// Source: the files that orbax-checkpoint 0.2 to 0.12 writes.
package orbax

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Newest is the step to ask for where any will do.
const Newest int64 = -1

// Open opens the checkpoint in the directory path: an item with the files of a tree, a directory
// of items, or the root of a CheckpointManager, of which the given step is taken, or the newest.
// If several items of a checkpoint hold arrays, the tensors of each have the name of their item in
// front. Links that lead out of the directory are not followed.
//
// Only metadata is read, but the existence of every chunk is checked. What is broken is a
// *tensor.FormatError.
func Open(path string, step int64) (*tensor.Checkpoint, error) {
	if err := refuseTemporary(path); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	t := &tree{fsys: root.FS(), path: path}
	c, err := t.checkpoint(step, root)
	if err != nil {
		root.Close()
	}
	return c, err
}

// Detect reports whether the directory path looks like a checkpoint that Open would take, or
// refuse for a better reason than that there is none.
func Detect(path string) bool {
	if refuseTemporary(path) != nil {
		return true
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return false
	}
	defer root.Close()
	t := &tree{fsys: root.FS(), path: path}
	_, err = t.locate(Newest)
	return !errors.Is(err, errNothing)
}

// refuseTemporary refuses directories that Orbax has not finished: it renames them at the end.
func refuseTemporary(path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	for _, name := range strings.Split(filepath.ToSlash(abs), "/") {
		if isTemporary(name) {
			return tensor.Bad("a checkpoint that Orbax did not finish writing (%s)", temporaryMark).In(path)
		}
	}
	return nil
}

// checkpoint reads all items of a place and makes one checkpoint of them.
func (t *tree) checkpoint(step int64, root io.Closer) (*tensor.Checkpoint, error) {
	p, err := t.locate(step)
	if err != nil {
		return nil, err
	}
	var items []*contents
	fail := func(err error) (*tensor.Checkpoint, error) {
		for _, c := range items {
			c.close()
		}
		return nil, err
	}
	for _, where := range p.items {
		c, err := t.readItem(where)
		items = append(items, c)
		if err != nil {
			return fail(err)
		}
	}
	closers := []io.Closer{root}
	for _, c := range items {
		closers = append(closers, c.closers...)
	}
	ckpt, err := tensor.NewCheckpoint(t.path, formatOf(items), mergeItems(items), closers...)
	if err != nil {
		return fail(err)
	}
	t.describe(ckpt, p, items)
	return ckpt, nil
}

// mergeItems returns the tensors of all items. Where several have some, names tell the items apart.
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
