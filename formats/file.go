package formats

import (
	"io/fs"
	"path"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/flax"
	"github.com/griffin-ckpt/griffin/formats/internal/foreign"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch"
	"github.com/griffin-ckpt/griffin/formats/torch/ranks"
)

// openFile opens a regular file. Flax comes last, since its files have no signature.
func openFile(source fs.FS, name string, options Options) (*Checkpoint, error) {
	head, size, err := readHead(source, name)
	if err != nil {
		return nil, err
	}
	format := foreign.File(head)
	switch {
	case torch.Detect(head):
		c, err := torch.Open(source, name, options.torch())
		if tensor.ReasonOf(err) == torch.ReasonSharded {
			return ranks.Open(source, name, options.torch())
		}
		if err != nil && format.Kind == foreign.Other { // a zip file of another program
			return nil, format.Error(storage.Path(source, name))
		}
		return c, err
	case safetensors.Detect(head, size):
		return safetensors.Open(source, name)
	case format.Kind == foreign.JSON:
		return openIndex(source, name, options, format)
	case format.Kind != foreign.Unknown:
		return nil, format.Error(storage.Path(source, name))
	case flax.Detect(head):
		return flax.Open(source, name)
	}
	return nil, openBySuffix(source, name)
}

// Foreign returns the error that says what a file at path is, by its first 512 bytes, if it is no checkpoint: a Git LFS pointer, an empty file. It
// is nil for others.
func Foreign(path string, head []byte) error {
	if format := foreign.File(head); format.Kind == foreign.Other {
		return format.Error(path)
	}
	return nil
}

// openBySuffix says why a file of unknown format is not of the one that its name claims.
func openBySuffix(source fs.FS, name string) error {
	openTorch := func(source fs.FS, name string) (*Checkpoint, error) { return torch.Open(source, name, torch.Options{}) }
	open := map[string]func(fs.FS, string) (*Checkpoint, error){
		".safetensors": safetensors.Open,
		".msgpack":     flax.Open,
		".pt":          openTorch,
		".pth":         openTorch,
		".bin":         openTorch,
		".ckpt":        openTorch,
	}[strings.ToLower(path.Ext(name))]
	if open == nil {
		return unknown(storage.Path(source, name))
	}
	c, err := open(source, name)
	if err == nil { // it holds nothing
		c.Close()
		return unknown(storage.Path(source, name))
	}
	return tensor.AdviseIfSilent(err, formatsHint)
}

// readHead returns the first bytes of a regular file, and its size.
func readHead(source fs.FS, name string) ([]byte, int64, error) {
	f, size, err := storage.Open(source, name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	head, err := foreign.Head(f)
	return head, size, err
}

// openIndex opens the shards of an index. The first of them decides which format they have.
func openIndex(source fs.FS, name string, options Options, format foreign.Format) (*Checkpoint, error) {
	files, err := safetensors.IndexFiles(source, name)
	if err != nil {
		return nil, tensor.AdviseIfSilent(err, format.Hint)
	}
	if head, _, err := readHead(source, path.Join(path.Dir(name), files[0])); err == nil && torch.Detect(head) {
		return torch.Open(source, name, options.torch())
	}
	return safetensors.Open(source, name)
}
