// Package shardindex reads the index of a checkpoint in several files, as transformers writes it for both safetensors
// and PyTorch, and compares it with the files.
package shardindex

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Index is the content of NAME.index.json.
type Index struct {
	Files     []string          // names of the shards, in the order of their first use, all in the directory of the index
	Weights   map[string]string // file by tensor
	TotalSize int64             // bytes of all tensors, -1 if not given as an integer
}

// Shard is an open file: its path, its name in the index, and its tensors.
type Shard struct {
	Path, Name string
	Tensors    []*tensor.Tensor
}

const (
	maxDepth = 64   // nesting of the JSON; an index needs 2
	maxFiles = 8192 // shards of a checkpoint
)

// maxSize is the size in bytes of the largest index that is read: 300 for each of tensor.MaxTensors tensors.
const maxSize = 60_000_000

// Read reads the index in a file of a source.
func Read(source fs.FS, name string) (*Index, error) {
	text, err := storage.ReadFile(source, name, maxSize)
	if err != nil {
		return nil, err
	}
	x, err := Parse(text)
	return x, tensor.Annotate(err, tensor.Location{File: storage.Path(source, name)})
}

// Parse parses an index. Text that is not an index, and an index with a file in another directory, are a
// *tensor.FormatError.
func Parse(text []byte) (*Index, error) {
	x := &Index{TotalSize: -1}
	d := strictjson.NewDecoder(text, maxDepth)
	err := d.Object(func(key string) error {
		switch {
		case key == "weight_map":
			return x.parseWeights(d)
		case key == "metadata" && d.Peek() == strictjson.KindObject:
			return x.parseMetadata(d)
		}
		return d.Skip()
	})
	if err == nil {
		err = d.End()
	}
	if err == nil && x.Weights == nil {
		err = tensor.Bad("JSON has no weight_map, so it is not a shard index").Advise("give the weights, or the directory that holds them")
	}
	if err == nil && len(x.Files) == 0 {
		err = tensor.Bad("weight_map names no file")
	}
	return x, err
}

func (x *Index) parseWeights(d *strictjson.Decoder) error {
	x.Weights = map[string]string{}
	known := map[string]string{} // one copy of each file name
	var count tensor.Count
	return d.Object(func(name string) error {
		if err := count.Add(name, 0); err != nil {
			return err
		}
		file, err := d.String()
		if err != nil {
			return err
		}
		if known[file] == "" {
			if !isPlainName(file) {
				return tensor.Bad("weight_map has the tensor in %q, which is not a file name in the same directory", tensor.Clip(file)).
					Of(tensor.Clip(name)).At(d.Offset())
			}
			if len(x.Files) == maxFiles {
				return tensor.Bad("weight_map names more than %d files, which is the most that griffin reads", maxFiles).
					Because(tensor.TooLarge).At(d.Offset())
			}
			known[file] = file
			x.Files = append(x.Files, file)
		}
		x.Weights[name] = known[file]
		return nil
	})
}

// parseMetadata parses total_size if it is an integer. Older writers write a float, which is not exact.
func (x *Index) parseMetadata(d *strictjson.Decoder) error {
	return d.Object(func(key string) error {
		if key != "total_size" || d.Peek() != strictjson.KindNumber {
			return d.Skip()
		}
		n, err := d.Number()
		if size, ok := strictjson.Int(n); ok {
			x.TotalSize = size
		}
		return err
	})
}

func isPlainName(name string) bool {
	return filepath.IsLocal(name) && name != "." && !strings.ContainsAny(name, "/\\\x00")
}

const staleHint = "the index and the shards are not of one checkpoint; without the index, the shards alone are read"

// Check returns a *tensor.FormatError if a tensor is not in the file that the index at path has for it, or is not in the
// index.
func (x *Index) Check(path string, opened []Shard) error {
	held := map[string]bool{}
	for _, s := range opened {
		for _, t := range s.Tensors {
			file, ok := x.Weights[t.Name]
			switch {
			case !ok:
				return tensor.Bad("tensor is not in the index").In(s.Path).Of(tensor.Clip(t.Name)).Advise(staleHint)
			case file != s.Name:
				return tensor.Bad("the index says that the tensor is in %s", file).In(s.Path).Of(tensor.Clip(t.Name)).Advise(staleHint)
			}
			held[t.Name] = true
		}
	}
	var lost []string
	for name := range x.Weights {
		if !held[name] {
			lost = append(lost, name)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	first := slices.Min(lost)
	return tensor.Bad("tensor is not in %s, as the index says (one of %d such tensors)", x.Weights[first], len(lost)).
		In(path).Of(tensor.Clip(first)).Advise(staleHint)
}
