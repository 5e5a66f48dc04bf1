package explain

import (
	"encoding/binary"
	"io"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Part is what consecutive elements of a tensor are expected to be: elements of a source tensor.
type Part struct {
	Source *tensor.Tensor
	View   tensor.View // which of Source's row-major elements, in which order
	Divide float64     // divides each element before it is rounded; 0 if nothing is divided
}

// Expected returns the tensor whose elements are those of the parts, one part after another, rounded to
// dtype where they have another. It is A of a pair whose B should hold them. Nothing is read before the
// elements are. Elements that cannot be converted are a *tensor.FormatError; a view that does not lie
// within its source is another error.
func Expected(name string, dtype tensor.DType, shape []int64, parts ...Part) (*tensor.Tensor, error) {
	out := &tensor.Tensor{Name: name, DType: dtype, Shape: shape}
	var all concatenated
	for _, p := range parts {
		part, err := tensor.Viewed(p.Source, p.View)
		if err == nil {
			part, err = converted(part, dtype, p.Divide)
		}
		if err != nil {
			return nil, tensor.Annotate(err, tensor.Location{Tensor: p.Source.Name})
		}
		all = append(all, part)
	}
	if out.Data = all; len(all) == 1 {
		out.Data = all[0].Data
	}
	return out, nil
}

// concatenated is Data that consists of the elements of several tensors.
type concatenated []*tensor.Tensor

// Stream implements tensor.Data.
func (c concatenated) Stream(off int64) (io.ReadCloser, error) {
	var opened closers
	var readers []io.Reader
	for _, part := range c {
		if off >= part.Bytes() {
			off -= part.Bytes()
			continue
		}
		r, err := part.Data.Stream(off)
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

// Close closes all and returns the first error.
func (c closers) Close() (err error) {
	for _, one := range c {
		if e := one.Close(); err == nil {
			err = e
		}
	}
	return err
}

// converted returns a tensor with its elements divided, unless divisor is 0, and rounded to dtype.
func converted(t *tensor.Tensor, dtype tensor.DType, divisor float64) (*tensor.Tensor, error) {
	if divisor == 0 && t.DType == dtype {
		return t, nil
	}
	out := *t
	out.DType = dtype
	if divisor != 0 {
		divide, err := tensor.NewDivide(t.DType, dtype, divisor)
		out.Data = conversion{t, &out, func(dst, src []byte) { divide(dst, src) }}
		return &out, err
	}
	if dtype == tensor.F64 && isFloat(t.DType) {
		out.Data = conversion{t, &out, widening(t.DType)}
		return &out, nil
	}
	cast, err := tensor.NewCast(t.DType, dtype)
	out.Data = conversion{t, &out, func(dst, src []byte) { cast(dst, src) }}
	return &out, err
}

// widening returns the conversion of elements to float64.
func widening(from tensor.DType) func(dst, src []byte) {
	decode := tensor.ValuesOf(from).Decode
	return func(dst, src []byte) {
		values := make([]float64, len(dst)/8) // readers of one tensor may run at once
		decode(values, src)
		for i, x := range values {
			binary.LittleEndian.PutUint64(dst[8*i:], math.Float64bits(x))
		}
	}
}

// conversion is Data of elements that are converted as they are read.
type conversion struct {
	from, to *tensor.Tensor
	convert  func(dst, src []byte)
}

// Stream implements tensor.Data.
func (c conversion) Stream(off int64) (io.ReadCloser, error) {
	return tensor.NewPanelReader(c.to, off, &conversionSource{conversion: c, Cursor: tensor.NewCursor(c.from)}), nil
}

// conversionSource implements tensor.PanelSource.
type conversionSource struct {
	conversion
	*tensor.Cursor
	scratch []byte
}

// Panel converts a piece of elements from element first on.
func (c *conversionSource) Panel(buffer []byte, first int64) ([]byte, error) {
	n := min(pieceElements, c.from.Elements()-first)
	if c.scratch == nil {
		c.scratch = make([]byte, n*c.from.DType.Size())
		buffer = make([]byte, n*c.to.DType.Size())
	}
	src, dst := c.scratch[:n*c.from.DType.Size()], buffer[:n*c.to.DType.Size()]
	if _, err := c.ReadAt(src, first*c.from.DType.Size()); err != nil {
		return nil, err
	}
	c.convert(dst, src)
	return dst, nil
}
