package tensor

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// Slice returns the part of t that a basic NumPy index selects, such as "0:4, :, -1". A range without
// a step keeps its axis, a single index drops it, and axes without an index are whole. Nothing is read
// yet. A stream of the part gives nothing before the checksums of the chunks of t were found right.
func Slice(t *Tensor, index string) (*Tensor, error) {
	box, kept, err := parseIndex(t.Shape, index)
	if err != nil {
		return nil, err
	}
	if t.DType.Size() == 0 {
		return nil, Bad("elements of %s are packed and cannot be sliced", t.DType).Of(t.Name)
	}
	view := View{Offset: box.Offset}
	for _, axis := range kept {
		view.Shape = append(view.Shape, box.Shape[axis])
		view.Strides = append(view.Strides, box.Strides[axis])
	}
	part, err := Viewed(t, view)
	if err != nil {
		return nil, err
	}
	if c, ok := t.Data.(CheckedAtEnd); ok && c.ChecksAtEnd() {
		part.Data = &afterCheck{Data: part.Data, of: t}
	}
	part.Name = fmt.Sprintf("%s[%s]", t.Name, strings.TrimSpace(index))
	return part, nil
}

// afterCheck is Data of a part of a tensor, which is read whole for its checksums before the part is.
type afterCheck struct {
	Data
	of    *Tensor
	once  sync.Once
	wrong error
}

// Stream implements Data.
func (d *afterCheck) Stream(off int64) (io.ReadCloser, error) {
	d.once.Do(func() {
		r, err := d.of.Data.Stream(0)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			err = errors.Join(err, r.Close())
		}
		d.wrong = Annotate(err, Location{Tensor: d.of.Name})
	})
	if d.wrong != nil {
		return nil, d.wrong
	}
	return d.Data.Stream(off)
}

// parseIndex returns the box that an index selects, with all axes, and the axes that the result keeps.
func parseIndex(shape []int64, index string) (box View, kept []int, err error) {
	box = RowMajor(shape...)
	fields := strings.Split(index, ",")
	if len(fields) > len(shape) {
		return box, nil, fmt.Errorf("index [%s] has %d axes, the tensor %d", index, len(fields), len(shape))
	}
	for axis := range shape {
		field := ":"
		if axis < len(fields) {
			field = strings.TrimSpace(fields[axis])
		}
		from, to, isRange := strings.Cut(field, ":")
		n := shape[axis]
		lo, err := indexNumber(from, 0, n)
		if err != nil {
			return box, nil, fmt.Errorf("index [%s]: %w", index, err)
		}
		if !isRange {
			if from == "" || lo >= n {
				return box, nil, fmt.Errorf("index [%s]: %q is outside axis %d of size %d", index, field, axis, n)
			}
			box = box.Narrow(axis, lo, 1)
			continue
		}
		hi, err := indexNumber(to, n, n)
		if err != nil {
			return box, nil, fmt.Errorf("index [%s]: %w", index, err)
		}
		lo, hi = min(lo, n), min(hi, n)
		box = box.Narrow(axis, lo, max(hi-lo, 0))
		kept = append(kept, axis)
	}
	return box, kept, nil
}

// indexNumber parses a number of an index. Negative numbers count from the end n.
func indexNumber(s string, missing, n int64) (int64, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return missing, nil
	}
	i, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not an index (steps are not supported)", s)
	}
	if i < 0 {
		i += n
	}
	if i < 0 {
		return 0, fmt.Errorf("%q is outside an axis of size %d", s, n)
	}
	return i, nil
}
