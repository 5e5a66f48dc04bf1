package torch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/internal/shardindex"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// IndexName and WeightsName are what transformers calls the index of a checkpoint in shards, and a
// checkpoint that is one file.
const (
	IndexName   = "pytorch_model.bin.index.json"
	WeightsName = "pytorch_model.bin"
)

const maxIndex = 8 << 20 // bytes

// openIndex opens the shards that an index names and holds them against it: both must list the
// same tensors in the same files.
func openIndex(r io.ReaderAt, path string, size int64) (*tensor.Checkpoint, error) {
	if size > maxIndex {
		return nil, tensor.Bad("shard index of %d bytes exceeds %d MiB", size, maxIndex>>20)
	}
	text := make([]byte, size)
	if err := readFull(r, text, 0); err != nil {
		return nil, err
	}
	x, err := shardindex.Parse(text)
	if err != nil {
		return nil, err
	}
	slices.Sort(x.Files)
	return openShards(x, path)
}

// openShards opens the shards of the index at path as one checkpoint.
func openShards(x *shardindex.Index, path string) (*tensor.Checkpoint, error) {
	dir := filepath.Dir(path)
	var opened []*tensor.Checkpoint
	var list []shardindex.Shard
	var closers []io.Closer
	var tensors []*tensor.Tensor
	closeAll := func() {
		for _, s := range opened {
			s.Close()
		}
	}
	for _, file := range x.Files {
		s, err := openFile(filepath.Join(dir, file), false)
		if errors.Is(err, fs.ErrNotExist) {
			err = tensor.Bad("index names %s, which is not there", file)
		}
		if err != nil {
			closeAll()
			return nil, err
		}
		opened, closers = append(opened, s), append(closers, s)
		list = append(list, shardindex.Shard{Path: s.Path, Name: file, Tensors: s.Tensors()})
		tensors = append(tensors, s.Tensors()...)
	}
	if err := x.Check(path, list); err != nil {
		closeAll()
		return nil, err
	}
	ckpt, err := tensor.NewCheckpoint(path, "torch-sharded", tensors, closers...)
	if err != nil {
		closeAll()
		return nil, err
	}
	ckpt.Describe("shards", fmt.Sprint(len(opened)))
	ckpt.Details = append(ckpt.Details, opened[0].Details...)
	noteIndex(x, ckpt, opened, dir)
	return ckpt, nil
}

// noteIndex says where the index and the directory do not fit in ways that lose nothing. Which of the
// tensors that share a storage count towards total_size has changed between versions of
// transformers, so both ways are right.
func noteIndex(x *shardindex.Index, ckpt *tensor.Checkpoint, opened []*tensor.Checkpoint, dir string) {
	all, once := int64(0), int64(0)
	for _, s := range opened {
		counted := map[int64]bool{} // by where the storage begins
		for _, t := range s.Tensors() {
			all += t.Bytes()
			if at := storageOf(t); !counted[at] {
				once += t.Bytes()
				counted[at] = true
			}
		}
		for _, note := range s.Notes {
			ckpt.Notes = append(ckpt.Notes, filepath.Base(s.Path)+": "+note)
		}
	}
	if x.TotalSize >= 0 && x.TotalSize != all && x.TotalSize != once {
		ckpt.Notes = append(ckpt.Notes, fmt.Sprintf("the index gives a total size of %d bytes, the tensors have %d", x.TotalSize, all))
	}
	others, _ := filepath.Glob(filepath.Join(dir, "pytorch_model-*.bin"))
	for _, path := range others {
		if name := filepath.Base(path); !slices.Contains(x.Files, name) {
			ckpt.Notes = append(ckpt.Notes, name+" is in the directory, but not in the index")
		}
	}
}

// storageOf tells storages of one file apart.
func storageOf(t *tensor.Tensor) int64 {
	switch d := t.Data.(type) {
	case *tensor.Strided:
		return d.Base
	case *summed:
		return d.layout.Base
	case *inflated:
		return d.member.offset
	case *summedInflated:
		return d.member.offset
	}
	return -1
}

// openDirectory opens the checkpoint in a directory: the index, or the one file that transformers
// writes, or else the only file that torch.save has written.
func openDirectory(dir string) (*tensor.Checkpoint, error) {
	for _, name := range []string{IndexName, WeightsName} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return Open(path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	files, err := Files(dir)
	if err != nil {
		return nil, err
	}
	switch len(files) {
	case 0:
		return nil, tensor.Bad("directory holds no file of torch.save").In(dir)
	case 1:
		return Open(filepath.Join(dir, files[0]))
	}
	return nil, tensor.Bad("directory holds %d files of torch.save and no index", len(files)).In(dir).
		Advise("give the path of one, such as %s", filepath.Join(dir, files[0]))
}

// Files returns the names of the files directly in dir that begin as those of torch.save do,
// sorted.
func Files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			continue // not one that can be opened anyhow
		}
		head := make([]byte, headSize)
		n, _ := f.ReadAt(head, 0)
		f.Close()
		if Detect(head[:n]) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
