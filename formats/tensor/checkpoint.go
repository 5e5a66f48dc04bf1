package tensor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Checkpoint is an open checkpoint of any format: its tensors in the order in which the format
// lists them, and the other facts in its headers. Its memory does not grow with the weights.
type Checkpoint struct {
	Path     string            // what was opened, as users call it
	Format   string            // short name: "safetensors", "torch-zip", "orbax-ocdbt", …
	Details  []Detail          // further facts about the container, for users
	Metadata map[string]string // free text in the checkpoint, such as __metadata__ of safetensors
	Notes    []string          // anomalies that do not prevent reading, one sentence each
	LeftOut  []string          // names of tensors that the files have and that are not listed; see LeaveOut

	Source fs.FS  // the files that the checkpoint is one of; see package storage
	Root   string // name of what was opened in Source, a file or a directory

	// Documents is the directory in Source of the files that describe the model (config.json and the
	// tokenizer), if it is not the one that Root is or is in, or if it was opened and Root is a file in it.
	Documents string

	tensors []*Tensor
	byName  []int32 // indexes of tensors, sorted by name
	closers []io.Closer
}

// Detail is one fact about a container, such as {"step", "7"}.
type Detail struct{ Key, Value string }

// NewCheckpoint returns a checkpoint of the tensors, in that order. Two tensors of one name are a
// *FormatError, and so is a list that exceeds a limit (MaxTensors and others). Close closes the closers, last first.
// The checkpoint has an empty Source.
func NewCheckpoint(path, format string, tensors []*Tensor, closers ...io.Closer) (*Checkpoint, error) {
	c := &Checkpoint{Path: path, Format: format, Source: noFiles{}, Root: ".",
		tensors: tensors, closers: closers}
	var count Count
	for _, t := range tensors {
		if err := count.Add(t.Name, len(t.Shape)); err != nil {
			return nil, Annotate(err, Location{File: path})
		}
	}
	c.byName = make([]int32, len(tensors))
	for i := range c.byName {
		c.byName[i] = int32(i)
	}
	slices.SortFunc(c.byName, func(a, b int32) int { return strings.Compare(tensors[a].Name, tensors[b].Name) })
	for k := 1; k < len(c.byName); k++ {
		if name := tensors[c.byName[k]].Name; name == tensors[c.byName[k-1]].Name {
			return nil, Bad("two tensors of one name").In(path).Of(name)
		}
	}
	return c, nil
}

// With returns a checkpoint with the facts of c, and other tensors. Closing it closes no files.
func (c *Checkpoint) With(tensors []*Tensor) (*Checkpoint, error) {
	other, err := NewCheckpoint(c.Path, c.Format, tensors)
	if err != nil {
		return nil, err
	}
	other.Details, other.Metadata, other.Notes, other.LeftOut = c.Details, c.Metadata, c.Notes, c.LeftOut
	other.Source, other.Root, other.Documents = c.Source, c.Root, c.Documents
	return other, nil
}

// Tensors returns all tensors in the checkpoint's own order. The caller does not change the slice.
func (c *Checkpoint) Tensors() []*Tensor { return c.tensors }

// Tensor returns the tensor with the full name, or nil.
func (c *Checkpoint) Tensor(name string) *Tensor {
	k, found := slices.BinarySearchFunc(c.byName, name, func(i int32, name string) int { return strings.Compare(c.tensors[i].Name, name) })
	if !found {
		return nil
	}
	return c.tensors[c.byName[k]]
}

// ShareNames lets tensors that have the same name in another checkpoint share its memory. No other goroutine uses c meanwhile.
func (c *Checkpoint) ShareNames(with *Checkpoint) {
	for _, t := range c.tensors {
		if other := with.Tensor(t.Name); other != nil {
			t.Name = other.Name
		}
	}
}

// LeaveOut notes that tensors of a kind, such as "tensors that cannot be read", are left out.
func (c *Checkpoint) LeaveOut(kind string, names []string) {
	if len(names) > 0 {
		c.LeftOut = append(c.LeftOut, names...)
		c.Notes = append(c.Notes, fmt.Sprintf("%s are left out (%d): %s", kind, len(names), JoinNames(names)))
	}
}

// Describe adds a fact about the container.
func (c *Checkpoint) Describe(key, value string) {
	c.Details = append(c.Details, Detail{key, value})
}

// Step returns the step of a training run that was selected, or found, in the directory that was opened; "" for none.
func (c *Checkpoint) Step() string {
	for _, d := range c.Details {
		if d.Key == StepKey {
			return d.Value
		}
	}
	return ""
}

// StepKey is the key of the Detail that Step returns.
const StepKey = "step"

// The key of the Detail that says of what a container keeps checksums, which every package of a format adds,
// and its value for none.
const (
	Checksums   = "checksums"
	NoChecksums = "none"
)

// Beside returns the name in Source of a file in Documents, or else in the directory that was opened, or in
// the directory of the file that was opened.
func (c *Checkpoint) Beside(name string) string {
	dir := c.Root
	if c.Documents != "" {
		return path.Join(c.Documents, name)
	}
	if info, err := fs.Stat(c.Source, dir); err != nil || !info.IsDir() {
		dir = path.Dir(dir)
	}
	return path.Join(dir, name)
}

// Close closes the files. Reading a tensor afterwards fails.
func (c *Checkpoint) Close() error {
	var errs []error
	for i := len(c.closers) - 1; i >= 0; i-- {
		errs = append(errs, c.closers[i].Close())
	}
	c.closers = nil
	return errors.Join(errs...)
}

// noFiles is the source of checkpoints that were not read from files.
type noFiles struct{}

func (noFiles) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
