package dcp

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/assemble"
)

// shardingKey is the key of the metadata of a safetensors file of HuggingFaceStorageWriter: for each
// tensor, where in the whole tensor it belongs (torch/distributed/checkpoint/_hf_utils.py of torch 2.15).
const shardingKey = "DCP_SHARDING_INFO"

// shardNames returns the safetensors files of a directory if the first of them is a part of a distributed
// checkpoint.
func shardNames(source fs.FS, dir string) ([]string, error) {
	entries, err := fs.ReadDir(source, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".safetensors") && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	file, size, err := storage.Open(source, path.Join(dir, names[0]))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	first, err := safetensors.NewReader(file, size)
	if err != nil || first.Metadata[shardingKey] == "" {
		return nil, err
	}
	return names, nil
}

// shards are the parts of one tensor that safetensors files hold.
type shards struct {
	name  string
	dtype tensor.DType
	size  []int64 // of the whole tensor
	parts []shard
}

// shard is a part of a tensor.
type shard struct {
	path string // of its file, as users call it
	box  assemble.Box
	data *tensor.Strided // over the file's bytes
}

// Len implements assemble.Chunks.
func (s *shards) Len() int { return len(s.parts) }

// Box implements assemble.Chunks.
func (s *shards) Box(i int) assemble.Box { return s.parts[i].box }

// Path implements assemble.Chunks.
func (s *shards) Path(i int) string { return s.parts[i].path }

// Open implements assemble.Chunks.
func (s *shards) Open(i int) (*tensor.Tensor, error) {
	return &tensor.Tensor{DType: s.dtype, Shape: s.parts[i].box.Sizes, Data: s.parts[i].data}, nil
}

// openSafetensors opens a directory of safetensors files that hold parts of tensors. The size of a tensor
// is not written anywhere: it ends where its last part does, as for HuggingFaceStorageReader.
func openSafetensors(source fs.FS, dir string) (*tensor.Checkpoint, error) {
	names, err := shardNames(source, dir)
	if err != nil {
		return nil, err
	}
	pool := storage.NewPool(source, maxOpen)
	byName := map[string]*shards{}
	var order []*shards
	for _, file := range names {
		err := addShard(source, dir, file, pool, func(name string, dtype tensor.DType, part shard) error {
			s := byName[name]
			if s == nil {
				s = &shards{name: name, dtype: dtype, size: make([]int64, len(part.box.Sizes))}
				byName[name] = s
				order = append(order, s)
			}
			return s.add(dtype, part)
		})
		if err != nil {
			return nil, tensor.Annotate(err, tensor.Location{File: storage.Path(source, path.Join(dir, file))})
		}
	}
	var tensors []*tensor.Tensor
	for _, s := range order {
		data, err := assemble.New(s.dtype, s.size, s)
		if err != nil {
			return nil, tensor.Annotate(err, tensor.Location{File: storage.Path(source, dir), Tensor: tensor.Clip(s.name)})
		}
		tensors = append(tensors, &tensor.Tensor{Name: s.name, DType: s.dtype, Shape: s.size, Data: data})
	}
	c, err := tensor.NewCheckpoint("", Format+"-safetensors", tensors, pool)
	if err == nil {
		c.Describe("files", fmt.Sprint(len(names)))
		c.Describe(tensor.Checksums, tensor.NoChecksums)
		c.Notes = append(c.Notes, "the files do not say how large the tensors are: a rank whose files are missing may go unnoticed")
	}
	return c, err
}

// add adds a part to a tensor.
func (s *shards) add(dtype tensor.DType, part shard) error {
	if dtype != s.dtype || len(part.box.Sizes) != len(s.size) {
		return tensor.Bad("is %s of %d axes here, and %s of %d axes in %s", dtype, len(part.box.Sizes), s.dtype, len(s.size), s.parts[0].path)
	}
	for k := range s.size {
		end := part.box.Offsets[k] + part.box.Sizes[k]
		if part.box.Offsets[k] < 0 || end < part.box.Sizes[k] {
			return tensor.Bad("offsets %s are not within a tensor", tensor.ShapeString(part.box.Offsets))
		}
		s.size[k] = max(s.size[k], end)
	}
	s.parts = append(s.parts, part)
	return nil
}

// addShard reads the header of a file and adds each tensor in it.
func addShard(source fs.FS, dir, file string, pool *storage.Pool, add func(string, tensor.DType, shard) error) error {
	name := path.Join(dir, file)
	info, err := fs.Stat(source, name)
	if err != nil {
		return err
	}
	s, err := safetensors.NewReader(pool.File(name), info.Size())
	if err != nil {
		return err
	}
	text := s.Metadata[shardingKey]
	if text == "" {
		return tensor.Bad("does not say which parts of the tensors it holds, as the other files do")
	}
	var saved map[string]struct {
		Offsets []int64 `json:"saved_offsets"`
	}
	if err := json.Unmarshal([]byte(text), &saved); err != nil {
		return tensor.Bad("%s: %w", shardingKey, err)
	}
	for _, t := range s.Tensors() {
		layout, ok, err := tensor.Layout(t)
		offsets := slices.Clone(saved[t.Name].Offsets)
		switch {
		case err != nil:
			return err
		case !ok:
			err = tensor.Bad("elements of %s have no address of their own", t.DType)
		case len(offsets) != len(t.Shape):
			err = tensor.Bad("%s has %d offsets for a tensor of %d axes", shardingKey, len(offsets), len(t.Shape))
		default:
			err = add(t.Name, t.DType, shard{pool.Path(name), assemble.Box{Offsets: offsets, Sizes: t.Shape}, layout})
		}
		if err != nil {
			return tensor.Annotate(err, tensor.Location{Tensor: tensor.Clip(t.Name)})
		}
	}
	return nil
}
