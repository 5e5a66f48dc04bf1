package tensor

import (
	"errors"
	"io"
)

// Checkpoint is an opened checkpoint of any format: tensors in the order the format lists them,
// and what else its headers say. Nothing of it is proportional to the weights.
type Checkpoint struct {
	Path     string            // what was opened
	Format   string            // short name: "safetensors", "torch-zip", "orbax-ocdbt", …
	Details  []Detail          // further facts about the container, for people
	Metadata map[string]string // free text that the format carries (safetensors __metadata__)
	Notes    []string          // oddities that do not prevent reading, one sentence each

	tensors []*Tensor
	byName  map[string]*Tensor
	closers []io.Closer
}

// Detail is one fact about a container, such as {"step", "7"}.
type Detail struct{ Key, Value string }

// NewCheckpoint returns a checkpoint of those tensors, in that order. Two tensors of one name are
// a *FormatError. Close closes the closers, last first.
func NewCheckpoint(path, format string, tensors []*Tensor, closers ...io.Closer) (*Checkpoint, error) {
	c := &Checkpoint{Path: path, Format: format, tensors: tensors,
		byName: make(map[string]*Tensor, len(tensors)), closers: closers}
	for _, t := range tensors {
		if c.byName[t.Name] != nil {
			return nil, Bad("two tensors of one name").In(path).Of(t.Name)
		}
		c.byName[t.Name] = t
	}
	return c, nil
}

// Tensors returns all tensors in the checkpoint's own order. The caller does not change the slice.
func (c *Checkpoint) Tensors() []*Tensor { return c.tensors }

// Tensor returns the tensor of that full name, or nil.
func (c *Checkpoint) Tensor(name string) *Tensor { return c.byName[name] }

// Describe adds a fact about the container.
func (c *Checkpoint) Describe(key, value string) {
	c.Details = append(c.Details, Detail{key, value})
}

// Close releases the files; reading a tensor afterwards fails.
func (c *Checkpoint) Close() error {
	var errs []error
	for i := len(c.closers) - 1; i >= 0; i-- {
		errs = append(errs, c.closers[i].Close())
	}
	c.closers = nil
	return errors.Join(errs...)
}
