package safetensors

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/internal/shardindex"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// IndexFiles returns the names of the files that the shard index at path refers to, in the order
// in which it first names them. All are names within the index's own directory.
func IndexFiles(path string) ([]string, error) {
	x, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	return x.Files, nil
}

// openIndex opens the shards beside an index and holds them against it: both must list the same
// tensors in the same files.
func openIndex(path string) (*tensor.Checkpoint, error) {
	x, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	opened, err := openAll(filepath.Dir(path), naturalOrder(x.Files))
	if err != nil {
		return nil, err
	}
	return newCheckpoint(path, opened, x)
}

func readIndex(path string) (*shardindex.Index, error) {
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
	x, err := shardindex.Parse(text)
	return x, tensor.Annotate(err, tensor.Location{File: path})
}

// checkIndex holds the shards against their index and returns what is odd about it but loses
// nothing: its total size, which other programs do not look at and some do not write correctly.
func checkIndex(x *shardindex.Index, path string, opened []*shard) (notes []string, err error) {
	list := make([]shardindex.Shard, len(opened))
	total := int64(0)
	for i, s := range opened {
		list[i] = shardindex.Shard{Path: s.path, Name: s.name, Tensors: s.Tensors}
		for _, t := range s.Tensors {
			total += t.Bytes()
		}
	}
	if err := x.Check(path, list); err != nil {
		return nil, err
	}
	if x.TotalSize >= 0 && x.TotalSize != total {
		notes = append(notes, fmt.Sprintf("the index gives a total size of %d bytes, the tensors have %d", x.TotalSize, total))
	}
	return notes, nil
}
