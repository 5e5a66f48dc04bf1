// Package torch reads the files of torch.save: the zip container of torch 1.6 and later, the legacy
// container before it, and directories of shards with an index (pytorch_model.bin.index.json). It
// writes the zip container of current torch (NewLayout).
//
// A checkpoint of torch is a pickle, which is a program. Nothing of it is run here, and nothing is made of
// the classes that it names: an object of an unknown class only has a name, and the tensors beside it are
// read (see internal/pickle). Storages are not read until a tensor is.
//
// The name of a tensor is its keys in nested dicts and its indices in lists, joined with dots:
// "optimizer.state.0.exp_avg". A tensor that was saved by itself is called "tensor". Values that are not
// tensors are counted and left out.
package torch

import (
	"io"
	"io/fs"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// Detect reports whether a file that begins with head, its first 512 bytes, is for this package: a
// zip file, or a pickle. Whether it is a checkpoint is found out by opening it.
func Detect(head []byte) bool { return savefile.Detect(head) }

// Options say what to make of a checkpoint.
type Options = savefile.Options

// The reasons for refusing files that Options or another package can read.
const (
	// ReasonUnreadable is given for tensors that cannot be read, such as sparse and quantized ones.
	ReasonUnreadable = savefile.Unreadable

	// ReasonSharded is given for files that hold one rank's parts of tensors; see package ranks.
	ReasonSharded = savefile.Sharded
)

// Open opens the checkpoint called name in a source: a file of torch.save, the index of shards in
// the same directory, or a directory of either. A corrupt checkpoint is a *tensor.FormatError.
func Open(source fs.FS, name string, options Options) (*tensor.Checkpoint, error) {
	info, err := fs.Stat(source, name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		c, err := openDirectory(source, name, options)
		if err == nil {
			c.Documents = name // Root is a file
		}
		return c, err
	}
	return openFile(source, name, options, true)
}

// openFile opens a file of torch.save or, if that is allowed, an index.
func openFile(source fs.FS, name string, options Options, mayBeIndex bool) (*tensor.Checkpoint, error) {
	f, size, err := storage.Open(source, name)
	if err != nil {
		return nil, err
	}
	path := storage.Path(source, name)
	var first [1]byte
	if n, _ := f.ReadAt(first[:], 0); n == 1 && first[0] == '{' && mayBeIndex {
		f.Close()
		c, err := openIndex(source, name, options)
		return c, tensor.Annotate(err, tensor.Location{File: path})
	}
	c, err := newReader(f, size, path, options, f)
	if err != nil {
		f.Close()
		return nil, tensor.Annotate(err, tensor.Location{File: path})
	}
	c.Source, c.Root = source, name
	return c, nil
}

// NewReader opens a checkpoint that is the first size bytes of r. Errors do not name a file, and
// closing the checkpoint does not close r.
func NewReader(r io.ReaderAt, size int64) (*tensor.Checkpoint, error) {
	return newReader(r, size, "", Options{})
}

func newReader(r io.ReaderAt, size int64, path string, options Options, closers ...io.Closer) (*tensor.Checkpoint, error) {
	f, err := savefile.Read(path, r, size)
	if err != nil {
		return nil, err
	}
	return f.Checkpoint(path, options, closers...)
}
