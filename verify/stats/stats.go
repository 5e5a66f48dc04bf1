// Package stats tells what the elements of a tensor are like: their range, their moments, how many
// are zero or not finite, and a histogram. A tensor is read once, from front to back, in memory that
// does not grow with it.
package stats

import (
	"context"
	"errors"
	"io"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/float"
)

// Number is a float64 whose JSON is a string where it is not finite.
type Number = float.Number

// Stats describes the values of a tensor. Those that are not finite are counted, and left out of all
// else; of complex types real and imaginary parts are values of their own.
type Stats struct {
	Values int64  `json:"values"`
	Min    Number `json:"min"` // NaN, as those below, where no value is finite
	Max    Number `json:"max"`
	Mean   Number `json:"mean"`
	Std    Number `json:"std"` // of the population: divided by the number of values
	AbsMax Number `json:"abs_max"`
	Zeros  int64  `json:"zeros"` // of either sign
	NaN    int64  `json:"nan"`
	Inf    int64  `json:"inf"` // of either sign

	Histogram Histogram `json:"histogram"`
}

// Finite reports whether all values are.
func (s *Stats) Finite() bool { return s.NaN == 0 && s.Inf == 0 }

// counter takes a tensor's bytes, whole elements at a time, and sums them up.
type counter interface {
	add(p []byte)
	stats() *Stats
}

// panel is a multiple of the bytes that elements of every type take, packed ones included.
const panel = 3 * 64 << 10

// Of reads a tensor. Its errors are those of its format, *tensor.FormatError with its name; checksums
// that the format keeps are checked.
func Of(ctx context.Context, t *tensor.Tensor) (*Stats, error) {
	c := newCounter(t)
	err := read(ctx, t, c)
	if check, ok := t.Data.(tensor.Checker); ok && err == nil {
		err = check.Check()
	}
	if err != nil {
		var bad *tensor.FormatError
		if errors.As(err, &bad) {
			bad.Of(t.Name)
		}
		return nil, err
	}
	return c.stats(), nil
}

func newCounter(t *tensor.Tensor) counter {
	values := tensor.ValuesOf(t.DType)
	total := t.Elements() * int64(values.Lanes)
	if size := t.DType.Size(); values.Lanes == 1 && (size == 1 || size == 2) {
		return newCodes(t.DType, int(size))
	}
	return newWide(t.DType, values, total)
}

func read(ctx context.Context, t *tensor.Tensor, c counter) error {
	r, err := t.Data.Stream(0)
	if err != nil {
		return err
	}
	defer r.Close()
	buf := make([]byte, panel)
	for at, total := int64(0), t.Bytes(); at < total; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(panel, total-at)]
		n, err := io.ReadFull(r, p)
		at += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return tensor.Bad("data ends after %d of %d bytes", at, total)
		}
		if err != nil {
			return err
		}
		c.add(p)
	}
	return nil
}

// nothing is what Stats are of no finite value.
func nothing() Stats {
	nan := Number(math.NaN())
	return Stats{Min: nan, Max: nan, Mean: nan, Std: nan, AbsMax: nan, Histogram: Histogram{Edges: []Number{}, Counts: []int64{}}}
}
