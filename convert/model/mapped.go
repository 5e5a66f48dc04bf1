package model

import (
	"errors"
	"io"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// MappedWeights are a model's parameters, used in place in files that are mapped. Decoding reads all
// weights for each token: it saves a copy of them in memory for each.
type MappedWeights struct {
	weights weights
	mu      sync.Mutex
	files   map[io.ReaderAt]*storage.Mapping // nil for what cannot be mapped
	placed  map[place]*reference.Parameter   // in files that are mapped: every token asks for all of them
}

// place is a parameter of a block.
type place struct {
	block int
	name  string
}

// MappedWeights returns the parameters as Weights does, but maps what lies uncompressed in local files. A
// pass over them returns reference.ErrMapping if such a file becomes shorter. No pass may run after
// Close.
func (m *Model) MappedWeights() *MappedWeights {
	return &MappedWeights{weights: weights{m}, files: map[io.ReaderAt]*storage.Mapping{}, placed: map[place]*reference.Parameter{}}
}

// Parameter implements reference.Weights.
func (w *MappedWeights) Parameter(block int, name string) (*reference.Parameter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.placed[place{block, name}]; p != nil {
		return p, nil
	}
	p, err := w.weights.Parameter(block, name)
	if err != nil {
		return nil, err
	}
	s, ok := p.Data.(*fileRange)
	if !ok || !storage.CanMap(tensor.Unchecked(s.store)) {
		return p, nil
	}
	store, err := tensor.Checked(s.store)
	if err != nil {
		return nil, tensor.Annotate(err, tensor.Location{Tensor: s.tensor})
	}
	file, err := w.file(store)
	if err != nil {
		return nil, err
	}
	if file != nil && s.base+s.size <= int64(len(file.Bytes)) {
		p.Data = reference.Bytes(file.Bytes[s.base:][:s.size])
		w.placed[place{block, name}] = p
	}
	return p, nil
}

// file returns the mapping of a file, or nil if it cannot be mapped.
func (w *MappedWeights) file(store io.ReaderAt) (*storage.Mapping, error) {
	if file, ok := w.files[store]; ok {
		return file, nil
	}
	file, err := storage.Map(store)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	w.files[store] = file
	return file, nil
}

// Close ends the mappings.
func (w *MappedWeights) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for _, file := range w.files {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	clear(w.files)
	clear(w.placed)
	return errors.Join(errs...)
}
