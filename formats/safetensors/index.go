package safetensors

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/internal/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// index is what a shard index (model.safetensors.index.json) says.
type index struct {
	files     []string          // each shard once, as first named
	weights   map[string]string // tensor -> file, one of files
	totalSize int64             // bytes of all tensors, -1 where the index does not say so exactly
	foundSize int64             // what they really have, once checked
}

// IndexFiles returns the names of the files that the shard index at path refers to, in the order
// in which it first names them. All are names within the index's own directory.
func IndexFiles(path string) ([]string, error) {
	x, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	return x.files, nil
}

// openIndex opens the shards beside an index and holds them against it: both must list the same
// tensors in the same files.
func openIndex(path string) (*tensor.Checkpoint, error) {
	x, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	shards, err := openAll(filepath.Dir(path), naturalOrder(x.files))
	if err != nil {
		return nil, err
	}
	return newCheckpoint(path, shards, x)
}

func readIndex(path string) (*index, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > maxHeader {
		return nil, tensor.Bad("shard index of %d bytes is longer than the headers of all shards may be", size).In(path)
	}
	text, err := io.ReadAll(io.LimitReader(f, size))
	if err != nil {
		return nil, err
	}
	x, err := parseIndex(text)
	if bad, ok := err.(*tensor.FormatError); ok {
		return nil, bad.In(path)
	}
	return x, err
}

func parseIndex(text []byte) (*index, error) {
	x := &index{totalSize: -1}
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
	if err == nil && x.weights == nil {
		err = tensor.Bad("JSON without a weight_map is no shard index").Advise("give the weights, or the directory that holds them")
	}
	if err == nil && len(x.files) == 0 {
		err = tensor.Bad("weight_map names no file")
	}
	return x, err
}

func (x *index) parseWeights(d *strictjson.Decoder) error {
	x.weights = map[string]string{}
	known := map[string]string{} // so that each name is held once
	return d.Object(func(name string) error {
		file, err := d.String()
		if err != nil {
			return err
		}
		if known[file] == "" {
			if !isPlainName(file) {
				return tensor.Bad("weight_map places the tensor in %q, which is no file of the same directory", clip(file)).
					Of(clip(name)).At(d.Offset())
			}
			known[file] = file
			x.files = append(x.files, file)
		}
		x.weights[name] = known[file]
		return nil
	})
}

// parseMetadata reads total_size where it is an integer. Older writers put a float, which is not
// exact.
func (x *index) parseMetadata(d *strictjson.Decoder) error {
	return d.Object(func(key string) error {
		if key != "total_size" || d.Peek() != strictjson.KindNumber {
			return d.Skip()
		}
		n, err := d.Number()
		if size, ok := strictjson.Int(n); ok {
			x.totalSize = size
		}
		return err
	})
}

func isPlainName(name string) bool {
	return filepath.IsLocal(name) && name != "." && !strings.ContainsAny(name, "/\\\x00")
}

// check reports any difference between the index and the shards' headers.
func (x *index) check(path string, shards []*shard) error {
	total, seen := int64(0), 0
	for _, s := range shards {
		for _, t := range s.Tensors {
			file, ok := x.weights[t.Name]
			if !ok {
				return tensor.Bad("tensor is not in the index").In(s.path).Of(clip(t.Name)).Advise(staleHint)
			}
			if file != s.name {
				return tensor.Bad("the index says that the tensor is in %s", file).In(s.path).Of(clip(t.Name)).Advise(staleHint)
			}
			total += t.Bytes()
			seen++
		}
	}
	if seen < len(x.weights) {
		return x.lost(path, shards)
	}
	x.foundSize = total
	return nil
}

// note returns what is odd about the index but loses nothing: its total size, which other programs
// do not look at and some do not write correctly.
func (x *index) note() []string {
	if x.totalSize < 0 || x.totalSize == x.foundSize {
		return nil
	}
	return []string{fmt.Sprintf("the index gives a total size of %d bytes, the tensors have %d", x.totalSize, x.foundSize)}
}

const staleHint = "the index and the shards are not of one checkpoint; without the index, the shards themselves are read"

// lost names a tensor that the index has and no shard.
func (x *index) lost(path string, shards []*shard) error {
	held := map[string]bool{}
	for _, s := range shards {
		for _, t := range s.Tensors {
			held[t.Name] = true
		}
	}
	n, first := 0, ""
	for name := range x.weights {
		if !held[name] {
			if n++; n == 1 || name < first {
				first = name
			}
		}
	}
	return tensor.Bad("tensor is not in %s, where the index places it (as %d in all)", x.weights[first], n).
		In(path).Of(clip(first)).Advise(staleHint)
}
