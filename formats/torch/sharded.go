package torch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/internal/shardindex"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// The names that transformers gives to the index of a checkpoint in shards and to a checkpoint of one
// file.
const (
	IndexName   = "pytorch_model.bin.index.json"
	WeightsName = "pytorch_model.bin"
)

// openIndex opens the shards of an index as one checkpoint. Both must list the same tensors in the
// same files.
func openIndex(source fs.FS, name string, options Options) (c *tensor.Checkpoint, err error) {
	x, err := shardindex.Read(source, name)
	if err != nil {
		return nil, err
	}
	slices.Sort(x.Files)
	var shards []*tensor.Checkpoint
	defer func() {
		if err != nil {
			for _, s := range shards {
				s.Close()
			}
		}
	}()
	var list []shardindex.Shard
	var closers []io.Closer
	var tensors []*tensor.Tensor
	for _, file := range x.Files {
		s, err := openFile(source, path.Join(path.Dir(name), file), options, false)
		if errors.Is(err, fs.ErrNotExist) {
			err = tensor.Bad("index names %s, which does not exist", file)
		}
		if err != nil {
			return nil, err
		}
		shards, closers = append(shards, s), append(closers, s)
		list = append(list, shardindex.Shard{Path: s.Path, Name: file, Tensors: s.Tensors()})
		tensors = append(tensors, s.Tensors()...)
	}
	if err := x.Check(storage.Path(source, name), list); err != nil {
		return nil, err
	}
	if c, err = tensor.NewCheckpoint(storage.Path(source, name), "torch-sharded", tensors, closers...); err != nil {
		return nil, err
	}
	c.Source, c.Root = source, name
	c.Describe("shards", fmt.Sprint(len(shards)))
	c.Details = append(c.Details, shards[0].Details...)
	noteShards(c, x, shards)
	noteOthers(c, x)
	return c, nil
}

// noteShards adds the notes of the shards, and one about a total_size that is wrong. Versions of
// transformers differ in whether tensors that share a storage count once or each, so both are right.
func noteShards(c *tensor.Checkpoint, x *shardindex.Index, shards []*tensor.Checkpoint) {
	all, once := int64(0), int64(0)
	for i, s := range shards {
		counted := map[int64]bool{} // by storage
		for _, t := range s.Tensors() {
			all += t.Bytes()
			if at := savefile.StorageOffset(t); !counted[at] {
				once += t.Bytes()
				counted[at] = true
			}
		}
		c.LeftOut = append(c.LeftOut, s.LeftOut...)
		for _, note := range s.Notes {
			c.Notes = append(c.Notes, x.Files[i]+": "+note)
		}
	}
	if x.TotalSize >= 0 && x.TotalSize != all && x.TotalSize != once {
		c.Notes = append(c.Notes, fmt.Sprintf("the index gives a total size of %s, the tensors have %s", text.Count(x.TotalSize, "byte"), text.Grouped(all)))
	}
}

// noteOthers notes files in the directory of an index that look like shards, but are not in it.
func noteOthers(c *tensor.Checkpoint, x *shardindex.Index) {
	entries, _ := fs.ReadDir(c.Source, path.Dir(c.Root))
	for _, e := range entries {
		like, _ := path.Match("pytorch_model-*.bin", e.Name())
		if like && !slices.Contains(x.Files, e.Name()) {
			c.Notes = append(c.Notes, e.Name()+" is in the directory, but not in the index")
		}
	}
}

// openDirectory opens the checkpoint of a directory: its index, else the single file that
// transformers writes, else the only file of torch.save.
func openDirectory(source fs.FS, dir string, options Options) (*tensor.Checkpoint, error) {
	for _, name := range []string{IndexName, WeightsName} {
		name = path.Join(dir, name)
		if _, err := fs.Stat(source, name); err == nil {
			return Open(source, name, options)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	files, err := Files(source, dir)
	if err != nil {
		return nil, err
	}
	if lacksIndexOfDCP(files) {
		return nil, tensor.Bad("directory holds files of a distributed checkpoint of PyTorch, and no .metadata").In(storage.Path(source, dir)).
			Advise("copy .metadata too, whose name begins with a dot; a checkpoint that was never finished has none")
	}
	switch len(files) {
	case 0:
		return nil, tensor.Bad("directory holds no file of torch.save").In(storage.Path(source, dir))
	case 1:
		return Open(source, path.Join(dir, files[0]), options)
	}
	slices.SortFunc(files, tensor.CompareNames)
	if slices.ContainsFunc(files, IsShard) {
		return nil, tensor.Bad("directory holds shards of a checkpoint and no index: %s", tensor.JoinNames(files)).In(storage.Path(source, dir)).
			Advise("the checkpoint is incomplete: download or copy its index too, such as %s", IndexName)
	}
	return nil, tensor.Bad("directory holds %d files of torch.save and no index: %s", len(files), tensor.JoinNames(files)).In(storage.Path(source, dir)).Because(tensor.SeveralFiles).
		Advise("give the path of one, such as %s", storage.Path(source, path.Join(dir, files[0])))
}

// shardName matches the number of shards in the name of one: model-00001-of-00004.safetensors.
var shardName = regexp.MustCompile(`-of-\d+`)

// IsShard reports whether a file of that name holds a part of a checkpoint, of any format, as its number of shards says.
func IsShard(name string) bool { return shardName.MatchString(name) }

// lacksIndexOfDCP reports whether files are those of a distributed checkpoint, __0_0.distcp and others, which is opened by its .metadata.
func lacksIndexOfDCP(files []string) bool {
	return slices.ContainsFunc(files, func(name string) bool { return strings.HasPrefix(name, "__") && path.Ext(name) == ".distcp" })
}

// Files returns the names of the files in a directory that begin like those of torch.save, sorted.
func Files(source fs.FS, dir string) ([]string, error) {
	entries, err := fs.ReadDir(source, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		f, _, err := storage.Open(source, path.Join(dir, e.Name()))
		if err != nil {
			continue // not a file, or not readable
		}
		head := make([]byte, savefile.HeadSize)
		n, err := f.ReadAt(head, 0)
		if err = errors.Join(err, f.Close()); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if Detect(head[:n]) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
