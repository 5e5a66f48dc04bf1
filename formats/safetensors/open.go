package safetensors

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/internal/shardindex"
	"github.com/griffin-ckpt/griffin/formats/internal/sniff"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Open opens a checkpoint: one safetensors file, an index file beside its shards, or a directory
// of either (Find says which of its files). Links are followed: a snapshot in the Hub's cache is a
// directory of them. Tensors come in the order of the shards and of their headers.
func Open(path string) (*tensor.Checkpoint, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return openDir(path)
	}
	f, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	head, err := sniff.Head(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	if looksLikeJSON(head) {
		f.Close()
		return openIndex(path)
	}
	return newCheckpoint(path, []*shard{{name: filepath.Base(path), path: path, file: f, size: size}}, nil)
}

func openDir(dir string) (*tensor.Checkpoint, error) {
	found, err := Find(dir)
	if err != nil {
		return nil, err
	}
	var c *tensor.Checkpoint
	switch {
	case found == nil:
		return nil, tensor.Bad("directory holds no safetensors file").In(dir)
	case found.Index != "":
		c, err = openIndex(filepath.Join(dir, found.Index))
	default:
		c, err = openShards(dir, found.Files)
	}
	if err != nil {
		return nil, err
	}
	c.Path = dir
	c.Notes = append(found.Notes, c.Notes...)
	return c, nil
}

// shard is one file of a checkpoint.
type shard struct {
	name string // within its directory
	path string
	file *os.File
	size int64
	*File
}

// openShards opens the files of those names in dir.
func openShards(dir string, names []string) (*tensor.Checkpoint, error) {
	shards, err := openAll(dir, names)
	if err != nil {
		return nil, err
	}
	return newCheckpoint(dir, shards, nil)
}

// openAll opens files without reading them yet. After an error none is open.
func openAll(dir string, names []string) (shards []*shard, err error) {
	defer func() {
		if err != nil {
			for _, s := range shards {
				s.file.Close()
			}
		}
	}()
	for _, name := range names {
		s := &shard{name: name, path: filepath.Join(dir, name)}
		s.file, s.size, err = openRegular(s.path)
		if errors.Is(err, fs.ErrNotExist) {
			return shards, missing(s.path, err)
		}
		if err != nil {
			return shards, err
		}
		shards = append(shards, s)
	}
	return shards, nil
}

func missing(path string, cause error) error {
	bad := tensor.Bad("shard is missing").In(path).Advise("the checkpoint is incomplete: download or copy this file too")
	bad.Err = cause
	return bad
}

// readAll reads the headers.
func readAll(shards []*shard) (err error) {
	for _, s := range shards {
		if s.File, err = Read(s.file, s.size); err != nil {
			return sniff.Explain(err, s.path, s.file)
		}
	}
	return nil
}

// newCheckpoint makes a checkpoint of open files, and holds them against their index if there is
// one. It closes them if there is an error.
func newCheckpoint(path string, opened []*shard, x *shardindex.Index) (*tensor.Checkpoint, error) {
	err := readAll(opened)
	var notes []string
	if err == nil && x != nil {
		notes, err = checkIndex(x, path, opened)
	}
	var c *tensor.Checkpoint
	if err == nil {
		c, err = assemble(path, opened)
	}
	if err != nil {
		for _, s := range opened {
			s.file.Close()
		}
		return nil, err
	}
	c.Notes = append(c.Notes, notes...)
	return c, nil
}

// assemble joins shards whose headers have been read.
func assemble(path string, shards []*shard) (*tensor.Checkpoint, error) {
	var tensors []*tensor.Tensor
	var files []io.Closer
	holder := map[string]*shard{}
	for _, s := range shards {
		for _, t := range s.Tensors {
			if other := holder[t.Name]; other != nil {
				return nil, tensor.Bad("tensor is in %s too", other.name).In(s.path).Of(tensor.Clip(t.Name)).
					Advise("where the files are not shards of one checkpoint, give one of them by its own path")
			}
			holder[t.Name] = s
		}
		tensors = append(tensors, s.Tensors...)
		files = append(files, s.file)
	}
	c, err := tensor.NewCheckpoint(path, Format, tensors, files...)
	if err != nil {
		return nil, err
	}
	mergeMetadata(c, shards)
	if len(shards) > 1 {
		c.Describe("shards", fmt.Sprint(len(shards)))
	}
	return c, nil
}

// mergeMetadata gives c the metadata of all shards, and a note where they differ.
func mergeMetadata(c *tensor.Checkpoint, shards []*shard) {
	for _, s := range shards {
		if c.Metadata == nil && s.Metadata != nil {
			c.Metadata = map[string]string{}
		}
		for _, key := range slices.Sorted(maps.Keys(s.Metadata)) {
			value := s.Metadata[key]
			if first, ok := c.Metadata[key]; !ok {
				c.Metadata[key] = value
			} else if first != value {
				c.Notes = append(c.Notes, fmt.Sprintf("shards differ in the metadata %q; %s has another value than the first", tensor.Clip(key), s.name))
			}
		}
	}
}

// openRegular opens a file for reading and returns its size. A pipe or device is refused before it
// is opened, since that may wait forever.
func openRegular(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, tensor.Bad("is a %s, not a regular file", sniff.Kind(info.Mode())).In(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}
