package explain

import (
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Part is what consecutive elements of a tensor are expected to be: elements of a source tensor.
type Part struct {
	Source *tensor.Tensor
	View   tensor.View // which of Source's row-major elements, in which order
	Divide float64     // divides each element before it is rounded; 0 if nothing is divided
}

// Expected returns the tensor whose elements are those of the parts, one part after another, rounded to
// dtype where they have another. It is operand A of a pair whose B should hold them. Nothing is read before
// the elements are. A part that does not lie within its source, or that cannot be converted, is a
// *tensor.FormatError.
func Expected(name string, dtype tensor.DType, shape []int64, parts ...Part) (*tensor.Tensor, error) {
	out := &tensor.Tensor{Name: name, DType: dtype, Shape: shape}
	all := make(concatenated, len(parts))
	for i, p := range parts {
		shown, err := tensor.Viewed(p.Source, p.View)
		if err != nil {
			return nil, err
		}
		all[i] = converted{of: shown, bytes: shown.Elements() * dtype.Size(), size: dtype.Size()}
		switch {
		case p.Divide != 0:
			all[i].convert, err = tensor.NewDivide(shown.DType, dtype, p.Divide)
		case shown.DType != dtype:
			var cast tensor.Cast
			cast, err = tensor.NewCast(shown.DType, dtype)
			all[i].convert = func(dst, src []byte) (int64, int64) { return cast(dst, src), 0 }
		}
		if err != nil {
			return nil, tensor.Annotate(err, tensor.Location{Tensor: shown.Name})
		}
	}
	if len(all) == 1 && all[0].convert == nil {
		out.Data = all[0].of.Data
	} else {
		out.Data = all
	}
	return out, nil
}

// concatenated is Data that consists of several parts.
type concatenated []converted

// Stream implements tensor.Data.
func (c concatenated) Stream(off int64) (io.ReadCloser, error) {
	var opened closers
	var readers []io.Reader
	for _, part := range c {
		if off >= part.bytes {
			off -= part.bytes
			continue
		}
		r, err := part.stream(off)
		if err != nil {
			opened.Close()
			return nil, err
		}
		opened, readers, off = append(opened, r), append(readers, r), 0
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(readers...), opened}, nil
}

type closers []io.Closer

// Close implements io.Closer.
func (c closers) Close() (err error) {
	for _, one := range c {
		if e := one.Close(); err == nil {
			err = e
		}
	}
	return err
}

// converted is a part of a tensor, of whole elements.
type converted struct {
	of          *tensor.Tensor
	convert     tensor.Divide // nil to copy
	bytes, size int64         // after converting: of all elements, and of one
}

func (c *converted) stream(off int64) (io.ReadCloser, error) {
	if c.convert == nil {
		return c.of.Data.Stream(off)
	}
	r, err := c.of.Data.Stream(off / c.size * c.of.DType.Size())
	if err != nil {
		return nil, err
	}
	reader := &convertingReader{r: r, part: c, left: c.bytes/c.size - off/c.size}
	if _, err := io.CopyN(io.Discard, reader, off%c.size); err != nil {
		r.Close()
		return nil, err
	}
	return reader, nil
}

// convertingReader reads and converts elements.
type convertingReader struct {
	r        io.ReadCloser
	part     *converted
	left     int64 // elements not read yet
	src, dst []byte
	ready    []byte // of dst
}

// Read implements io.Reader.
func (c *convertingReader) Read(p []byte) (int, error) {
	if len(c.ready) == 0 {
		n := min(c.left, pieceElements)
		if n == 0 {
			return 0, io.EOF
		}
		if c.src == nil {
			c.src, c.dst = make([]byte, n*c.part.of.DType.Size()), make([]byte, n*c.part.size)
		}
		src := c.src[:n*c.part.of.DType.Size()]
		if err := readPiece(c.r, src, c.part.of); err != nil {
			return 0, err
		}
		c.ready = c.dst[:n*c.part.size]
		c.part.convert(c.ready, src)
		c.left -= n
	}
	n := copy(p, c.ready)
	c.ready = c.ready[n:]
	return n, nil
}

// Close implements io.Closer.
func (c *convertingReader) Close() error { return c.r.Close() }
