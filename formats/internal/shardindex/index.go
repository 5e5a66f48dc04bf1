// Package shardindex reads the index of a checkpoint that is split over several files, as transformers
// writes it for safetensors and for PyTorch alike, and holds the files against it.
package shardindex

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Index is what NAME.index.json says.
type Index struct {
	Files     []string          // each shard once, as first named; all are names within the index's directory
	Weights   map[string]string // tensor -> file, one of Files
	TotalSize int64             // bytes of all tensors, -1 where the index does not say so exactly
}

// Shard is one file that was opened: its path, its name in the index, and its tensors.
type Shard struct {
	Path, Name string
	Tensors    []*tensor.Tensor
}

const maxDepth = 64 // of the JSON; its own members need 2

// Parse reads the text of an index. A text that is none, or that names a file elsewhere, is a
// *tensor.FormatError without the path.
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
		err = tensor.Bad("JSON without a weight_map is no shard index").Advise("give the weights, or the directory that holds them")
	}
	if err == nil && len(x.Files) == 0 {
		err = tensor.Bad("weight_map names no file")
	}
	return x, err
}

func (x *Index) parseWeights(d *strictjson.Decoder) error {
	x.Weights = map[string]string{}
	known := map[string]string{} // so that each file's name is held once
	return d.Object(func(name string) error {
		file, err := d.String()
		if err != nil {
			return err
		}
		if known[file] == "" {
			if !isPlainName(file) {
				return tensor.Bad("weight_map places the tensor in %q, which is no file of the same directory", tensor.Clip(file)).
					Of(tensor.Clip(name)).At(d.Offset())
			}
			known[file] = file
			x.Files = append(x.Files, file)
		}
		x.Weights[name] = known[file]
		return nil
	})
}

// parseMetadata reads total_size where it is an integer. Older writers put a float, which is not
// exact.
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

const staleHint = "the index and the shards are not of one checkpoint; without the index, the shards themselves are read"

// Check reports a tensor that is not where the index at path says, or that the index does not
// have, as *tensor.FormatError.
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
	return tensor.Bad("tensor is not in %s, where the index places it (as %d in all)", x.Weights[first], len(lost)).
		In(path).Of(tensor.Clip(first)).Advise(staleHint)
}
