package convert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// OccupiedError reports that there is something at a destination that is not the complete result of this conversion.
type OccupiedError struct {
	Path    string
	Problem string // why it is not
}

func (e *OccupiedError) Error() string {
	return fmt.Sprintf("%s exists and is not the result of this conversion: %s", e.Path, e.Problem)
}

// Unwrap returns fs.ErrExist.
func (e *OccupiedError) Unwrap() error { return fs.ErrExist }

// IsComplete reports whether the destination has what Convert would write: its conversion.json records this source with
// these options, and the headers of its files are those of the recorded tensors. Elements are not read. It returns false
// if there is no destination, and an *OccupiedError if there is something else.
func IsComplete(ctx context.Context, src *tensor.Checkpoint, dst string, o Options) (bool, error) {
	dst, err := storage.LocalDestination(dst)
	if err != nil {
		return false, err
	}
	to, err := placeOf(ctx, dst, &o)
	if err != nil {
		return false, err
	}
	source, name, err := to.open()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	occupied := func(format string, args ...any) error {
		return &OccupiedError{storage.WithoutQuery(dst), fmt.Sprintf(format, args...)}
	}
	record, _, err := manifest.Read(source, name)
	if err != nil && !errors.As(err, new(*tensor.FormatError)) {
		return false, err
	}
	if record == nil {
		return false, occupied("it has no %s", manifest.Name)
	}
	o.Digest |= record.Algorithms() // what is recorded can be compared
	c, err := prepare(ctx, src, dst, o)
	if err != nil {
		return false, err
	}
	none := moves.NewDigests(c.List)
	here := c.record(none, none)
	difference, err := record.Differs(&here.head.Head, len(c.Dests), here.tensor)
	if err != nil {
		return false, err
	}
	if difference != "" {
		return false, occupied("%s", difference)
	}
	if record.Overflowed > 0 && !o.AllowInexact {
		return false, occupied("%s became infinite, which is not allowed", text.Count(record.Overflowed, "element"))
	}
	written, err := formats.OpenSource(source, name, formats.Options{})
	if bad := (*tensor.FormatError)(nil); errors.As(err, &bad) {
		return false, occupied("%v", bad)
	}
	if err != nil {
		return false, err
	}
	defer written.Close()
	if err := checkWritten(c, record, source, written, occupied); err != nil {
		return false, err
	}
	return true, nil
}

// checkWritten returns an error that occupied makes if a recorded tensor, or a file of the conversion, is not in what was written.
func checkWritten(c *conversion, record *manifest.Record, source fs.FS, written *tensor.Checkpoint, occupied func(format string, args ...any) error) error {
	err := record.Each(func(_ manifest.Span, t *manifest.Tensor) error {
		is := written.Tensor(t.Name)
		if is == nil || is.DType.String() != t.DType || !slices.Equal(is.Shape, t.Shape) {
			return occupied("it lacks tensor %s as recorded", tensor.QuoteName(t.Name))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, f := range c.files {
		if !storage.IsFile(source, written.Beside(f.Name)) {
			return occupied("it lacks %s", f.Name)
		}
	}
	return nil
}
