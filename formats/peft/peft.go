// Package peft reads the adapter directories of the PEFT library: adapter_config.json and the weights beside it, as
// safetensors or as a file of torch.save.
//
// Open returns the tensors, as for any format. Read also returns what the adapter changes: for each parameter of the
// base model, what replaces it or is added to it. Read supports LoRA on dense layers and embeddings, DoRA, biases, and
// fully trained modules and token rows. It refuses all other methods of PEFT by name, since a merge would be another
// model than the one that PEFT runs.
//
// Source: huggingface/peft 0.21 (tuners/lora/config.py, layer.py, utils/save_and_load.py).
package peft

import (
	"errors"
	"io/fs"
	"path"

	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch"
)

// The files of an adapter.
const (
	ConfigName  = "adapter_config.json"
	WeightsName = "adapter_model.safetensors"
	torchName   = "adapter_model.bin"
)

// Format is the name of the format in a Checkpoint.
const Format = "peft"

// Detect reports whether a directory is an adapter: whether it holds an adapter_config.json.
func Detect(source fs.FS, dir string) bool {
	return storage.IsFile(source, path.Join(dir, ConfigName))
}

// Open opens the tensors of the adapter in a directory under the names that its file has. An adapter
// that cannot be merged is opened too; a note says why it cannot be merged. A configuration that is
// not JSON, or weights that cannot be read, are a *tensor.FormatError.
func Open(source fs.FS, dir string) (*tensor.Checkpoint, error) {
	c, config, err := open(source, dir)
	if err != nil {
		return nil, err
	}
	changes, err := config.changes(c.Tensors())
	if err != nil {
		var bad *tensor.FormatError
		if !errors.As(err, &bad) {
			return nil, errors.Join(err, c.Close())
		}
		c.Notes = append(c.Notes, "cannot be merged: "+bad.Error())
	}
	describe(c, config, changes)
	c.Path, c.Root = storage.Path(source, dir), dir
	return c, nil
}

// Adapter is an adapter that can be merged.
type Adapter struct {
	Path    string   // of its directory, as users call it
	Source  fs.FS    // that its files are read from
	Files   []string // names in Source of its configuration and its weights
	Config  *Config
	Weights *tensor.Checkpoint // to be closed after use

	// Changes lists the parameters of the base that change, each once, in the order of the file. The list is made anew at each call,
	// so that it does not stay in memory: there may be very many.
	Changes func() []Change
}

// Read opens the adapter in a directory and finds out what it changes. An adapter that cannot be
// merged exactly is a *tensor.FormatError that says why, as is one whose tensors are not those that
// its configuration asks for.
func Read(source fs.FS, dir string) (*Adapter, error) {
	c, config, err := open(source, dir)
	if err != nil {
		return nil, err
	}
	a := &Adapter{Path: storage.Path(source, dir), Source: source, Files: []string{path.Join(dir, ConfigName), c.Root}, Config: config, Weights: c}
	if _, err = config.changes(c.Tensors()); err != nil {
		return nil, errors.Join(tensor.Annotate(err, tensor.Location{File: a.Path}), c.Close())
	}
	a.Changes = func() []Change {
		changes, _ := config.changes(c.Tensors()) // no error, as above
		return changes
	}
	for _, t := range c.Tensors() {
		if checker, ok := t.Data.(tensor.Checker); ok {
			if err := checker.Check(); err != nil {
				return nil, errors.Join(err, c.Close())
			}
		}
	}
	return a, nil
}

// Close releases the files.
func (a *Adapter) Close() error { return a.Weights.Close() }

// open reads the configuration and opens the weights.
func open(source fs.FS, dir string) (*tensor.Checkpoint, *Config, error) {
	config, err := readConfig(source, path.Join(dir, ConfigName))
	if err != nil {
		return nil, nil, err
	}
	c, err := openWeights(source, dir)
	return c, config, err
}

func openTorch(source fs.FS, name string) (*tensor.Checkpoint, error) {
	return torch.Open(source, name, torch.Options{})
}

func openWeights(source fs.FS, dir string) (*tensor.Checkpoint, error) {
	for _, f := range []struct {
		name string
		open func(fs.FS, string) (*tensor.Checkpoint, error)
	}{{WeightsName, safetensors.Open}, {torchName, openTorch}} {
		name := path.Join(dir, f.name)
		if _, err := fs.Stat(source, name); err == nil {
			return f.open(source, name)
		}
	}
	return nil, tensor.Bad("an adapter without its weights: there is neither %s nor %s", WeightsName, torchName).
		In(storage.Path(source, dir)).Advise("download or copy the weights too")
}
