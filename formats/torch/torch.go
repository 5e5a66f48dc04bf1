// Package torch reads the files of torch.save: the zip container of torch 1.6 and later, the legacy
// container before it, and directories of shards with an index (pytorch_model.bin.index.json). It
// writes the zip container of current torch (NewLayout).
//
// A checkpoint of torch is a pickle, which is a program. This package does not run it: a scanner
// accepts a short list of opcodes, classes and functions, and the functions of this package that stand
// for them only record their arguments (see scanner and globals). A storage is read when a tensor is.
//
// The name of a tensor is its keys in nested dicts and its indices in lists, joined with dots:
// "optimizer.state.0.exp_avg". A tensor that was saved by itself is called "tensor". Values that are not
// tensors are counted and left out.
package torch

import (
	"bytes"
	"io"
	"io/fs"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// headSize is how many bytes of a file Detect needs.
const headSize = 512

// Detect reports whether a file that begins with head, its first 512 bytes, is a zip file or a pickle.
// Opening it shows whether it is a checkpoint.
func Detect(head []byte) bool {
	return bytes.HasPrefix(head, []byte(localMark)) || isLegacy(head) || isPickle(head)
}

// isPickle reports whether head begins like a pickle of protocols 2 to 5. The third byte is then an
// opcode. No opcode is 0, as the third byte of a short safetensors file is.
func isPickle(head []byte) bool {
	return len(head) > 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5 &&
		(opcodes[head[2]].check != nil || refusedOpcodes[head[2]] != "") &&
		!(len(head) > 8 && head[8] == '{' && bytes.Equal(head[4:8], make([]byte, 4)))
}

// Open opens the checkpoint called name in a source: a file of torch.save, the index of shards in
// the same directory, or a directory of either. A corrupt checkpoint is a *tensor.FormatError.
func Open(source fs.FS, name string) (*tensor.Checkpoint, error) {
	info, err := fs.Stat(source, name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return openDirectory(source, name)
	}
	return openFile(source, name, true)
}

// openFile opens a file of torch.save or, if that is allowed, an index.
func openFile(source fs.FS, name string, mayBeIndex bool) (*tensor.Checkpoint, error) {
	f, size, err := storage.Open(source, name)
	if err != nil {
		return nil, err
	}
	path := storage.Path(source, name)
	var first [1]byte
	if n, _ := f.ReadAt(first[:], 0); n == 1 && first[0] == '{' && mayBeIndex {
		f.Close()
		c, err := openIndex(source, name)
		return c, tensor.Annotate(err, tensor.Location{File: path})
	}
	c, err := newReader(f, size, path, f)
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
	return newReader(r, size, "")
}

func newReader(r io.ReaderAt, size int64, path string, closers ...io.Closer) (*tensor.Checkpoint, error) {
	head := make([]byte, min(size, headSize))
	if err := tensor.ReadFullAt(r, head, 0); err != nil {
		return nil, err
	}
	c, err := read(r, size, head)
	if err != nil {
		return nil, err
	}
	return c.checkpoint(path, closers)
}

// read reads the container that the file begins like.
func read(r io.ReaderAt, size int64, head []byte) (*contents, error) {
	const tarMark = 257 // offset of "ustar"
	switch {
	case len(head) == 0:
		return nil, tensor.Bad("file is empty")
	case bytes.HasPrefix(head, []byte(localMark)):
		return readZip(r, size)
	case isLegacy(head):
		return readLegacy(r, size)
	case isPickle(head):
		return nil, tensor.Bad("file is a pickle, but does not begin with torch's magic number").Advise(adviceToResave)
	case len(head) > tarMark+5 && string(head[tarMark:][:5]) == "ustar":
		return nil, tensor.Bad("tar container of torch before 0.4, which griffin does not read").
			Advise("load the file with torch and save it again")
	}
	return nil, tensor.Bad("neither a zip file nor a legacy file of torch.save")
}
