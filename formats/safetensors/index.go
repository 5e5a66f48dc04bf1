package safetensors

import (
	"fmt"
	"io/fs"

	"github.com/griffin-ckpt/griffin/formats/internal/shardindex"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// IndexFiles returns the names of the files that a shard index lists, in the order in which it
// first names them. All are in the directory of the index.
func IndexFiles(source fs.FS, name string) ([]string, error) {
	x, err := shardindex.Read(source, name)
	if err != nil {
		return nil, err
	}
	return x.Files, nil
}

// checkIndex checks that shards agree with their index. Its notes are about what loses nothing: a
// total size that is wrong, since other programs do not read it and some do not write it correctly.
func checkIndex(x *shardindex.Index, path string, shards []*shard) (notes []string, err error) {
	list := make([]shardindex.Shard, len(shards))
	total := int64(0)
	for i, s := range shards {
		list[i] = shardindex.Shard{Path: s.path, Name: s.name, Tensors: s.tensors}
		for _, t := range s.tensors {
			total += t.Bytes()
		}
	}
	if err := x.Check(path, list); err != nil {
		return nil, err
	}
	if x.TotalSize >= 0 && x.TotalSize != total {
		notes = append(notes, fmt.Sprintf("the index gives a total size of %s, the tensors have %s", text.Count(x.TotalSize, "byte"), text.Grouped(total)))
	}
	return notes, nil
}
