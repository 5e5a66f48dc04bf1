package tensor

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Slice returns the part of t that a basic NumPy index names, such as "0:4, :, -1": ranges
// without a step keep their axis, a single index drops it, axes not named are whole. The elements
// stay unread.
func Slice(t *Tensor, index string) (*Tensor, error) {
	box, kept, err := parseIndex(t.Shape, index)
	if err != nil {
		return nil, err
	}
	part := &Tensor{Name: fmt.Sprintf("%s[%s]", t.Name, strings.TrimSpace(index)), DType: t.DType}
	for _, axis := range kept {
		part.Shape = append(part.Shape, box.Shape[axis])
	}
	if t.DType.Size() == 0 {
		return nil, Bad("elements of %s are packed and cannot be sliced", t.DType).Of(t.Name)
	}
	part.Data = sliced{t, box}
	return part, nil
}

// parseIndex returns the box of the shape that the index names, all axes kept, and the axes that
// the result keeps.
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

// indexNumber parses one number of an index; negative ones count from the end n.
func indexNumber(s string, missing, n int64) (int64, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return missing, nil
	}
	i, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no index (steps are not supported)", s)
	}
	if i < 0 {
		i += n
	}
	if i < 0 {
		return 0, fmt.Errorf("%q is outside an axis of size %d", s, n)
	}
	return i, nil
}

// sliced is a box of another tensor's elements.
type sliced struct {
	of  *Tensor
	box View // over the row-major elements of of
}

func (s sliced) Stream(off int64) (io.ReadCloser, error) {
	first, _ := s.box.Span()
	size := s.of.DType.Size()
	src, err := s.of.Data.Stream(first * size)
	if err != nil {
		return nil, err
	}
	r := &sliceReader{src: src, at: first, box: s.box, size: size, total: s.box.Elements()}
	if _, err := io.CopyN(io.Discard, r, off); err != nil && err != io.EOF {
		src.Close()
		return nil, err
	}
	return r, nil
}

// sliceReader passes on those elements of a row-major stream that lie in a box, and skips the
// others.
type sliceReader struct {
	src   io.ReadCloser
	at    int64 // element of the stream that comes next
	box   View
	size  int64
	next  int64 // element of the box that comes next
	total int64
	run   int64 // bytes of consecutive elements left to pass on
}

func (r *sliceReader) Close() error { return r.src.Close() }

func (r *sliceReader) Read(p []byte) (int, error) {
	if r.run == 0 {
		if r.next == r.total {
			return 0, io.EOF
		}
		box, n := LeadingBox(r.box, r.next, r.total)
		for !box.IsRowMajor() { // halve until the elements of the box follow each other
			box, n = LeadingBox(r.box, r.next, n/2)
		}
		if _, err := io.CopyN(io.Discard, r.src, (box.Offset-r.at)*r.size); err != nil {
			return 0, err
		}
		r.next, r.at, r.run = r.next+n, box.Offset+n, n*r.size
	}
	n, err := r.src.Read(p[:min(int64(len(p)), r.run)])
	r.run -= int64(n)
	if err == io.EOF && (r.run > 0 || r.next < r.total) {
		err = io.ErrUnexpectedEOF
	} else if err == io.EOF && n > 0 {
		err = nil
	}
	return n, err
}
