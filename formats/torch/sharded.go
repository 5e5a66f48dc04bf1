package torch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/internal/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// IndexName and WeightsName are what transformers calls the index of a checkpoint in shards, and a
// checkpoint that is one file.
const (
	IndexName   = "pytorch_model.bin.index.json"
	WeightsName = "pytorch_model.bin"
)

const (
	maxIndex      = 8 << 20 // bytes
	maxIndexDepth = 16
	staleHint     = "the index and the shards are not of one checkpoint"
)

// index is a shard index: which tensor is in which file of its directory.
type index struct {
	files     []string // sorted
	weights   map[string]string
	totalSize int64 // -1 where the index does not say so exactly
}

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
	x, err := parseIndex(text)
	if err != nil {
		return nil, err
	}
	return x.open(path)
}

func parseIndex(text []byte) (*index, error) {
	x := &index{totalSize: -1}
	d := strictjson.NewDecoder(text, maxIndexDepth)
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
	if err == nil && len(x.files) == 0 {
		err = tensor.Bad("index has no weight_map that names a file")
	}
	slices.Sort(x.files)
	return x, err
}

func (x *index) parseWeights(d *strictjson.Decoder) error {
	x.weights = map[string]string{}
	known := map[string]string{} // so that each file's name is held once
	return d.Object(func(name string) error {
		file, err := d.String()
		if err != nil {
			return err
		}
		if known[file] == "" {
			if !filepath.IsLocal(file) || file == "." || strings.ContainsAny(file, "/\\\x00") {
				return tensor.Bad("index places the tensor in %q, which is no file of its directory", file).Of(name)
			}
			known[file] = file
			x.files = append(x.files, file)
		}
		x.weights[name] = known[file]
		return nil
	})
}

// parseMetadata reads total_size where it is an integer; some writers put a float.
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

// open opens the shards of the index at path as one checkpoint.
func (x *index) open(path string) (*tensor.Checkpoint, error) {
	dir := filepath.Dir(path)
	var shards []*tensor.Checkpoint
	var closers []io.Closer
	var tensors []*tensor.Tensor
	closeAll := func() {
		for _, s := range shards {
			s.Close()
		}
	}
	for _, file := range x.files {
		s, err := openFile(filepath.Join(dir, file), false)
		if errors.Is(err, fs.ErrNotExist) {
			err = tensor.Bad("index names %s, which is not there", file)
		}
		if err != nil {
			closeAll()
			return nil, err
		}
		shards, closers = append(shards, s), append(closers, s)
		tensors = append(tensors, s.Tensors()...)
	}
	if err := x.check(shards); err != nil {
		closeAll()
		return nil, err
	}
	ckpt, err := tensor.NewCheckpoint(path, "torch-sharded", tensors, closers...)
	if err != nil {
		closeAll()
		return nil, err
	}
	ckpt.Describe("shards", fmt.Sprint(len(shards)))
	ckpt.Details = append(ckpt.Details, shards[0].Details...)
	x.note(ckpt, shards, dir)
	return ckpt, nil
}

// check reports a tensor that is not where the index says, or that the index does not have.
func (x *index) check(shards []*tensor.Checkpoint) error {
	seen := map[string]bool{}
	for i, s := range shards {
		for _, t := range s.Tensors() {
			file, ok := x.weights[t.Name]
			switch {
			case !ok:
				return tensor.Bad("tensor is not in the index").In(s.Path).Of(t.Name).Advise(staleHint)
			case file != x.files[i]:
				return tensor.Bad("index says that the tensor is in %s", file).In(s.Path).Of(t.Name).Advise(staleHint)
			}
			seen[t.Name] = true
		}
	}
	var lost []string
	for name := range x.weights {
		if !seen[name] {
			lost = append(lost, name)
		}
	}
	if len(lost) > 0 {
		slices.Sort(lost)
		return tensor.Bad("tensor is not in %s, where the index places it (as %d in all)", x.weights[lost[0]], len(lost)).
			Of(lost[0]).Advise(staleHint)
	}
	return nil
}

// note says where the index and the directory do not fit in ways that lose nothing. Which of the
// tensors that share a storage count towards total_size has changed between versions of
// transformers, so both ways are right.
func (x *index) note(ckpt *tensor.Checkpoint, shards []*tensor.Checkpoint, dir string) {
	all, once := int64(0), int64(0)
	for _, s := range shards {
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
	if x.totalSize >= 0 && x.totalSize != all && x.totalSize != once {
		ckpt.Notes = append(ckpt.Notes, fmt.Sprintf("the index gives a total size of %d bytes, the tensors have %d", x.totalSize, all))
	}
	others, _ := filepath.Glob(filepath.Join(dir, "pytorch_model-*.bin"))
	for _, path := range others {
		if name := filepath.Base(path); !slices.Contains(x.files, name) {
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
