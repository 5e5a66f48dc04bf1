package safetensors

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/internal/foreign"
	"github.com/griffin-ckpt/griffin/formats/internal/shardindex"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Open opens the checkpoint called name in a source: a safetensors file, the index file of shards
// in the same directory, or a directory of either (Find chooses among its files). Symbolic links
// are followed, since a snapshot in the cache of the Hugging Face Hub consists of them. Tensors
// come in the order of the shards and of their headers. A corrupt checkpoint is a
// *tensor.FormatError.
func Open(source fs.FS, name string) (*tensor.Checkpoint, error) {
	c, err := open(source, name)
	if err != nil {
		return nil, err
	}
	c.Path, c.Source, c.Root = storage.Path(source, name), source, name
	return c, nil
}

func open(source fs.FS, name string) (*tensor.Checkpoint, error) {
	info, err := fs.Stat(source, name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return openDir(source, name)
	}
	f, size, err := storage.Open(source, name)
	if err != nil {
		return nil, err
	}
	head, err := foreign.Head(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	if looksLikeJSON(head) {
		f.Close()
		return openIndex(source, name)
	}
	shards := []*shard{{name: path.Base(name), path: storage.Path(source, name), reader: f, size: size}}
	if err := readAll(shards); err != nil {
		closeAll(shards)
		return nil, err
	}
	return assemble(shards)
}

func openDir(source fs.FS, dir string) (*tensor.Checkpoint, error) {
	found, err := Find(source, dir)
	if err != nil {
		return nil, err
	}
	var c *tensor.Checkpoint
	switch {
	case found == nil:
		return nil, tensor.Bad("directory holds no safetensors file").In(storage.Path(source, dir))
	case found.Index != "":
		c, err = openIndex(source, path.Join(dir, found.Index))
	default:
		c, err = openShards(source, dir, found.Files)
	}
	if err != nil {
		return nil, err
	}
	c.Notes = append(found.Notes, c.Notes...)
	return c, nil
}

// openIndex opens the shards beside an index. Both must list the same tensors in the same files.
func openIndex(source fs.FS, name string) (*tensor.Checkpoint, error) {
	x, err := shardindex.Read(source, name)
	if err != nil {
		return nil, err
	}
	shards, err := openAll(source, path.Dir(name), naturalOrder(x.Files))
	if err != nil {
		return nil, err
	}
	notes, err := checkIndex(x, storage.Path(source, name), shards)
	if err != nil {
		closeAll(shards)
		return nil, err
	}
	c, err := assemble(shards)
	if err != nil {
		return nil, err
	}
	c.Notes = append(c.Notes, notes...)
	return c, nil
}

// openShards opens files of a directory that together are one checkpoint.
func openShards(source fs.FS, dir string, names []string) (*tensor.Checkpoint, error) {
	shards, err := openAll(source, dir, names)
	if err != nil {
		return nil, err
	}
	return assemble(shards)
}

// shard is an open file of a checkpoint.
type shard struct {
	name   string // within its directory
	path   string // as users call it
	reader storage.File
	size   int64 // bytes
	*file
}

// openAll opens all files and then reads their headers. If it fails, it closes them.
func openAll(source fs.FS, dir string, names []string) (shards []*shard, err error) {
	defer func() {
		if err != nil {
			closeAll(shards)
		}
	}()
	for _, name := range names {
		s := &shard{name: name, path: storage.Path(source, path.Join(dir, name))}
		s.reader, s.size, err = storage.Open(source, path.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return shards, missing(s.path, err)
		}
		if err != nil {
			return shards, err
		}
		shards = append(shards, s)
	}
	return shards, readAll(shards)
}

func missing(path string, cause error) error {
	bad := tensor.Bad("shard is missing").In(path).Advise("the checkpoint is incomplete: download or copy this file too")
	bad.Err = cause
	return bad
}

// readAll reads the headers.
func readAll(shards []*shard) (err error) {
	p := new(parser)
	for _, s := range shards {
		if s.file, err = p.read(s.reader, s.size); err != nil {
			return foreign.Explain(err, s.path, s.reader)
		}
	}
	return nil
}

func closeAll(shards []*shard) {
	for _, s := range shards {
		s.reader.Close()
	}
}

// assemble makes one checkpoint of shards whose headers have been read. If it fails, it closes them.
func assemble(shards []*shard) (c *tensor.Checkpoint, err error) {
	defer func() {
		if err != nil {
			closeAll(shards)
		}
	}()
	var tensors []*tensor.Tensor
	var files []io.Closer
	holder := map[string]*shard{}
	for _, s := range shards {
		for _, t := range s.tensors {
			if other := holder[t.Name]; other != nil {
				return nil, tensor.Bad("tensor is in %s too", other.name).In(s.path).Of(tensor.Clip(t.Name)).Because(tensor.SeveralFiles).
					Advise("if the files are not shards of one checkpoint, give the path of one of them")
			}
			holder[t.Name] = s
		}
		tensors = append(tensors, s.tensors...)
		files = append(files, s.reader)
	}
	if c, err = tensor.NewCheckpoint("", Format, tensors, files...); err != nil {
		return nil, err
	}
	mergeMetadata(c, shards)
	if len(shards) > 1 {
		c.Describe("shards", fmt.Sprint(len(shards)))
	}
	c.Describe(tensor.Checksums, tensor.NoChecksums)
	return c, nil
}

// mergeMetadata gives c the metadata of all shards. Where they differ the first value counts, and a
// note says so.
func mergeMetadata(c *tensor.Checkpoint, shards []*shard) {
	for _, s := range shards {
		if c.Metadata == nil && s.metadata != nil {
			c.Metadata = map[string]string{}
		}
		for _, key := range slices.Sorted(maps.Keys(s.metadata)) {
			value := s.metadata[key]
			if first, ok := c.Metadata[key]; !ok {
				c.Metadata[key] = value
			} else if first != value {
				c.Notes = append(c.Notes, fmt.Sprintf("the metadata %q of %s differs from that of an earlier shard, which is used", tensor.Clip(key), s.name))
			}
		}
	}
}
